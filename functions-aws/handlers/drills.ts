import type { Context } from 'aws-lambda';
import { type DrillsWire, tendForAWhile } from '../../runtime/drills.ts';
import { wireDrills } from '../wire.ts';

/** EventBridge Scheduler starts one each minute: a drill that takes longer is gone on with by the next. */
const lastingMs = 50_000;
/** Left for the page that renews the lease. */
const reserveMs = 15_000;

export function minuteDrills(wire: () => Promise<DrillsWire>) {
  return async (_event: unknown, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<void> => {
    const left = context.getRemainingTimeInMillis();
    await tendForAWhile(await wire(), Math.min(lastingMs, left - reserveMs));
  };
}

export const handler = minuteDrills(wireDrills);
