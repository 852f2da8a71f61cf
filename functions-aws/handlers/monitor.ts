import type { Context } from 'aws-lambda';
import { runTicks } from '../../runtime/ticks.ts';
import type { Core } from '../../shared/core.ts';
import { sweep } from '../../shared/worker/index.ts';
import { wire } from '../wire.ts';

/** EventBridge starts one each minute; its ticks fill that minute. */
const minuteMs = 60_000;
/** Left for the last tick to end in. */
const reserveMs = 15_000;

export function minuteMonitor(wire: () => Promise<Core>, sweepOnce: typeof sweep) {
  return async (_event: unknown, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<void> => {
    const left = context.getRemainingTimeInMillis();
    const core = await wire();
    await runTicks(core, Math.min(minuteMs, left - reserveMs), () => sweepOnce(core));
  };
}

export const handler = minuteMonitor(wire, sweep);
