import type { DurationMs } from '../units.ts';

/** What one call costs in time, before any was made. */
export interface CostPrior {
  /** Of a call with nothing in it. Default 200 ms. */
  baseMs?: DurationMs;
  /** Of each item. Default 0.5 ms. */
  perItemMs?: DurationMs;
}

/** Of what was learned, so much is kept at each call: the last thirty or so count. */
const kept = 0.97;
/** Sizes that differ by less than this share say nothing of what an item costs: the last answer stands. */
const spreadMin = 0.1;
/** Mean deviations that an estimate is padded by: four are three standard deviations of a bell curve. */
const padding = 4;
/** A call that ends closer to its deadline than so many mean deviations was started too late. */
const slackMin = 2;
/** What calls were started too late by is added to the next estimates, and forgotten at this rate by those in time. */
const surplusKept = 0.95;
/** An observation further off than so many mean deviations is drawn in to that: one stalled call is no new normal. */
const surpriseMax = 6;

/**
 * How long a call of n items takes: a + b·n, by least squares over the calls of late, and how far off that tends to be.
 * Constant time and memory for each call.
 */
export class CostModel {
  #perItem: DurationMs;
  #deviation: DurationMs;
  #surplus: DurationMs = 0;
  #calls = 0;
  /** Weighted means of size and time, of the size's square about its mean, and of size times time about theirs. */
  #weight = 0;
  #items = 0;
  #ms: DurationMs;
  #spread = 0;
  #shared = 0;

  constructor({ baseMs = 200, perItemMs = 0.5 }: CostPrior = {}) {
    this.#ms = baseMs;
    this.#perItem = perItemMs;
    this.#deviation = baseMs / 4;
  }

  /**
   * A call of `items` took `ms` and ended `slackMs` before its deadline. Little slack means that others were in its way
   * when it was to start: no cost of the call, but whoever must be in time has to reckon with it.
   */
  learn(items: number, ms: DurationMs, slackMs: DurationMs = Number.POSITIVE_INFINITY): void {
    const expected = this.expect(items);
    const bound = this.#calls < 8 ? Number.POSITIVE_INFINITY : surpriseMax * Math.max(1, this.#deviation);
    const off = Math.min(bound, Math.max(-bound, ms - expected));
    this.#calls += 1;
    // The first call is compared with a guess.
    if (this.#calls > 1) this.#deviation += (Math.abs(off) - this.#deviation) * Math.max(1 - kept, 1 / this.#calls);
    this.#weight = this.#weight * kept + 1;
    const share = 1 / this.#weight;
    const fromItems = items - this.#items;
    const fromMs = expected + off - this.#ms;
    this.#items += fromItems * share;
    this.#ms += fromMs * share;
    this.#spread = (1 - share) * (this.#spread + share * fromItems * fromItems);
    this.#shared = (1 - share) * (this.#shared + share * fromItems * fromMs);
    const anchor = (spreadMin * this.#items) ** 2;
    if (this.#spread + anchor > 0)
      this.#perItem = Math.max(0, (this.#shared + anchor * this.#perItem) / (this.#spread + anchor));
    this.#surplus = Math.max(this.#surplus * surplusKept, this.#surplus + slackMin * this.#deviation - slackMs);
  }

  /** What a call of `items` is expected to take. */
  expect(items: number): DurationMs {
    return Math.max(0, this.#ms + this.#perItem * (items - this.#items));
  }

  /** What a call of `items` takes at most, in all but a few of a thousand. */
  atMost(items: number): DurationMs {
    return this.expect(items) + padding * this.#deviation + this.#surplus;
  }
}
