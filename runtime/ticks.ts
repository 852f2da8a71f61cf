import type { Core } from '../shared/core.ts';
import type { DurationMs } from '../shared/units.ts';

/**
 * Calls `tick` now and then once every `settings.tickMs`, as long as one can begin before `lastingMs` are over. Ticks
 * never overlap: one that takes longer skips those it ran into.
 * @throws the last error, if no tick of this call went well: the cloud then counts the invocation as failed
 */
export async function runTicks(
  core: Pick<Core, 'clock' | 'settings' | 'log'>,
  lastingMs: DurationMs,
  tick: () => Promise<unknown>,
): Promise<void> {
  const { clock, log, settings } = core;
  const start = clock.now();
  let next = start;
  let failure: { error: unknown } | undefined;
  let anyWell = false;
  for (;;) {
    try {
      await tick();
      anyWell = true;
    } catch (error) {
      failure = { error };
      log.error('tick.failed', { error: String((error as Error)?.message).slice(0, 500) });
    }
    const firstAhead = start + Math.ceil((clock.now() - start) / settings.tickMs) * settings.tickMs;
    next = Math.max(next + settings.tickMs, firstAhead);
    if (next >= start + lastingMs) break;
    await clock.sleep(next - clock.now());
  }
  if (!anyWell && failure !== undefined) throw failure.error;
}
