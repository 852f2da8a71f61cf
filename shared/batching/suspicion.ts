import type { EpochMs } from '../units.ts';

/** How long a model is not believed after one of its refusals turned out to be weather. */
const doubtMs = 5 * 60_000;

/**
 * Whether refusals (400, 413, 422) of one model are to be believed. Providers have reported their own outages as client
 * errors for hours, and what is failed on such a word is lost for its owner (I10). The signs that are remembered:
 * a line was refused and then served, or a request was refused that cannot be at fault.
 * @source FAULTS.md, scenario azure-openai-2026-03-09-http400
 */
export class Suspicion {
  #doubtedUntil: EpochMs = Number.NEGATIVE_INFINITY;

  /** Until when no refusal is believed; long ago where none was ever contradicted. */
  get doubtedUntil(): EpochMs {
    return this.#doubtedUntil;
  }

  /** The same request was refused and then served, or a canary was refused: it was never about the line. */
  noteContradiction(now: EpochMs): void {
    this.doubtUntil(now + doubtMs, now);
  }

  /** On the word of another process; a clock that is wrong makes it no longer than a contradiction of now. */
  doubtUntil(until: EpochMs, now: EpochMs): void {
    this.#doubtedUntil = Math.max(this.#doubtedUntil, Math.min(until, now + doubtMs));
  }

  /** True while no refusal of this model may end a line. */
  isDoubted(now: EpochMs): boolean {
    return now < this.#doubtedUntil;
  }
}
