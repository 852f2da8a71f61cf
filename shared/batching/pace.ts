import type { DurationMs, EpochMs } from '../units.ts';
import { AdaptiveLimit } from './adaptive-limit.ts';
import { Bucket } from './bucket.ts';

/** The rate that was borne is that of the replies in the last one to two of these. */
export const rateWindowMs: DurationMs = 2_500;
/** Fewer replies within two of these tell no rate. */
const repliesNeeded = 3;
/** The rest of a server's burst is in what was borne, and a quota is never quite even. */
const caution = 0.97;

/**
 * Calls a second that a server takes, where it refuses without saying what its quota is: starts are spaced evenly, since
 * a quota with little burst refuses ten calls at once that it would have taken one after another. Unlimited until the
 * first refusal that names a time to come back; that is the sign of a quota, where one that does not is out of room.
 */
export class Pace {
  #rate: AdaptiveLimit | undefined;
  #bucket: Bucket | undefined;
  /** Good replies in this window and the one before. */
  #recent = 0;
  #earlier = 0;
  #recentFrom: EpochMs;
  #earlierFrom: EpochMs;

  constructor(now: EpochMs) {
    this.#recentFrom = now;
    this.#earlierFrom = now;
  }

  readyAt(now: EpochMs): EpochMs {
    return this.#bucket?.readyAt(1, now) ?? now;
  }

  take(now: EpochMs): void {
    this.#bucket?.take(1, now);
  }

  /** @param waited true if the call had waited for its start */
  good(waited: boolean, now: EpochMs): void {
    if (now - this.#recentFrom >= rateWindowMs) {
      [this.#earlier, this.#earlierFrom] = [this.#recent, this.#recentFrom];
      [this.#recent, this.#recentFrom] = [0, now];
    }
    this.#recent += 1;
    if (this.#rate === undefined || !waited) return;
    this.#rate.good();
    this.#bucket!.setRate(this.#rate.value / 1000, now);
  }

  /**
   * Whether there is enough to tell a rate by: replies of late or, before the first refusal, calls under way. A process that
   * makes few calls, since they are slow or others use up the quota, would halve its rate at each refusal and find no way
   * back: three calls a minute, where the server has room for more.
   */
  canTell(running: number, now: EpochMs): boolean {
    if (this.#rate === undefined && running >= repliesNeeded) return true;
    return this.#recent + this.#earlier >= repliesNeeded && now - this.#earlierFrom <= 2 * rateWindowMs;
  }

  /** @param running calls under way; `resumeAt`: when the pause ends that was asked for */
  refused(running: number, resumeAt: EpochMs, now: EpochMs): void {
    const good = this.#recent + this.#earlier;
    const perMs = good / Math.max(rateWindowMs / 2, now - this.#earlierFrom);
    if (this.#rate === undefined) {
      // What is under way was taken too, as far as one can tell.
      const start = Math.max(0.1, perMs * 1000, running / 2);
      this.#rate = new AdaptiveLimit({ start, min: 0.05, max: 100_000, step: (rate) => 0.02 * rate, firstCut: 1 });
      this.#bucket = new Bucket(start * 60, now, 2);
    } else {
      // Half of the rate was borne a round ago, also where it has been doubling since.
      const rate = this.#rate.value;
      this.#rate.refused(Math.min(rate, Math.max(rate / 2, perMs * 1000)) * caution);
      this.#bucket!.setRate(this.#rate.value / 1000, now);
    }
    this.#recent = 0;
    this.#earlier = 0;
    this.#recentFrom = resumeAt;
    this.#earlierFrom = resumeAt;
  }
}
