import type { EpochMs } from '../units.ts';

/** How long a model is not believed after one of its refusals turned out to be weather. */
const doubtMs = 5 * 60_000;
/** Replies remembered for a model. */
const windowSize = 40;
/** So many refusals in the window, and this share of it, look like a fault of the backend and not of the lines. */
const correlatedMin = 5;
const correlatedShare = 0.5;

/**
 * Whether refusals (400, 413, 422) of one model are to be believed. Providers have reported their own outages as client
 * errors for hours, and what is failed on such a word is lost for its owner (I10). Two signs: a line that was refused and
 * then served, and many refusals at once; the second can be refuted by a canary that is served.
 * @source FAULTS.md, scenario azure-openai-2026-03-09-http400
 */
export class Suspicion {
  #recent: boolean[] = [];
  #doubtUntil: EpochMs = Number.NEGATIVE_INFINITY;

  /** One reply of the model: refused, or served. */
  note(isRefusal: boolean): void {
    this.#recent.push(isRefusal);
    if (this.#recent.length > windowSize) this.#recent.shift();
  }

  /** The same request was refused and then served: the refusal was never about the line. */
  noteContradiction(now: EpochMs): void {
    this.#doubtUntil = now + doubtMs;
  }

  /** True while no refusal of this model may end a line. */
  isDoubted(now: EpochMs): boolean {
    return now < this.#doubtUntil;
  }

  /** True if so many refusals came at once that only a canary can tell whose fault they are. */
  get isCorrelated(): boolean {
    const refusals = this.#recent.filter(Boolean).length;
    return refusals >= correlatedMin && refusals >= this.#recent.length * correlatedShare;
  }
}
