import type { Random } from '../ports/random.ts';
import type { DurationMs, EpochMs } from '../units.ts';

/** Whose fault it was that opened a breaker, as in `ResultRow`. */
export type BreakerCause = 'backend' | 'site';

/**
 * Whether calls of one model of one backend are worth making.
 *
 * - `closed`: calls are made; holds the failures in a row so far
 * - `open`: none is made before `until`; then it is half open
 * - `halfOpen`: one call is made, and decides: `closed`, or `open` for twice as long
 *
 * A breaker judges the backend's being there (5xx, silence, refused connections, refused credentials). Throttles are the
 * limiter's business, and refusals of a line its own.
 */
export type BreakerState =
  | { kind: 'closed'; failures: number }
  | { kind: 'open'; since: EpochMs; until: EpochMs; cause: BreakerCause; reason: string }
  | { kind: 'halfOpen'; since: EpochMs; cause: BreakerCause; reason: string; isProbing: boolean };

/** Failures in a row that open it. */
const failuresMax = 5;
/** First pause; it doubles with each failed probe. */
const pauseMs = { first: 1_000, max: 60_000 } as const;

export class Breaker {
  #state: BreakerState = { kind: 'closed', failures: 0 };
  /** Openings since calls last went well for as long as one would last. */
  #openings = 0;
  #closedAt: EpochMs = Number.NEGATIVE_INFINITY;
  readonly #random: Random;
  readonly #changed: (before: BreakerState, after: BreakerState) => void;

  /** @param changed told of every change of kind */
  constructor(random: Random, changed: (before: BreakerState, after: BreakerState) => void = () => {}) {
    this.#random = random;
    this.#changed = changed;
  }

  /** As it stands at `now`: an open one whose time is up is half open. */
  at(now: EpochMs): BreakerState {
    const state = this.#state;
    if (state.kind === 'open' && now >= state.until) {
      const { since, cause, reason } = state;
      this.#enter({ kind: 'halfOpen', since, cause, reason, isProbing: false });
    }
    return this.#state;
  }

  /** True if the caller may make the one call that a half-open breaker allows; it must end in `good`, `failed` or `neither`. */
  takeProbe(now: EpochMs): boolean {
    const state = this.at(now);
    if (state.kind !== 'halfOpen' || state.isProbing) return false;
    this.#state = { ...state, isProbing: true };
    return true;
  }

  /** A call was served, or refused as such: somebody is there. */
  good(now: EpochMs): void {
    if (this.#state.kind === 'closed') {
      if (this.#state.failures > 0) this.#state = { kind: 'closed', failures: 0 };
      if (now - this.#closedAt > this.#pauseMs()) this.#openings = 0;
      return;
    }
    this.#closedAt = now;
    this.#enter({ kind: 'closed', failures: 0 });
  }

  failed(cause: BreakerCause, reason: string, now: EpochMs): void {
    const state = this.#state;
    // Calls that were under way when it opened end now; they tell nothing new.
    if (state.kind === 'open') return;
    if (state.kind === 'closed' && state.failures + 1 < failuresMax)
      this.#state = { kind: 'closed', failures: state.failures + 1 };
    else this.open(cause, reason, now, now + Math.round(this.#pauseMs() * (0.8 + 0.4 * this.#random())), state);
  }

  /** The probe ended without telling anything: cut off, or throttled. */
  neither(): void {
    if (this.#state.kind === 'halfOpen') this.#state = { ...this.#state, isProbing: false };
  }

  /** Opens it until a moment, at most a minute away: also on the word of another process. */
  open(cause: BreakerCause, reason: string, now: EpochMs, until: EpochMs, before: BreakerState = this.#state): void {
    const since = before.kind === 'closed' ? now : before.since;
    this.#openings += 1;
    this.#enter({ kind: 'open', since, until: Math.min(until, now + pauseMs.max * 1.2), cause, reason });
  }

  /** Another process was served: find out. */
  doubt(now: EpochMs): void {
    const state = this.at(now);
    if (state.kind !== 'open') return;
    const { since, cause, reason } = state;
    this.#enter({ kind: 'halfOpen', since, cause, reason, isProbing: false });
  }

  #pauseMs(): DurationMs {
    return Math.min(pauseMs.max, pauseMs.first * 2 ** Math.min(this.#openings, 10));
  }

  #enter(after: BreakerState): void {
    const before = this.#state;
    this.#state = after;
    this.#changed(before, after);
  }
}

/** What processes tell each other of one breaker. Small: it lies in every observation. */
export interface BreakerNote {
  site: string;
  backend: string;
  model: string;
  state: 'open' | 'closed';
  /** When it opened; where it is closed, when it closed. */
  since: EpochMs;
  /** Open: the next probe is not before. Closed: it is taken to be ramping until then; `since` where it never was open. */
  until: EpochMs;
  cause: BreakerCause;
  /** What the last failure was, at most 200 characters. */
  reason: string;
  /** Calls at once that the server was last known to bear: where a new process begins. */
  concurrency?: number;
  /** Until then no refusal of a line is believed (`Suspicion`); absent: none was contradicted of late. */
  doubtedUntil?: EpochMs;
  /** While it refuses calls for now: what lines ask for it by, and when one was served. Absent: it refused none of late. */
  serves?: { aliases: string[]; at: EpochMs };
  /** When this was written. */
  at: EpochMs;
}

/** Where they tell it: `shared/health/breakers.ts`. Neither rejects. */
export interface BreakerBoard {
  /** Of all sites, at most a tick old. */
  read(): Promise<readonly BreakerNote[]>;
  write(note: BreakerNote): Promise<void>;
}
