import type { TimerHandler } from '@azure/functions';
import { runTicks } from '../../runtime/ticks.ts';
import type { Core } from '../../shared/core.ts';
import { sweep } from '../../shared/worker/index.ts';
import { wire } from '../wire.ts';

/** The timer calls each ten seconds; the ticks of one call fill the time until the next. By default that is one. */
const periodMs = 10_000;

export function timerMonitor(wire: () => Promise<Core>, sweepOnce: typeof sweep): TimerHandler {
  return async () => {
    const core = await wire();
    await runTicks(core, periodMs, () => sweepOnce(core));
  };
}

export const monitor = timerMonitor(wire, sweep);
