import type { Random } from '../../shared/ports/random.ts';

/** A random source of its own for each user, so that one drawing more does not change what another sees. */
export interface RandomStreams {
  readonly faults: Random;
  readonly latency: Random;
  readonly answers: Random;
  readonly ids: Random;
}

/** Four independent streams, seeded by the first four draws of `random`. */
export function splitRandom(random: Random): RandomStreams {
  const stream = () => seededRandom(Math.floor(random() * 2 ** 32));
  return { faults: stream(), latency: stream(), answers: stream(), ids: stream() };
}

/** Mulberry32: small, fast, good enough for everything but secrets. Equal seeds give equal sequences. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** `length` letters and digits. */
export function randomName(random: Random, length: number): string {
  let name = '';
  for (let at = 0; at < length; at++) name += ALPHABET[Math.floor(random() * ALPHABET.length)];
  return name;
}

/** One draw of a lognormal spread whose median is `p50` and whose 99th percentile is `p99` (p99 ≥ p50 > 0). */
export function drawLognormal(random: Random, p50: number, p99: number): number {
  // 2.3263 standard deviations lie below the 99th percentile; Box-Muller turns two uniform draws into a normal one.
  const sigma = Math.log(p99 / p50) / 2.3263;
  const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return p50 * Math.exp(sigma * normal);
}
