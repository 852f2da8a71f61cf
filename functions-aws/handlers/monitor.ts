import type { Context } from 'aws-lambda';
import { runTicks } from '../../runtime/ticks.ts';
import type { Core } from '../../shared/core.ts';
import { monitorSettled, monitorTick } from '../../shared/health/monitor.ts';
import { withDeadline } from '../../shared/ports/deadline.ts';
import { wire, wireMonitor } from '../wire.ts';

/** EventBridge starts one each minute; its ticks fill that minute. */
const minuteMs = 60_000;
/** Left for the last tick to end in, and for the pass of the sweeper that it began. */
const reserveMs = 15_000;
const settleMs = 10_000;

export function minuteMonitor(wire: () => Promise<Core>, tick: (core: Core) => Promise<unknown>) {
  return async (_event: unknown, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<void> => {
    const left = context.getRemainingTimeInMillis();
    const core = await wire();
    await runTicks(core, Math.min(minuteMs, left - reserveMs), () => tick(core));
    // What is still under way then is frozen with this process, and goes on or fails with the next minute.
    await withDeadline(core.clock, settleMs, 'sweeper', () => monitorSettled(core)).catch(() => {});
  };
}

export const handler = minuteMonitor(wire, async (core) => monitorTick(core, await wireMonitor()));
