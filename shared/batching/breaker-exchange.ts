import type { Clock } from '../ports/clock.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { BreakerBoard, BreakerNote, BreakerState } from './breaker.ts';
import type { Lane } from './lane.ts';

/** The word of another process is not waited for longer: lines are worth more. */
const readMs: DurationMs = 1_000;

const ceilingPauseMs: DurationMs = 60_000;
const doubtPauseMs: DurationMs = 30_000;
const servedPauseMs: DurationMs = 15_000;
/**
 * So long after it was served again a backend is told to be ramping: calls begin with one at once and double from round
 * to round; eight rounds lead to the most at once, and a call seldom takes more than some seconds.
 */
const rampMs: DurationMs = 60_000;

/** What this process takes over of what others found of backends, and tells them of its own. */
export class BreakerExchange {
  readonly #board: BreakerBoard;
  readonly #clock: Clock;
  readonly #site: SiteId;
  readonly #lanes: ReadonlyMap<string, Lane>;
  #notes: readonly BreakerNote[] = [];
  /** The newest note that was taken over, by site, backend and model. */
  readonly #taken = new Map<string, EpochMs>();
  readonly #ceilings = new Map<Lane, { ceiling: number; at: EpochMs }>();
  readonly #doubts = new Map<Lane, EpochMs>();
  readonly #served = new Map<Lane, EpochMs>();
  readonly #rampsUntil = new Map<Lane, EpochMs>();
  /** A change that was taken over is not told again. */
  #isAdopting = false;

  constructor(board: BreakerBoard, clock: Clock, site: SiteId, lanes: ReadonlyMap<string, Lane>) {
    this.#board = board;
    this.#clock = clock;
    this.#site = site;
    this.#lanes = lanes;
  }

  /** Reads what others found, and takes it over; at the begin of each run. */
  async adopt(): Promise<void> {
    const timer = new AbortController();
    const late = this.#clock.sleep(readMs, timer.signal).then(
      () => undefined,
      () => undefined,
    );
    const notes = await Promise.race([this.#board.read().catch(() => undefined), late]);
    timer.abort();
    if (notes === undefined) return;
    this.#notes = notes;
    for (const lane of this.#lanes.values()) this.#adoptFor(lane);
  }

  /** A lane that is new begins where others left off. */
  warm(lane: Lane): void {
    this.#adoptFor(lane);
  }

  /** Tells the others, without anybody waiting for it. Half open is no news: its time has come, that is all. */
  tell(lane: Lane, state: BreakerState): void {
    if (this.#isAdopting || state.kind === 'halfOpen') return;
    if (state.kind === 'closed') this.#rampsUntil.set(lane, this.#clock.now() + rampMs);
    this.#write(lane, state);
  }

  #write(lane: Lane, state: Exclude<BreakerState, { kind: 'halfOpen' }>): void {
    const now = Math.round(this.#clock.now());
    const { ceiling } = lane.limiter;
    const note: BreakerNote = {
      site: this.#site,
      backend: lane.route.backend.name,
      model: lane.route.model,
      state: state.kind,
      since: state.kind === 'open' ? Math.round(state.since) : now,
      until: Math.round(state.kind === 'open' ? state.until : Math.max(now, this.#rampsUntil.get(lane) ?? now)),
      cause: state.kind === 'open' ? state.cause : 'backend',
      reason: state.kind === 'open' ? state.reason.slice(0, 200) : '',
      ...(ceiling !== undefined && { concurrency: Math.floor(ceiling) }),
      ...(lane.suspicion.isDoubted(now) && { doubtedUntil: Math.round(lane.suspicion.doubtedUntil) }),
      ...(lane.serves && { serves: lane.serves }),
      at: now,
    };
    this.#taken.set(nameOf(note), now);
    void this.#board.write(note).catch(() => {});
  }

  /** Tells where the server's ceiling was met, if that is news: at most once a minute. At the end of a run. */
  tellCeiling(lane: Lane): void {
    const now = this.#clock.now();
    const { ceiling } = lane.limiter;
    if (ceiling === undefined || lane.breaker.at(now).kind !== 'closed') return;
    const told = this.#ceilings.get(lane);
    if (told !== undefined && (now - told.at < ceilingPauseMs || Math.abs(ceiling / told.ceiling - 1) < 0.25)) return;
    this.#ceilings.set(lane, { ceiling, at: now });
    this.#write(lane, { kind: 'closed', failures: 0 });
  }

  /** Tells that refusals are not to be believed, at most twice a minute: the last lines often come to a new process. */
  tellDoubt(lane: Lane): void {
    const now = this.#clock.now();
    const state = lane.breaker.at(now);
    if (state.kind === 'halfOpen' || now - (this.#doubts.get(lane) ?? Number.NEGATIVE_INFINITY) < doubtPauseMs) return;
    this.#doubts.set(lane, now);
    this.#write(lane, state);
  }

  /** Tells that a backend which refuses calls for now serves others, at most four times a minute. */
  tellServed(lane: Lane): void {
    const now = this.#clock.now();
    const state = lane.breaker.at(now);
    if (state.kind !== 'closed' || now - (this.#served.get(lane) ?? Number.NEGATIVE_INFINITY) < servedPauseMs) return;
    this.#served.set(lane, now);
    this.#write(lane, state);
  }

  #adoptFor(lane: Lane): void {
    const now = this.#clock.now();
    const { route, breaker, limiter, suspicion } = lane;
    this.#isAdopting = true;
    for (const note of this.#notes) {
      if (note.backend !== route.backend.name || note.model !== route.model) continue;
      if (note.at <= (this.#taken.get(nameOf(note)) ?? Number.NEGATIVE_INFINITY)) continue;
      this.#taken.set(nameOf(note), note.at);
      if (note.concurrency !== undefined && note.site === this.#site) limiter.startFrom(note.concurrency);
      if (note.doubtedUntil !== undefined && note.site === this.#site) suspicion.doubtUntil(note.doubtedUntil, now);
      if (note.state === 'closed') {
        if (note.site === this.#site) breaker.doubt(now);
      } else if (note.site === this.#site) breaker.open(note.cause, note.reason, now, note.until);
      // The same vendor behind both clouds: find out with one call, not with sixteen.
      else if (note.until > now - 60_000) limiter.ramp();
    }
    this.#isAdopting = false;
  }
}

const nameOf = ({ site, backend, model }: Pick<BreakerNote, 'site' | 'backend' | 'model'>) =>
  `${site}\n${backend}\n${model}`;
