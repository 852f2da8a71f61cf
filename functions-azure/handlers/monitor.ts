import type { TimerHandler } from '@azure/functions';
import { runTicks } from '../../runtime/ticks.ts';
import type { Core } from '../../shared/core.ts';
import { monitorTick } from '../../shared/health/monitor.ts';
import { wire, wireMonitor } from '../wire.ts';

/** The timer calls each ten seconds; the ticks of one call fill the time until the next. By default that is one. */
const periodMs = 10_000;

/** What the last tick set going goes on after the call: the process of a function app lives on. */
export function timerMonitor(wire: () => Promise<Core>, tick: (core: Core) => Promise<unknown>): TimerHandler {
  return async () => {
    const core = await wire();
    await runTicks(core, periodMs, () => tick(core));
  };
}

export const monitor = timerMonitor(wire, async (core) => monitorTick(core, await wireMonitor()));
