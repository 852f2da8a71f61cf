import type { DurationMs, EpochMs } from '../units.ts';

/** How far back the mean looks. */
const memoryMs: DurationMs = 2_000;

/** The share of places that were taken of late, 0 … 1: the mean over time, recent time counting more. */
export class Occupancy {
  #mean = 0;
  #share = 0;
  #at: EpochMs;

  constructor(now: EpochMs) {
    this.#at = now;
  }

  /** From `now` on, `taken` of `places` are taken. */
  note(taken: number, places: number, now: EpochMs): void {
    this.#mean = this.at(now);
    this.#share = Math.min(1, taken / Math.max(1, places));
    this.#at = now;
  }

  at(now: EpochMs): number {
    const kept = Math.exp(-Math.max(0, now - this.#at) / memoryMs);
    return this.#mean * kept + this.#share * (1 - kept);
  }
}
