import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HoldfastError } from '../../shared/errors.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { DurationMs } from '../../shared/units.ts';

export interface Timeouts {
  /** Until a connection stands, TLS included. Default 5,000. */
  connectMs: DurationMs;
  /** Until a reply to a small request, or the next bytes of a large one. Default 5,000. */
  requestMs: DurationMs;
}

export const defaultTimeouts: Timeouts = { connectMs: 5_000, requestMs: 5_000 };

/** Bytes are given a second for each MiB beyond what a small request is given. */
const MS_PER_MIB = 1_000;

/** The pauses between a call that surely had no effect and its repetitions. */
const RETRY_PAUSES_MS = [100, 400];

/** A call that has taken this long is not made again: one connection that died in its middle may have cost 5 s. */
const RETRY_WITHIN_MS = 6_000;

/**
 * Connections that give up after `connectMs`. Without this a black-holed endpoint would look like a lost reply: Node's
 * own `timeout` does not tell a connection that never stood from a reply that never came.
 */
export function agentFor(url: string, connectMs: DurationMs): HttpAgent {
  const secure = new URL(url).protocol === 'https:';
  const agent = secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  const connect = agent.createConnection.bind(agent);
  agent.createConnection = (options, callback) => {
    const socket = connect(options, callback) as Duplex;
    const timer = setTimeout(() => {
      const error = new Error(`no connection within ${connectMs} ms`);
      socket.destroy(Object.assign(error, { code: 'HOLDFAST_CONNECT_TIMEOUT' }));
    }, connectMs);
    const settled = () => clearTimeout(timer);
    (socket as Socket).once(secure ? 'secureConnect' : 'connect', settled).once('close', settled);
    return socket;
  };
  return agent;
}

export interface Attempt {
  /** Bytes that this call carries, either way (default 0). */
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
    if (!deadline.signal.aborted) throw translate(error);
    throw translate(Object.assign(new Error(`no reply within ${ms} ms`), { code: 'HOLDFAST_NO_REPLY' }));
  } finally {
    clearTimeout(timer);
  }
}

/** Repeats a call whose failure proves that it had no effect: throttled, refused, a 5xx to a repeatable call. */
export async function retryBriefly<T>(options: CallOptions, call: () => Promise<T>): Promise<T> {
  const started = performance.now();
  for (const pauseMs of RETRY_PAUSES_MS) {
    try {
      return await call();
    } catch (error) {
      if (!isWorthRetrying(error, pauseMs) || performance.now() - started > RETRY_WITHIN_MS) throw error;
    }
    await sleep(pauseMs, undefined, { signal: options.signal }).catch(() => options.signal?.throwIfAborted());
  }
  return await call();
}

/** What does not get better in a second; what took its whole time once would take it again. */
const LASTING = new Set(['timeout', 'credentials', 'store_missing', 'queue_disabled', 'parts_lost']);

function isWorthRetrying(error: unknown, pauseMs: DurationMs): boolean {
  const { name, code = '', retryAfterMs = 0 } = error as { name?: string; code?: string; retryAfterMs?: DurationMs };
  if (LASTING.has(code)) return false;
  return name === 'SiteUnavailableError' || (name === 'TransientError' && retryAfterMs <= pauseMs);
}
