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
/** As long as fewer calls than this are known, they must differ by more to be heard on it. */
const callsNeeded = 30;
/** Mean deviations that an estimate is padded by: five are four standard deviations of a bell curve. */
const padding = 5;
/** An observation further off than so many mean deviations is drawn in to that: one stalled call is no new normal. */
const surpriseMax = 6;

/**
 * How long a call of n items takes: a + b·n, by least squares over the calls of late, and how far off that tends to be.
 * Constant time and memory for each call.
 */
export class CostModel {
  #perItem: DurationMs;
  /** How far off estimates are in the mean, in ms and as a share of what was expected. */
  #deviation: DurationMs;
  #relative = 0.25;
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
    this.#deviation = this.#relative * baseMs;
  }

  /** A call of `items` took `ms`. */
  learn(items: number, ms: DurationMs): void {
    const expected = this.expect(items);
    const bound = this.#calls < 8 ? Number.POSITIVE_INFINITY : surpriseMax * Math.max(1, this.#deviation);
    const off = Math.min(bound, Math.max(-bound, ms - expected));
    this.#calls += 1;
    // The first call is compared with a guess.
    if (this.#calls > 1) {
      const newest = Math.max(1 - kept, 1 / this.#calls);
      this.#deviation += (Math.abs(off) - this.#deviation) * newest;
      this.#relative += (Math.min(1, Math.abs(off) / Math.max(1, expected)) - this.#relative) * newest;
    }
    this.#weight = this.#weight * kept + 1;
    const share = 1 / this.#weight;
    const fromItems = items - this.#items;
    const fromMs = expected + off - this.#ms;
    this.#items += fromItems * share;
    this.#ms += fromMs * share;
    this.#spread = (1 - share) * (this.#spread + share * fromItems * fromItems);
    this.#shared = (1 - share) * (this.#shared + share * fromItems * fromMs);
    const anchor = (spreadMin * this.#items) ** 2 * (1 + callsNeeded * share);
    if (this.#spread + anchor > 0)
      this.#perItem = Math.max(0, (this.#shared + anchor * this.#perItem) / (this.#spread + anchor));
  }

  /** What a call of `items` is expected to take. */
  expect(items: number): DurationMs {
    return Math.max(0, this.#ms + this.#perItem * (items - this.#items));
  }

  /**
   * What a call of `items` takes at most, in all but a few of a thousand. Some servers are off by so many ms, some by so
   * much of a call: what was learned from small calls must do for a large one, and the other way round.
   */
  atMost(items: number): DurationMs {
    const expected = this.expect(items);
    return expected + padding * Math.max(this.#deviation, this.#relative * expected);
  }
}
