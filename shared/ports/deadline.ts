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
export function withDeadline<T>(
  clock: Clock,
  ms: DurationMs,
  where: string,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  // One promise and no race: this stands around every call of every look, and was a twelfth of what one costs.
  return new Promise((resolve, reject) => {
    const work = new AbortController();
    let cancel = after(clock, ms, () => {
      cancel = after(clock, 0, () => {
        const error = new SiteUnavailableError('timeout', `${where} did not answer within ${ms} ms`, where);
        work.abort(error);
        reject(error);
      });
    });
    const end = (settle: () => void) => {
      cancel();
      settle();
    };
    const refuse = (error: unknown) => end(() => reject(error));
    try {
      call(work.signal).then((value) => end(() => resolve(value)), refuse);
    } catch (error) {
      refuse(error);
    }
  });
}

/** Calls `run` once, after `ms`, unless what it returns was called before. */
export function after(clock: Clock, ms: DurationMs, run: () => void): () => void {
  if (clock.after !== undefined) return clock.after(ms, run);
  const time = new AbortController();
  clock.sleep(ms, time.signal).then(run, () => {});
  return () => time.abort(over);
}
