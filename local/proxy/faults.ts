import type { DurationMs } from '../../shared/units.ts';
import { seededRandom } from '../model-server/random.ts';

/** `there`: to the service only; `back`: from it only (requests take effect, replies are lost). */
export type Way = 'there' | 'back' | 'both';

/** What can be done to bytes, whatever they say. */
export const wireKinds = ['refuse', 'blackhole', 'delay', 'reset'] as const;
/** What takes an understanding of the service: it answers in its place, in its words. */
export const answerKinds = ['error', 'throttle', 'readonly', 'expired-credentials', 'partial', 'hang'] as const;

/**
 * What a route does to what passes. Each fault holds for connections that stand and for new ones.
 *
 * - `refuse`: nobody listens (a real ECONNREFUSED), and what stands is reset.
 * - `blackhole`: bytes are taken and not passed on while it lasts. A new connection is still accepted (the kernel does
 *   that). What a client sent that has given up by its end is dropped.
 * - `delay`: every chunk waits, in order.
 * - `reset`: what stands and what comes is reset (RST).
 * - `error`: 500 to every request; `partial`: to a share of them.
 * - `throttle`, `expired-credentials`: the service's own refusals. `readonly`: to writes only.
 * - `hang`: requests are taken and nothing is answered while it lasts.
 */
export interface Fault {
  readonly kind: (typeof wireKinds)[number] | (typeof answerKinds)[number];
  /** Of `blackhole` and `delay`. Default both. */
  readonly way?: Way;
  /** Of `delay`. */
  readonly ms?: DurationMs;
  /** Share of requests (of connections, where requests cannot be told apart) that it strikes; absent: all. */
  readonly share?: number;
  /** Only requests that name this model. */
  readonly model?: string;
  /** Of the dice that `share` throws: equal seeds strike equal requests. Default 1. */
  readonly seed?: number;
}

/** A fault that holds. */
export interface LiveFault {
  readonly fault: Fault;
  /** Throws the dice: true if the next request or connection is struck. */
  strikes(): boolean;
  /** Resolves when it is over; what it holds up goes on then. */
  readonly ended: Promise<void>;
  end(): void;
}

/** A fault from now until `end()`. One object serves any number of routes, which share its dice. */
export function liveFault(fault: Fault): LiveFault {
  const random = seededRandom(fault.seed ?? 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  const share = fault.share ?? 1;
  return { fault, strikes: () => share >= 1 || random() < share, ended: promise, end: resolve };
}

/** True if `fault` touches bytes that go this way. */
export function touches(fault: Fault, way: 'there' | 'back'): boolean {
  return fault.way === undefined || fault.way === 'both' || fault.way === way;
}

/** True where the fault chooses among requests, or answers them: somebody must read them. */
export function readsRequests({ kind, share, model }: Fault): boolean {
  return !(wireKinds as readonly string[]).includes(kind) || share !== undefined || model !== undefined;
}
