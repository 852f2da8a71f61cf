import { pauseMsMax, type QuotaReading } from '../inference/rate-limits.ts';
import type { DurationMs, EpochMs } from '../units.ts';

/** How long a reading holds that does not say when the quota is reset. */
const holdsMs: DurationMs = 1000;

/**
 * What a server said is left of one of its quotas, less what was sent since. Most servers refill evenly and name the
 * time until all is there again; some give all of it back at the end of a window, and are told by their refusing what an
 * even refill would have allowed.
 */
export class Quota {
  #reading: { remaining: number; refillPerMs: number; at: EpochMs; until: EpochMs; spentBefore: number } | undefined;
  #refillsAtOnce = false;

  /** @param spentBefore sum of everything sent up to the request that was answered, itself included */
  note({ remaining, limit, resetMs: asked = holdsMs }: QuotaReading, spentBefore: number, now: EpochMs): void {
    const resetMs = Math.min(asked, pauseMsMax);
    if (this.#reading !== undefined && spentBefore < this.#reading.spentBefore) return;
    const isEven = limit !== undefined && limit > remaining && resetMs > 0 && !this.#refillsAtOnce;
    const refillPerMs = isEven ? (limit - remaining) / resetMs : 0;
    this.#reading = { remaining, refillPerMs, at: now, until: now + resetMs, spentBefore };
  }

  /** A request was refused. @param spent sum of everything sent so far */
  noteRefusal(spent: number, now: EpochMs): void {
    if (this.#reading !== undefined && this.#left(spent, now) > 0) this.#refillsAtOnce = true;
  }

  /** When `amount` more may be sent: now, or later. @param spent sum of everything sent so far */
  readyAt(amount: number, spent: number, now: EpochMs): EpochMs {
    const reading = this.#reading;
    if (reading === undefined || now >= reading.until) return now;
    const missing = amount - this.#left(spent, now);
    if (missing <= 1e-9) return now;
    if (reading.refillPerMs === 0) return reading.until;
    return Math.min(reading.until, now + Math.ceil(missing / reading.refillPerMs));
  }

  #left(spent: number, now: EpochMs): number {
    const { remaining, refillPerMs, at, spentBefore } = this.#reading!;
    return remaining + refillPerMs * (now - at) - (spent - spentBefore);
  }
}
