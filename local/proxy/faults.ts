import type { DurationMs } from '../../shared/units.ts';

/**
 * What a route does to the bytes that pass. Faults below HTTP; each holds for connections that stand and for new ones.
 *
 * - `refuse`: nobody listens (a real ECONNREFUSED), and what stands is reset.
 * - `blackhole`: bytes are taken and never passed on. A new connection is still accepted (the kernel does that).
 * - `delay`: every chunk waits, in order.
 * - `reset`: what stands and what comes is reset (RST).
 */
export type Fault =
  | { kind: 'refuse' }
  | { kind: 'blackhole'; way?: Way }
  | { kind: 'delay'; ms: DurationMs; way?: Way }
  | { kind: 'reset' };

/** `there`: to the service only; `back`: from it only (requests take effect, replies are lost). Default both. */
export type Way = 'there' | 'back' | 'both';

/** A longer delay would be a black hole. */
const DELAY_MS_MAX = 600_000;

/** Parses a fault that came over the wire. @returns the fault, or what is wrong with it */
export function parseFault(value: unknown): Fault | string {
  if (typeof value !== 'object' || value === null) return 'fault: must be an object';
  const { kind, ms, way } = value as Record<string, unknown>;
  if (way !== undefined && way !== 'there' && way !== 'back' && way !== 'both')
    return 'fault.way: must be there, back or both';
  switch (kind) {
    case 'refuse':
    case 'reset':
      return way === undefined ? { kind } : `fault.way: ${kind} has none`;
    case 'blackhole':
      return { kind, way };
    case 'delay':
      if (typeof ms !== 'number' || !(ms >= 0 && ms <= DELAY_MS_MAX)) return `fault.ms: must be 0 … ${DELAY_MS_MAX}`;
      return { kind, ms, way };
    default:
      return 'fault.kind: must be refuse, blackhole, delay or reset';
  }
}

/** True if `fault` touches bytes that go this way. */
export function touches(fault: { way?: Way }, way: 'there' | 'back'): boolean {
  return fault.way === undefined || fault.way === 'both' || fault.way === way;
}
