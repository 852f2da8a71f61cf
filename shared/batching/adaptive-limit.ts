export interface AdaptiveLimitOptions {
  start: number;
  /** Never less. */
  min: number;
  /** Never more. */
  max: number;
  /** What a round adds to a limit. */
  step(limit: number): number;
  /** What the first refusal after a quiet time leaves of what was borne; one that follows at once leaves half. */
  firstCut: number;
}

const nextCut = 0.5;
/** Good replies at the ceiling before it is tried to be lifted: so many rounds, and never fewer than so many replies. */
const probeRounds = { first: 20, max: 100 } as const;
const probeRepliesMin = 40;

/**
 * A limit that a server does not name, found by trying: additive increase, multiplicative decrease, and a memory of where
 * the last refusal was met. A round is as many good replies as the limit counts: so it serves for calls at once as for
 * calls a second.
 *
 * - below the threshold (at the start, and after a recovery): doubles each round
 * - up to the ceiling: one step each round
 * - at the ceiling: as it is, for some rounds; then one step each round, and more as rounds go by, until refused again
 *
 * Plain AIMD halves the limit for every refusal and spends its life well below what the server can do. The ceiling makes
 * the way back short, and probes rare, longer apart as long as each of them is refused at the same height.
 */
export class AdaptiveLimit {
  readonly #options: AdaptiveLimitOptions;
  #limit: number;
  #threshold = Number.POSITIVE_INFINITY;
  #ceiling = Number.POSITIVE_INFINITY;
  /** The ceiling before it was tried to be lifted; `undefined` while it is not. */
  #probedFrom: number | undefined;
  /** Good replies at the ceiling. */
  #goodAtCeiling = 0;
  #probeAfter: number = probeRounds.first;
  /** The limit has been at its ceiling since it was last cut. */
  #isQuiet = true;

  constructor(options: AdaptiveLimitOptions) {
    this.#options = options;
    this.#limit = this.#within(options.start);
  }

  get value(): number {
    return this.#limit;
  }

  /** What was known to be borne when the limit was last cut; `undefined` before. */
  get ceiling(): number | undefined {
    return Number.isFinite(this.#ceiling) ? this.#ceiling : undefined;
  }

  /** A good reply, while the limit was what held us back: whoever does not use what he has need not be given more. */
  good(): void {
    const step = this.#options.step(this.#limit) / Math.max(1, this.#limit);
    if (this.#limit < this.#threshold && this.#limit < this.#ceiling)
      this.#limit = this.#within(this.#limit * (1 + 1 / Math.max(1, this.#limit)));
    else if (this.#limit < this.#ceiling) this.#limit = this.#within(this.#limit + step);
    else if (this.#probedFrom !== undefined) {
      // Ever faster: what is not refused for long was a shortage that is over.
      this.#goodAtCeiling += 1;
      this.#ceiling += step * (1 + this.#goodAtCeiling / (4 * Math.max(1, this.#limit)));
      this.#limit = this.#within(this.#ceiling);
    } else {
      this.#isQuiet = true;
      this.#goodAtCeiling += 1;
      if (this.#goodAtCeiling < Math.max(probeRepliesMin, this.#probeAfter * this.#limit)) return;
      this.#probedFrom = this.#ceiling;
      this.#goodAtCeiling = 0;
    }
  }

  /** A refusal, once for each overload. @param borne what had been borne up to it */
  refused(borne: number): void {
    const isWhereExpected = borne >= 0.9 * (this.#probedFrom ?? this.#ceiling);
    this.#probeAfter = isWhereExpected ? Math.min(probeRounds.max, this.#probeAfter * 2) : probeRounds.first;
    this.#ceiling = Math.max(this.#options.min, borne);
    this.#limit = this.#within(this.#ceiling * (this.#isQuiet ? this.#options.firstCut : nextCut));
    this.#threshold = this.#limit;
    this.#isQuiet = false;
    this.#probedFrom = undefined;
    this.#goodAtCeiling = 0;
  }

  /** Begins anew from the least, doubling each round up to three quarters of what was borne before. */
  ramp(): void {
    this.#threshold = Math.max(
      this.#options.min,
      0.75 * Math.min(this.#ceiling, Math.max(this.#limit, this.#threshold)),
    );
    this.#limit = this.#options.min;
    this.#isQuiet = true;
  }

  /** Begins at a ceiling that somebody else met, unless one was met here. */
  startFrom(ceiling: number): void {
    if (Number.isFinite(this.#ceiling)) return;
    this.#ceiling = Math.max(this.#options.min, ceiling);
    this.#limit = this.#within(this.#ceiling * this.#options.firstCut);
    this.#threshold = this.#limit;
  }

  #within(limit: number): number {
    return Math.max(this.#options.min, Math.min(this.#options.max, this.#ceiling, limit));
  }
}
