import { modelOf, shapeFault, usageOf } from '../inference/answer.ts';
import type { BackendReply } from '../inference/backend.ts';
import { smallestRequest } from '../inference/smallest.ts';
import { isThrottle, sortFault } from '../inference/sort-fault.ts';
import type { Endpoint } from '../journal/facts.ts';
import type { JsonObject } from '../journal/json.ts';
import type { Clock } from '../ports/clock.ts';
import type { Ids, Random } from '../ports/random.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { Breaker, type BreakerCause, type BreakerState } from './breaker.ts';
import { CostModel } from './cost-model.ts';
import { unpackEmbeddings } from './embeddings.ts';
import { describeReply, type End, outOfTime } from './ends.ts';
import { type Grant, Limiter, type LimiterOptions, type Turn } from './limiter.ts';
import { RefusedLately } from './refused.ts';
import { limiterOptionsOf, type Route } from './route.ts';
import { Suspicion } from './suspicion.ts';
import { chatPrior, embeddingPrior, TokenEstimator } from './tokens.ts';

export interface LaneOptions {
  clock: Clock;
  random: Random;
  ids: Ids;
  /** Longest single call. */
  callMs: DurationMs;
  /** Tries of one call in one run before its lines are given back. */
  triesMax: number;
  limiter?: LimiterOptions;
  /** Told when the breaker opens or closes. */
  breakerChanged(lane: Lane, state: BreakerState): void;
  /** Told when a refusal turned out to be about no line: it was refused and then served, or a canary was refused. */
  refusalContradicted(lane: Lane): void;
  /** Told when a call was served, while others are refused for now. */
  servedUnderThrottle(lane: Lane): void;
}

/** A call that nobody made, since nobody would have answered. */
interface Unmade {
  kind: 'unmade';
  cause: BreakerCause;
  reason: string;
}

/** A refusal for now says so long that there are fewer places than calls. */
const throttleHoldsMs: DurationMs = 5 * 60_000;

/** What a lane is told of a call beyond its place in the queue. */
interface Asking extends Turn {
  /** A first call that has not started by then is of no use any more; default: its deadline. */
  beginBy?: EpochMs | undefined;
  /** Called when a first call was refused, before anybody else has its place. */
  refused?: () => void;
  /** When the last call may start that is not cut off, its answer paid for and lost, as known now; default: its deadline. */
  startBy?: () => EpochMs;
  /** Called when a call was served, with what it took without the wait before it. */
  served?: (tookMs: DurationMs) => void;
}

/** How long a call takes: about, and in all but a few of a thousand. */
export interface Takes {
  expectedMs: DurationMs;
  atMostMs: DurationMs;
}

/** Below this a call is not started any more: it would only be cut off. */
export const startReserveMs: DurationMs = 250;

/**
 * When the last call may start that ends in time. Half of the time there is may be used to start them all the same: a
 * server that became slow must not keep a line from ever being asked.
 */
export function lastStart(now: EpochMs, deadline: EpochMs, atMostMs: () => DurationMs): () => EpochMs {
  const halfMs = (deadline - now) / 2;
  return () => deadline - Math.min(atMostMs(), halfMs);
}

/** An open breaker is waited for so long; beyond it the lines go back to their queue, which waits at no cost. */
const patienceMs: DurationMs = 15_000;
/**
 * A line is refused only if it was refused so often in a row, and so many canaries in a row were served in the middle of
 * that. One of each does not tell a bad line from a backend that refuses four calls of ten: one line in ten would have
 * been failed; at the worst share of refusals it is one in four thousand now (0.5¹²), where nothing else is asked.
 * Refusals on one side of the canaries only do not tell it from a backend that has refused everything since a second ago,
 * or until then: every line of a small chunk would have been failed (I10).
 * A bad line is seldom, a refusal costs nothing, and a canary next to nothing.
 */
const refusals = { beforeCanaries: 3, needed: 6 };
const canariesNeeded = 6;
/** What canaries say holds this long, where no line is ended by it. */
const canaryHoldsMs: DurationMs = 10_000;

/** One model of one backend on one endpoint: its calls, and what all runs of this process have learned of it. */
export class Lane {
  readonly route: Route;
  readonly endpoint: Endpoint;
  readonly limiter: Limiter;
  readonly breaker: Breaker;
  readonly suspicion = new Suspicion();
  readonly #refused = new RefusedLately(refusals.needed + canariesNeeded);
  readonly tokens: TokenEstimator;
  /** What lines ask for it by. */
  readonly aliases = new Set<string>();
  #throttledAt = Number.NEGATIVE_INFINITY;
  #servedAt = Number.NEGATIVE_INFINITY;
  /** What calls of a single request take. */
  readonly #alone = new CostModel();
  /** Tokens of an answer of late. */
  #outputTokens = 0;
  readonly #options: LaneOptions;
  readonly #ended = new Set<() => void>();
  #canaries = { at: Number.NEGATIVE_INFINITY, areServed: Promise.resolve(true) };
  #nextCanaries: Promise<boolean> | undefined;
  /** Resolves when the probe of a half-open breaker has ended. */
  #probe: Promise<void> = Promise.resolve();

  constructor(route: Route, endpoint: Endpoint, options: LaneOptions) {
    this.route = route;
    this.endpoint = endpoint;
    this.tokens = new TokenEstimator(endpoint === '/v1/embeddings' ? embeddingPrior : chatPrior);
    this.#options = options;
    this.limiter = new Limiter(options.clock, limiterOptionsOf(route.limits, options.limiter));
    this.breaker = new Breaker(options.random, (before, after) => {
      // What opened it may come back weak: one call at first, then twice as many each round.
      if (before.kind !== 'closed' && after.kind === 'closed') this.limiter.ramp();
      options.breakerChanged(this, after);
    });
  }

  /** As `BreakerNote` has it. */
  get serves(): { aliases: string[]; at: EpochMs } | undefined {
    if (this.#servedAt - this.#throttledAt > throttleHoldsMs) return undefined;
    if (!Number.isFinite(this.#servedAt)) return undefined;
    return { aliases: [...this.aliases].slice(0, 20), at: Math.round(this.#servedAt) };
  }

  /** Calls `look` whenever a call has ended. */
  whenEnded(look: () => void): void {
    this.#ended.add(look);
  }

  /**
   * A request that cannot share its call: a refusal is asked for again, since one that does not hold was never about the
   * line.
   * @param inputTokens about how many go in
   * @param takes how long one call takes; absent: as long as others did
   */
  async endAlone(body: JsonObject, inputTokens: number, deadline: EpochMs, takes?: Takes): Promise<End> {
    const now = this.#options.clock.now();
    const beginBy = this.#refused.has(body) ? deadline - this.#refused.takesMs(deadline - now) : undefined;
    const startBy = lastStart(now, deadline, () => takes?.atMostMs ?? this.#alone.atMost(1));
    const expectedMs = takes?.expectedMs;
    const served = (tookMs: DurationMs) => this.#alone.learn(1, tookMs);
    let release = () => {};
    const refused = () => {
      release = this.limiter.hold();
    };
    try {
      const first = await this.end(body, inputTokens, deadline, { expectedMs, beginBy, startBy, refused, served });
      if (first.kind === 'answered') this.#refused.forget(body);
      if (first.kind !== 'refused') return first;
      this.#refused.note(body);
      // To be refused again costs nothing, so that is asked for to the end.
      return await this.#endRefused(first, body, inputTokens, deadline, { expectedMs });
    } finally {
      release();
    }
  }

  /** Whether a refusal is about the request: it is asked for again, with canaries in the middle. */
  async #endRefused(
    first: Extract<End, { kind: 'answered' | 'refused' }>,
    body: JsonObject,
    inputTokens: number,
    deadline: EpochMs,
    turn: Asking,
  ): Promise<End> {
    const { clock } = this.#options;
    for (let asked = 1; asked < refusals.needed; asked++) {
      if (asked === refusals.beforeCanaries) {
        // Canaries that are cut off speak for nobody, and others may wait for the same ones.
        if (deadline - clock.now() < (refusals.needed - asked) * this.#refused.callMs) return outOfTime;
        const areServed = await this.#until(deadline, this.#canariesFromNow(deadline));
        if (areServed === undefined) return outOfTime;
        if (!areServed) return { kind: 'doubted', status: first.status };
      }
      const again = await this.end(body, inputTokens, deadline, { ...turn, asked });
      if (again.kind === 'answered') {
        this.#noteContradiction();
        this.#refused.forget(body);
      }
      if (again.kind !== 'refused') return again;
    }
    this.#refused.forget(body);
    return first;
  }

  /** One request, tried until it is answered, refused, or there is no point any more. */
  async end(body: JsonObject, inputTokens: number, deadline: EpochMs, turn?: Asking): Promise<End> {
    return this.#endOf(await this.#call(body, inputTokens, deadline, turn));
  }

  /** True while a refusal was contradicted of late: some line was served when it was asked again, or a canary refused. */
  get isDoubted(): boolean {
    return this.suspicion.isDoubted(this.#options.clock.now());
  }

  /** False while what goes wrong is no fault of the lines: so does a request that cannot be at fault. */
  async isBelieved(deadline: EpochMs): Promise<boolean> {
    // While we asked, a neighbour may have been refused and then served.
    return !this.isDoubted && (await this.#canariesOfLate(deadline)) && !this.isDoubted;
  }

  #endOf(reply: BackendReply | Unmade | 'deadline'): End {
    if (reply === 'deadline') return outOfTime;
    if (reply.kind === 'unmade') return { kind: 'retry', cause: reply.cause, reason: reply.reason, counts: false };
    const sort = sortFault(reply);
    if (sort === 'backend' || sort === 'site')
      return { kind: 'retry', cause: sort, reason: describeReply(reply), counts: false };
    const fault =
      reply.kind !== 'answered'
        ? describeReply(reply)
        : sort === 'malformed'
          ? 'an error inside an answer'
          : sort === 'good'
            ? shapeFault(this.endpoint, reply.body)
            : undefined;
    if (reply.kind !== 'answered' || fault !== undefined) return { kind: 'unusable', reason: fault ?? 'no answer' };
    return {
      kind: sort === 'line' ? 'refused' : 'answered',
      status: reply.status,
      requestId: reply.requestId ?? `req_${this.#options.ids.uuid()}`,
      body: reply.body,
      model: modelOf(reply.body, this.route.model),
    };
  }

  /** Calls under breaker and limiter, again with full jitter while the backend fails and there is time. */
  async #call(
    body: JsonObject,
    inputTokens: number,
    deadline: EpochMs,
    turn?: Asking,
  ): Promise<BackendReply | Unmade | 'deadline'> {
    const { clock, random, triesMax } = this.#options;
    const startBy = () => Math.min(deadline - startReserveMs, turn?.startBy?.() ?? deadline);
    const tokens = inputTokens + this.#outputTokensOf(body);
    for (let tries = 1; ; tries++) {
      const refusal = await this.#untilWorthIt(startBy());
      if (refusal !== undefined) return refusal;
      const by = tries === 1 ? Math.min(startBy(), turn?.beginBy ?? deadline) : startBy();
      const grant = await this.limiter.acquire(tokens, by, turn);
      if (grant === undefined) return 'deadline';
      // While it waited, others may have shown that calls take longer.
      if (clock.now() >= startBy()) {
        this.#done(grant, { how: 'neutral', tokens: 0 });
        return 'deadline';
      }
      if (!this.#mayGo()) {
        this.#done(grant, { how: 'neutral' });
        tries -= 1;
        continue;
      }
      const reply = await this.#exchange(body, deadline, grant, turn);
      if (reply.kind === 'timeout' && clock.now() >= deadline - startReserveMs) return 'deadline';
      if (sortFault(reply) !== 'backend' || tries >= triesMax) return reply;
      const retryAfterMs = 'retryAfterMs' in reply ? (reply.retryAfterMs ?? 0) : 0;
      const pause = Math.round(Math.max(retryAfterMs, random() * Math.min(500 * 2 ** tries, 30_000)));
      if (clock.now() + pause >= startBy()) return reply;
      await clock.sleep(pause);
    }
  }

  /** Waits while the breaker is open, or half open with a probe under way; tells when there is no point in that. */
  async #untilWorthIt(startBy: EpochMs): Promise<Unmade | 'deadline' | undefined> {
    const { clock } = this.#options;
    for (;;) {
      const now = clock.now();
      const state = this.breaker.at(now);
      if (state.kind === 'closed' || (state.kind === 'halfOpen' && !state.isProbing)) return undefined;
      if (now >= startBy) return 'deadline';
      if (state.kind === 'open') {
        const waitMs = state.until - now;
        if (waitMs > patienceMs || state.until >= startBy)
          return { kind: 'unmade', cause: state.cause, reason: `not tried again yet: ${state.reason}` };
        await clock.sleep(waitMs);
      } else await this.#sleepOr(this.#probe, startBy - now);
    }
  }

  /** True if a call may go out now that it was granted: a half-open breaker lets one go. */
  #mayGo(): boolean {
    const now = this.#options.clock.now();
    return this.breaker.at(now).kind === 'closed' || this.breaker.takeProbe(now);
  }

  async #exchange(body: JsonObject, deadline: EpochMs, grant: Grant, turn?: Asking): Promise<BackendReply> {
    let ended = () => {};
    if (this.breaker.at(this.#options.clock.now()).kind === 'halfOpen')
      this.#probe = new Promise((resolve) => {
        ended = resolve;
      });
    let reply: BackendReply | undefined;
    try {
      reply = await this.#send(body, deadline);
      return reply;
    } finally {
      const tookMs = this.#options.clock.now() - grant.startedAt;
      if (reply !== undefined && this.#isGood(reply)) {
        turn?.served?.(tookMs);
        this.#servedAt = this.#options.clock.now();
        if (this.#servedAt - this.#throttledAt <= throttleHoldsMs) this.#options.servedUnderThrottle(this);
      } else if (reply !== undefined && isThrottle(reply)) this.#throttledAt = this.#options.clock.now();
      if (reply !== undefined && sortFault(reply) === 'line') {
        this.#refused.callMs = tookMs;
        turn?.refused?.();
      }
      this.#noteBreaker(reply, deadline);
      ended();
      const how =
        reply === undefined ? 'neutral' : isThrottle(reply) ? 'refused' : this.#isGood(reply) ? 'good' : 'neutral';
      const told = reply !== undefined && 'retryAfterMs' in reply ? reply : {};
      this.#done(grant, { how, ...told, ...this.#used(reply) });
    }
  }

  #isGood(reply: BackendReply): boolean {
    return sortFault(reply) === 'good';
  }

  #done(grant: Grant, ended: Parameters<Limiter['done']>[1]): void {
    this.limiter.done(grant, ended);
    for (const look of this.#ended) look();
  }

  #noteBreaker(reply: BackendReply | undefined, deadline: EpochMs): void {
    const now = this.#options.clock.now();
    const sort = reply === undefined ? undefined : sortFault(reply);
    const wasCutOff = reply?.kind === 'timeout' && now >= deadline - startReserveMs;
    const isThrottled = reply !== undefined && 'status' in reply && reply.status === 429;
    if (reply === undefined || wasCutOff || isThrottled) this.breaker.neither();
    else if (sort === 'backend' || sort === 'site') this.breaker.failed(sort, describeReply(reply), now);
    else this.breaker.good(now);
  }

  /** What the usage says, for budgets and for later estimates of what comes out. */
  #used(reply: BackendReply | undefined): { tokens?: number } {
    if (reply?.kind !== 'answered' || !this.#isGood(reply)) return {};
    const { inputTokens, outputTokens } = usageOf(reply.body);
    if (inputTokens + outputTokens === 0) return {};
    this.#outputTokens += (outputTokens - this.#outputTokens) * (this.#outputTokens === 0 ? 1 : 0.1);
    return { tokens: inputTokens + outputTokens };
  }

  #outputTokensOf(body: JsonObject): number {
    const most = body.max_completion_tokens ?? body.max_tokens ?? body.max_output_tokens;
    if (typeof most !== 'number' || !(most >= 0)) return this.#outputTokens;
    return this.#outputTokens === 0 ? most : Math.min(most, this.#outputTokens);
  }

  async #send(body: JsonObject, deadline: EpochMs): Promise<BackendReply> {
    const { clock, callMs } = this.#options;
    const cut = new AbortController();
    const timer = new AbortController();
    const late = clock.sleep(Math.min(callMs, Math.max(0, deadline - clock.now())), timer.signal).then(
      (): BackendReply => {
        cut.abort();
        return { kind: 'timeout' };
      },
      () => new Promise<never>(() => {}),
    );
    const { backend, model } = this.route;
    try {
      const call = backend.call({ endpoint: this.endpoint, body: { ...body, model }, signal: cut.signal });
      return await Promise.race([call, late]);
    } finally {
      timer.abort('over');
    }
  }

  /** Requests that cannot be at fault; the answers serve all who ask within ten seconds. */
  #canariesOfLate(deadline: EpochMs): Promise<boolean> {
    const isOld = this.#options.clock.now() - this.#canaries.at >= canaryHoldsMs;
    return isOld ? this.#beginCanaries(deadline) : this.#canaries.areServed;
  }

  /** The same, and none that was asked before now; all who come while some are under way share the next ones. */
  #canariesFromNow(deadline: EpochMs): Promise<boolean> {
    this.#nextCanaries ??= this.#canaries.areServed.then(() => {
      this.#nextCanaries = undefined;
      return this.#beginCanaries(deadline);
    });
    return this.#nextCanaries;
  }

  #beginCanaries(deadline: EpochMs): Promise<boolean> {
    const areServed = this.#askCanaries(deadline).catch(() => false);
    this.#canaries = { at: this.#options.clock.now(), areServed };
    return areServed;
  }

  async #askCanaries(deadline: EpochMs): Promise<boolean> {
    for (let served = 0; served < canariesNeeded; served++) {
      const reply = await this.#call(smallestRequest[this.endpoint], 10, deadline, { asked: refusals.needed + served });
      const isServed =
        reply !== 'deadline' &&
        reply.kind === 'answered' &&
        this.#isGood(reply) &&
        shapeFault(this.endpoint, reply.body) === undefined &&
        (this.endpoint !== '/v1/embeddings' || unpackEmbeddings(reply.body, [[0]], [canarySize]) !== undefined);
      if (isServed) continue;
      if (reply !== 'deadline' && reply.kind === 'answered' && sortFault(reply) === 'line') this.#noteContradiction();
      return false;
    }
    return true;
  }

  /** What was refused cannot have been at fault: no refusal of this model is believed for a while. */
  #noteContradiction(): void {
    this.suspicion.noteContradiction(this.#options.clock.now());
    this.#options.refusalContradicted(this);
  }

  /** What `task` gives, or `undefined` where that takes longer. */
  async #until<T>(deadline: EpochMs, task: Promise<T>): Promise<T | undefined> {
    let value: T | undefined;
    const done = task.then((given) => {
      value = given;
    });
    await this.#sleepOr(done, deadline - this.#options.clock.now());
    return value;
  }

  async #sleepOr(event: Promise<void>, ms: DurationMs): Promise<void> {
    const timer = new AbortController();
    await Promise.race([event, this.#options.clock.sleep(Math.max(0, ms), timer.signal).catch(() => {})]);
    timer.abort();
  }
}

const canarySize = { items: 1, tokens: 1 };
