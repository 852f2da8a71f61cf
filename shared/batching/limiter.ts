import type { Clock } from '../ports/clock.ts';
import type { DurationMs, EpochMs } from '../units.ts';

export interface LimiterOptions {
  /** Calls at once to begin with. Default 16. */
  start?: number;
  /** Never fewer; default 1. */
  min?: number;
  /** Never more; default 256. */
  max?: number;
}

/** A decrease is one answer to one overload: those that were under way with it do not count again. */
const decreasePauseMs: DurationMs = 1000;

/**
 * Adaptive concurrency of one backend: additive increase (one more after as many good replies as are allowed at once),
 * multiplicative decrease (half after a throttle, at most once a second), and no start before a `Retry-After` has
 * passed. First come, first served.
 */
export class Limiter {
  readonly #clock: Clock;
  readonly #min: number;
  readonly #max: number;
  #limit: number;
  #running = 0;
  #good = 0;
  #lastDecrease = Number.NEGATIVE_INFINITY;
  #notBefore: EpochMs = 0;
  /** The one timer under way, cancelled when nobody waits any more. */
  #timer: AbortController | undefined;
  readonly #waiting: { give(granted: boolean): void; deadline: EpochMs }[] = [];

  constructor(clock: Clock, options: LimiterOptions = {}) {
    this.#clock = clock;
    this.#min = options.min ?? 1;
    this.#max = options.max ?? 256;
    this.#limit = options.start ?? 16;
  }

  /** Calls that may be under way at once now. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  /** True when a call may start; false if `deadline` passed before. Every true needs one `done`. */
  acquire(deadline: EpochMs): Promise<boolean> {
    if (this.#clock.now() >= deadline) return Promise.resolve(false);
    return new Promise((give) => {
      this.#waiting.push({ give, deadline });
      this.#serve();
    });
  }

  /** A call ended. `retryAfterMs`: nobody starts before that. */
  done(how: 'good' | 'neutral' | 'throttled', retryAfterMs: DurationMs = 0): void {
    const now = this.#clock.now();
    this.#running -= 1;
    if (how === 'good' && ++this.#good >= this.#limit) {
      this.#good = 0;
      this.#limit = Math.min(this.#max, this.#limit + 1);
    }
    if (how === 'throttled') {
      this.#notBefore = Math.max(this.#notBefore, now + retryAfterMs);
      if (now - this.#lastDecrease >= decreasePauseMs) {
        this.#lastDecrease = now;
        this.#good = 0;
        this.#limit = Math.max(this.#min, this.#limit / 2);
      }
    }
    this.#serve();
  }

  #serve(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const now = this.#clock.now();
      const isLate = first.deadline <= now;
      const mayStart = now >= this.#notBefore && this.#running < this.limit;
      if (!isLate && !mayStart) {
        this.#serveAt(now < this.#notBefore ? Math.min(this.#notBefore, first.deadline) : first.deadline);
        return;
      }
      this.#waiting.shift();
      if (!isLate) this.#running += 1;
      first.give(!isLate);
    }
    this.#timer?.abort();
    this.#timer = undefined;
  }

  /** One timer at a time: it looks again at the earliest moment at which something may change by itself. */
  #serveAt(at: EpochMs): void {
    if (this.#timer !== undefined) return;
    const timer = new AbortController();
    this.#timer = timer;
    const look = () => {
      if (this.#timer === timer) this.#timer = undefined;
      this.#serve();
    };
    this.#clock.sleep(Math.max(1, at - this.#clock.now()), timer.signal).then(look, () => {});
  }
}
