import { Heap } from '../heap.ts';
import { pauseMsMax, type RateLimits } from '../inference/rate-limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { AdaptiveLimit } from './adaptive-limit.ts';
import { Bucket } from './bucket.ts';
import { Pace, rateWindowMs } from './pace.ts';
import { Quota } from './quota.ts';

export interface LimiterOptions {
  /** Calls at once to begin with. Default 16. */
  start?: number;
  /** Never fewer calls at once. Default 1. */
  min?: number;
  /** Never more calls at once. Default 256. */
  max?: number;
  /** Budget of this process. Default: none. */
  requestsPerMinute?: number;
  /** Budget of this process, of what goes in and what comes out. Default: none. */
  tokensPerMinute?: number;
}

/** Leave to start one call. Each needs one `done`. */
export interface Grant {
  /** As asked for. */
  readonly tokens: number;
  /** Calls under way when it started, itself included. */
  readonly running: number;
  readonly startedAt: EpochMs;
  /** When it should end; infinite where nobody said how long it takes. */
  readonly endsAt: EpochMs;
  /** It had to wait for the end of other calls, or for its turn in time. */
  readonly waited: boolean;
  /** It was not the first call to find out the same. */
  readonly isBegun: boolean;
  /** Requests and tokens sent so far, itself included. */
  readonly spent: { readonly requests: number; readonly tokens: number };
}

/** How a call ended. */
export interface Ended {
  how: 'good' | 'neutral' | 'refused';
  /** Nobody starts before that, 0 … 10 minutes. Default 0. */
  retryAfterMs?: DurationMs;
  rateLimits?: RateLimits;
  /** Tokens that it used in truth; absent where nobody said. */
  tokens?: number;
}

/** What is known of a call beside its size. */
export interface Turn {
  /** About how long it takes, for `nextEndAt`; default: nobody knows. */
  expectedMs?: DurationMs | undefined;
  /** Calls that were made already to find out the same; default 0. What was begun goes before what was not. */
  asked?: number;
}

interface Waiting {
  tokens: number;
  deadline: EpochMs;
  expectedMs: DurationMs;
  asked: number;
  waited: boolean;
  give(grant: Grant | undefined): void;
}

const isBefore = (a: Waiting, b: Waiting) =>
  a.deadline < b.deadline || (a.deadline === b.deadline && a.asked > b.asked);

/**
 * Says when the calls of one lane may start: adaptive concurrency, the budgets of the configuration, what the server says
 * is left of its quotas, and no start before a `Retry-After` has passed. What was begun goes before what was not: where
 * there is little room, lines that all take turns all come to no end. Among these and those the earliest deadline goes
 * first, and of one deadline what was asked most often already.
 */
export class Limiter {
  readonly #clock: Clock;
  readonly #concurrency: AdaptiveLimit;
  readonly #pace: Pace;
  readonly #budgets: { requests: Bucket | undefined; tokens: Bucket | undefined };
  readonly #quotas = { requests: new Quota(), tokens: new Quota() };
  readonly #begun = new Heap<Waiting>(isBefore);
  readonly #fresh = new Heap<Waiting>(isBefore);
  readonly #running = new Set<Grant>();
  /** Places that are kept for what was begun, in use or not. */
  #held = 0;
  #spent = { requests: 0, tokens: 0 };
  #cutAt = Number.NEGATIVE_INFINITY;
  /** When most of the limit was in use last. */
  #usedAt = Number.NEGATIVE_INFINITY;
  #notBefore: EpochMs = 0;
  /** What a good call of late took. */
  #tookMs: DurationMs = 0;
  /** The one timer under way, and when it rings. */
  #timer: { at: EpochMs; cancel: AbortController } | undefined;

  constructor(clock: Clock, options: LimiterOptions = {}) {
    this.#clock = clock;
    const { start = 16, min = 1, max = 256 } = options;
    this.#concurrency = new AdaptiveLimit({ start, min, max: Math.max(min, max), step: () => 1, firstCut: 0.9 });
    const now = clock.now();
    this.#pace = new Pace(now);
    const bucket = (perMinute: number | undefined) =>
      perMinute === undefined ? undefined : new Bucket(perMinute, now);
    this.#budgets = { requests: bucket(options.requestsPerMinute), tokens: bucket(options.tokensPerMinute) };
  }

  /** Calls that may be under way at once now. */
  get limit(): number {
    return Math.floor(this.#concurrency.value);
  }

  /** Calls that may start before one has to end: below 0 where the limit has just been cut. */
  get room(): number {
    return this.limit - this.#running.size;
  }

  /** When the next of the calls under way should end. */
  get nextEndAt(): EpochMs {
    let next = Number.POSITIVE_INFINITY;
    for (const { endsAt } of this.#running) next = Math.min(next, endsAt);
    return next;
  }

  /** Calls at once that the server is known to bear; `undefined` before the first refusal. */
  get ceiling(): number | undefined {
    return this.#concurrency.ceiling;
  }

  /**
   * Leave to start a call of about `tokens`, in and out; `undefined` if `deadline` passes before.
   */
  acquire(
    tokens: number,
    deadline: EpochMs,
    { expectedMs = Number.POSITIVE_INFINITY, asked = 0 }: Turn = {},
  ): Promise<Grant | undefined> {
    if (this.#clock.now() >= deadline) return Promise.resolve(undefined);
    return new Promise((give) => {
      const queue = asked > 0 ? this.#begun : this.#fresh;
      queue.push({ tokens, deadline, expectedMs, asked, waited: false, give });
      this.#serve();
    });
  }

  /**
   * Until what it returns is called, once, one place is kept for calls that were begun: called before `done`, or somebody
   * else has the place before the next call is asked for.
   */
  hold(): () => void {
    this.#held += 1;
    return () => {
      this.#held -= 1;
      this.#serve();
    };
  }

  done(grant: Grant, { how, retryAfterMs: asked = 0, rateLimits, tokens }: Ended): void {
    const retryAfterMs = Math.min(asked, pauseMsMax);
    const now = this.#clock.now();
    this.#running.delete(grant);
    if (tokens !== undefined) {
      this.#budgets.tokens?.correct(grant.tokens, tokens);
      this.#spent.tokens += tokens - grant.tokens;
    }
    if (how === 'good') {
      // Whoever does not use what he has need not be given more.
      if (this.#usedAt >= grant.startedAt) this.#concurrency.good();
      const tookMs = now - grant.startedAt;
      this.#tookMs += (tookMs - this.#tookMs) * (this.#tookMs === 0 ? 1 : 0.1);
      this.#pace.good(grant.waited, now);
    }
    // One overload is answered once: calls that were under way with it say nothing about what was done about it.
    if (how === 'refused' && grant.startedAt > this.#cutAt) {
      this.#cutAt = now;
      this.#quotas.requests.noteRefusal(this.#spent.requests, now);
      this.#quotas.tokens.noteRefusal(this.#spent.tokens, now);
      const isQuota =
        retryAfterMs > 0 && this.#lastMs(now) <= rateWindowMs && this.#pace.canTell(this.#running.size, now);
      if (isQuota) this.#pace.refused(this.#running.size, now + retryAfterMs, now);
      else this.#concurrency.refused(grant.running - 1);
    }
    this.#notBefore = Math.max(this.#notBefore, now + retryAfterMs);
    // After the refusal: it says what was wrong with the readings before.
    if (rateLimits?.requests) this.#quotas.requests.note(rateLimits.requests, grant.spent.requests, now);
    if (rateLimits?.tokens) this.#quotas.tokens.note(rateLimits.tokens, grant.spent.tokens, now);
    this.#serve();
  }

  /**
   * How long calls last, by those of late and those under way. Where that is longer than the time over which a rate is
   * measured, replies are too few to tell one: a slow server with room for eight calls, which named a time to come back,
   * was left with three calls a minute. How many it bears at once can be told, and comes to the same.
   */
  #lastMs(now: EpochMs): DurationMs {
    let lastMs = this.#tookMs;
    for (const { startedAt } of this.#running) lastMs = Math.max(lastMs, now - startedAt);
    return lastMs;
  }

  /** After a recovery: begins with one call at once. */
  ramp(): void {
    this.#concurrency.ramp();
  }

  /** Begins where another process left off, unless this one knows better. */
  startFrom(ceiling: number): void {
    this.#concurrency.startFrom(ceiling);
  }

  #serve(): void {
    const queues = [this.#begun, this.#fresh];
    for (;;) {
      const now = this.#clock.now();
      for (const queue of queues)
        for (let late = queue.head; late !== undefined && late.deadline <= now; late = queue.head) {
          queue.pop();
          late.give(undefined);
        }
      const queue = queues.find(({ size }) => size > 0);
      const first = queue?.head;
      if (queue === undefined || first === undefined) break;
      const readyAt = this.#readyAt(first, now);
      if (readyAt > now) {
        first.waited = true;
        this.#lookAgainAt(Math.min(readyAt, ...queues.map(({ head }) => head?.deadline ?? Number.POSITIVE_INFINITY)));
        return;
      }
      queue.pop();
      first.give(this.#grant(first, now));
    }
    this.#timer?.cancel.abort();
    this.#timer = undefined;
  }

  /** When the next call may start; infinite where only the end of another can tell. */
  #readyAt({ tokens, asked }: Waiting, now: EpochMs): EpochMs {
    if (this.room - (asked > 0 ? 0 : this.#kept) <= 0) return Number.POSITIVE_INFINITY;
    return Math.max(
      this.#notBefore,
      this.#pace.readyAt(now),
      this.#budgets.requests?.readyAt(1, now) ?? now,
      this.#budgets.tokens?.readyAt(tokens, now) ?? now,
      this.#quotas.requests.readyAt(1, this.#spent.requests, now),
      this.#quotas.tokens.readyAt(tokens, this.#spent.tokens, now),
    );
  }

  /** Places that nobody is in, and that are kept for what was begun. */
  get #kept(): number {
    if (this.#held === 0) return 0;
    const inUse = [...this.#running].filter(({ isBegun }) => isBegun).length;
    return Math.max(0, this.#held - inUse);
  }

  #grant({ tokens, waited, expectedMs, asked }: Waiting, now: EpochMs): Grant {
    const running = this.#running.size + 1;
    if (running >= 0.75 * this.limit) this.#usedAt = now;
    this.#spent.requests += 1;
    this.#spent.tokens += tokens;
    this.#pace.take(now);
    this.#budgets.requests?.take(1, now);
    this.#budgets.tokens?.take(tokens, now);
    const spent = { ...this.#spent };
    const isBegun = asked > 0;
    const grant: Grant = { tokens, running, startedAt: now, endsAt: now + expectedMs, waited, isBegun, spent };
    this.#running.add(grant);
    return grant;
  }

  /** One timer at a time, at the earliest moment at which something may change by itself. */
  #lookAgainAt(at: EpochMs): void {
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#timer?.cancel.abort();
    const timer = { at, cancel: new AbortController() };
    this.#timer = timer;
    const look = () => {
      if (this.#timer !== timer) return;
      this.#timer = undefined;
      this.#serve();
    };
    this.#clock.sleep(Math.max(1, Math.ceil(at - this.#clock.now())), timer.cancel.signal).then(look, () => {});
  }
}
