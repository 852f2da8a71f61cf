import type { DurationMs, EpochMs } from '../units.ts';

/** What a quota may be overdrawn or saved up by, in time: servers count minutes in windows of 1 to 10 seconds. */
const burstMs: DurationMs = 1000;

/**
 * A budget per minute, as a bucket that fills evenly. A request larger than what it holds takes it below zero, and the
 * next one waits for it.
 */
export class Bucket {
  #perMs: number;
  readonly #capacity: number;
  #level: number;
  #at: EpochMs;

  /** @param capacity default: one second's worth, at least 1 */
  constructor(perMinute: number, now: EpochMs, capacity = Math.max(1, (perMinute * burstMs) / 60_000)) {
    this.#perMs = perMinute / 60_000;
    this.#capacity = capacity;
    this.#level = capacity;
    this.#at = now;
  }

  /** When `amount` may be taken: now, or later. */
  readyAt(amount: number, now: EpochMs): EpochMs {
    this.#fill(now);
    const missing = Math.min(amount, this.#capacity) - this.#level;
    return missing <= 1e-9 ? now : now + missing / this.#perMs;
  }

  take(amount: number, now: EpochMs): void {
    this.#fill(now);
    this.#level -= amount;
  }

  /** What was taken turned out to be `used`. */
  correct(taken: number, used: number): void {
    this.#level = Math.min(this.#capacity, this.#level + taken - used);
  }

  setRate(perMs: number, now: EpochMs): void {
    this.#fill(now);
    this.#perMs = perMs;
  }

  #fill(now: EpochMs): void {
    this.#level = Math.min(this.#capacity, this.#level + Math.max(0, now - this.#at) * this.#perMs);
    this.#at = now;
  }
}
