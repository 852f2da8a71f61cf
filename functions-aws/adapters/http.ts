import { setTimeout as sleep } from 'node:timers/promises';
import type { HoldfastError } from '../../shared/errors.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { DurationMs } from '../../shared/units.ts';

export interface Timeouts {
  /** Until a connection stands. Default 1,000. */
  connectMs: DurationMs;
  /** Until a reply to a small request, or the next bytes of a large one. Default 5,000. */
  requestMs: DurationMs;
}

export const defaultTimeouts: Timeouts = { connectMs: 1_000, requestMs: 5_000 };

/** Bytes are given a second for each MiB beyond what a small request is given. */
const MS_PER_MIB = 1_000;

/** The pauses between a call that surely had no effect and its repetitions. */
const RETRY_PAUSES_MS = [100, 400];

/** More than one process has calls under way: the time spent waiting for a socket would count as connecting. */
const SOCKETS_MAX = 256;

/** What every SDK client is made with. Retries are ours: the SDK's own would hide that an earlier attempt was lost. */
export function clientDefaults(timeouts: Timeouts) {
  const agent = { keepAlive: true, maxSockets: SOCKETS_MAX };
  return {
    maxAttempts: 1,
    requestHandler: { connectionTimeout: timeouts.connectMs, httpAgent: agent, httpsAgent: agent },
  };
}

export interface Attempt {
  /** Bytes that this call carries (default 0). */
  bytes?: number;
  /** Time that the service is asked to wait (default 0). */
  waitMs?: DurationMs;
  /** Translates what the SDK throws. */
  translate(error: unknown): HoldfastError;
}

/**
 * Makes one call of an SDK, for at most its time.
 * @throws the signal's reason when it was aborted; else what `translate` makes of the SDK's error
 */
export async function attempt<T>(
  timeouts: Timeouts,
  options: CallOptions,
  { bytes = 0, waitMs = 0, translate }: Attempt,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  options.signal?.throwIfAborted();
  const ms = timeouts.requestMs + waitMs + Math.ceil((bytes / 2 ** 20) * MS_PER_MIB);
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), ms);
  try {
    return await call(options.signal ? AbortSignal.any([options.signal, deadline.signal]) : deadline.signal);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw translate(deadline.signal.aborted ? new Error(`no reply within ${ms} ms`) : error);
  } finally {
    clearTimeout(timer);
  }
}

/** Repeats a call whose failure proves that it had no effect: throttled, refused, a 5xx to a repeatable call. */
export async function retryBriefly<T>(options: CallOptions, call: () => Promise<T>): Promise<T> {
  for (const pauseMs of RETRY_PAUSES_MS) {
    try {
      return await call();
    } catch (error) {
      if (!isWorthRetrying(error, pauseMs)) throw error;
    }
    await sleep(pauseMs, undefined, { signal: options.signal }).catch(() => options.signal?.throwIfAborted());
  }
  return await call();
}

function isWorthRetrying(error: unknown, pauseMs: DurationMs): boolean {
  const { name, code, retryAfterMs } = error as { name?: string; code?: string; retryAfterMs?: DurationMs };
  if (name === 'TransientError') return (retryAfterMs ?? 0) <= pauseMs;
  // What took its whole time once would take it again, and these do not get better in a second.
  const lasting = ['timeout', 'credentials', 'store_missing', 'encryption_key'];
  return name === 'SiteUnavailableError' && !lasting.includes(code ?? '');
}
