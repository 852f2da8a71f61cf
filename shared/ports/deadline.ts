import { SiteUnavailableError } from '../errors.ts';
import type { DurationMs } from '../units.ts';
import type { Clock } from './clock.ts';

/** Nobody reads it, but without one each abort makes an exception with a stack: that was most of the price of a deadline. */
const over = 'over';

/**
 * Runs `call` for at most `ms` of `clock`: then its signal is aborted and the wait ends, also if `call` ignores it. What
 * arrived while this process was busy with other things is still taken: timers go before sockets, so one more turn is
 * waited.
 * @throws SiteUnavailableError `timeout` when time ran out; whatever `call` throws before
 */
export async function withDeadline<T>(
  clock: Clock,
  ms: DurationMs,
  where: string,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const time = new AbortController();
  const work = new AbortController();
  const late = (async () => {
    await clock.sleep(ms, time.signal);
    await clock.sleep(0, time.signal);
  })().then(
    () => {
      const error = new SiteUnavailableError('timeout', `${where} did not answer within ${ms} ms`, where);
      work.abort(error);
      throw error;
    },
    () => new Promise<never>(() => {}),
  );
  try {
    return await Promise.race([call(work.signal), late]);
  } finally {
    time.abort(over);
  }
}
