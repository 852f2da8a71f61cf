import type { TimerHandler } from '@azure/functions';
import { type DrillsWire, tendForAWhile } from '../../runtime/drills.ts';
import { wireDrills } from '../wire.ts';

/** The timer calls each minute: a drill that takes longer is gone on with by the next call. */
const lastingMs = 50_000;

export function timerDrills(wire: () => Promise<DrillsWire>): TimerHandler {
  return async () => tendForAWhile(await wire(), lastingMs);
}

export const drills = timerDrills(wireDrills);
