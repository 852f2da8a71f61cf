import { createHash } from 'node:crypto';
import type { Ids, Random } from '../../../shared/ports/random.ts';

/** One stream of draws. */
export interface Stream {
  /** Uniform in [0, 1). */
  readonly next: Random;
  /** 32 lower-case hex digits. */
  readonly ids: Ids;
  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number;
  /** True with probability `rate`. */
  chance(rate: number): boolean;
  pick<T>(from: readonly T[]): T;
  /** Around `p50`, one in a hundred beyond about `p99`: log-normal. */
  latency(p50: number, p99: number): number;
}

/**
 * Streams of randomness by name, from one seed: what one user draws disturbs no other, so that a fault taken away from a
 * schedule leaves everything else as it was.
 */
export class Streams {
  readonly #seed: string;

  constructor(seed: number | string) {
    this.#seed = String(seed);
  }

  of(name: string): Stream {
    return streamFrom(createHash('sha256').update(`${this.#seed}\n${name}`).digest());
  }
}

/** @source https://pracrand.sourceforge.net/RNG_engines.txt (sfc32) 2026-11 */
function streamFrom(digest: Buffer): Stream {
  let a = digest.readInt32LE(0);
  let b = digest.readInt32LE(4);
  let c = digest.readInt32LE(8);
  let d = digest.readInt32LE(12) | 1;
  const draw = (): number => {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return t >>> 0;
  };
  const next = () => draw() / 4_294_967_296;
  const hex = () => draw().toString(16).padStart(8, '0');
  return {
    next,
    ids: { uuid: () => hex() + hex() + hex() + hex() },
    int: (min, max) => min + Math.floor(next() * (max - min + 1)),
    chance: (rate) => next() < rate,
    pick: (from) => from[Math.floor(next() * from.length)]!,
    latency(p50, p99) {
      // Sum of four uniforms, near enough to a normal draw; 2.33 deviations reach the 99th percentile.
      const deviation = (next() + next() + next() + next() - 2) * 1.732;
      return p50 * Math.exp((deviation * Math.log(Math.max(1, p99 / p50))) / 2.33);
    },
  };
}
