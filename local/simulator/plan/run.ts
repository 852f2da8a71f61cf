import { drawHome } from '../../../shared/api/home.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import type { Random } from '../../../shared/ports/random.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import { seededRandom } from '../../model-server/random.ts';
import type { Scenario } from '../scenario/index.ts';
import { Floor, type Usage } from './floor.ts';
import { type Cloud, clouds, otherCloud, type PlanLimits } from './limits.ts';
import type { Load } from './looks.ts';
import { Redriver } from './redrive.ts';
import type { Trace } from './trace.ts';
import { type VerdictChange, Watch } from './watch.ts';
import { Weather } from './weather.ts';
import type { BatchSpec } from './work.ts';

/** The three worlds that are compared. */
export type Variant = 'no-outage' | 'holdfast' | 'apart';

/** One moment of a run, for plots. */
export interface Sample {
  /** Since the first request of the trace. */
  atMs: DurationMs;
  /** Lines that each cloud has to do. */
  backlog: Record<Cloud, number>;
  /** Lines that wait at the door for a receipt. */
  atDoor: number;
  /** Lines that each cloud answered since the sample before, a minute. */
  perMinute: Record<Cloud, number>;
}

export interface RunResult {
  variant: Variant;
  /** Lines of the trace. */
  lines: number;
  answered: number;
  /** Not answered within their window, counted from when they were sent. */
  missed: number;
  /** Batches that had to wait for their receipt, and the longest wait. */
  refusedBatches: number;
  longestWaitMs: DurationMs;
  /** Receipts that only one cloud stands behind. */
  singles: number;
  /** Calls of the model beyond one for each line that was computed. */
  repeats: number;
  /** What I9 allows: see `docs/simulation-plan.md`. */
  repeatsBound: number;
  /** From T+0 to the entry that moved the work, of a site or of the model, away; to the last pointer sent again; to the first result of one. */
  fencedAfterMs: DurationMs | undefined;
  redrivenAfterMs: DurationMs | undefined;
  firstResultAfterMs: DurationMs | undefined;
  /** Pointers that redrive sent. */
  redriven: number;
  /** From a line's arrival to its answer, over all answered lines. */
  medianMs: DurationMs;
  p99Ms: DurationMs;
  backlogMax: number;
  usage: Record<Cloud, Usage>;
  samples: Sample[];
  entries: { atMs: DurationMs; epoch: number; actor: string; reason: string; states: Record<Cloud, string> }[];
  verdicts: (Omit<VerdictChange, 'at'> & { atMs: DurationMs })[];
  /** What `decide` said while it did nothing, and what became of commands. */
  notes: { atMs: DurationMs; sentence: string }[];
  endedAfterMs: DurationMs;
}

const stepMs: DurationMs = 1_000;
const samplesMax = 480;
/** A run goes on for so long after the window of the last batch, for sites that are on their way back. */
const afterMs: DurationMs = 6 * 3_600_000;

/** One world of a plan. */
export interface RunInput {
  variant: Variant;
  trace: Trace;
  batches: readonly BatchSpec[];
  scenario: Scenario;
  limits: PlanLimits;
  /** T+0 of the outage. */
  zero: EpochMs;
}

/** Runs one world to its end. Same inputs, same result. */
export function runVariant(input: RunInput): RunResult {
  return new Run(input).run();
}

class Run {
  readonly #variant: Variant;
  readonly #trace: Trace;
  readonly #batches: readonly BatchSpec[];
  readonly #scenario: Scenario;
  readonly #limits: PlanLimits;
  readonly #zero: EpochMs;
  readonly #start: EpochMs;
  readonly #weather: Weather;
  readonly #floor: Floor;
  readonly #watch: Watch;
  readonly #random: Random;
  readonly #redrivers: Record<Cloud, Redriver>;
  #known: Record<Cloud, ControlEntry>;
  readonly #samples: Sample[] = [];
  readonly #notes: { at: EpochMs; sentence: string }[] = [];
  readonly #answered: Record<Cloud, number> = { aws: 0, azure: 0 };
  #next = 0;
  #redriven = 0;
  #lastRedrivenAt: EpochMs | undefined;
  #repeatsBound = 0;
  #backlogMax = 0;
  #restedMs: DurationMs = 0;
  readonly #learned = new Set<Cloud>();
  readonly #runsBefore: Record<Cloud, number> = { aws: 0, azure: 0 };

  constructor({ variant, trace, batches, scenario, limits, zero }: RunInput) {
    this.#variant = variant;
    this.#trace = trace;
    this.#batches = batches;
    this.#scenario = scenario;
    this.#limits = limits;
    this.#zero = zero;
    this.#start = Math.floor(trace.at[0]! / stepMs) * stepMs;
    this.#random = seededRandom(limits.seed);
    this.#weather = new Weather(variant === 'no-outage' ? undefined : scenario, zero, seededRandom(limits.seed + 1));
    this.#floor = new Floor(trace, limits, this.#weather, { isApart: variant === 'apart' });
    const policy =
      variant === 'holdfast' ? limits : { ...limits, settings: { ...limits.settings, failover: 'recommend' as const } };
    this.#watch = new Watch(policy, this.#weather, seededRandom(limits.seed + 2), this.#start);
    this.#known = { aws: this.#watch.control, azure: this.#watch.control };
    const { tickMs } = limits.settings;
    this.#redrivers = { aws: new Redriver('aws', tickMs), azure: new Redriver('azure', tickMs) };
  }

  run(): RunResult {
    const { window } = this.#limits.batch;
    const lastSent = this.#batches.at(-1)!.sentAt;
    const endsAt = Math.max(lastSent, this.#weather.endsAt ?? this.#zero) + window + afterMs;
    const sampleMs = Math.max(
      10_000,
      Math.ceil((Math.max(lastSent, this.#weather.endsAt ?? 0) - this.#start) / samplesMax / 10_000) * 10_000,
    );
    // Observers need some looks behind them when it begins.
    let now = Math.min(
      this.#start,
      this.#zero - Math.ceil((this.#warmUpMs + stepMs) / this.#watch.tickMs) * this.#watch.tickMs,
    );
    let wasWatched = false;
    while (now <= endsAt) {
      const isWatched: boolean = this.#variant === 'holdfast' && this.#isWatchNeeded(now, wasWatched);
      if (this.#isDone(isWatched, now)) break;
      const jump = this.#jump(now, isWatched, endsAt);
      if (jump > 0) {
        if (isWatched) this.#restedMs += jump;
        this.#sampleUpTo(now, now + jump, sampleMs);
        now += jump;
        continue;
      }
      wasWatched = isWatched;
      this.#step(now, isWatched);
      if (now >= this.#start && (now - this.#start) % sampleMs === 0) this.#sample(now, sampleMs);
      now += stepMs;
    }
    this.#sample(now, sampleMs);
    return this.#result(now);
  }

  /** Observers stand up shortly before something happens, and go on until nothing does. */
  #isWatchNeeded(now: EpochMs, was: boolean): boolean {
    const first = this.#weather.changes[0] ?? this.#zero;
    if (now < first - this.#warmUpMs) return false;
    if (was && !this.#watch.isCalm) return true;
    const endsAt = this.#weather.endsAt ?? Number.POSITIVE_INFINITY;
    return now <= Math.max(endsAt, this.#lastCommandAt) + this.#warmUpMs;
  }

  /** Observers that would only see the same again are left alone until something changes. */
  #isResting(now: EpochMs): boolean {
    return this.#watch.isSteady(now) && now > this.#lastCommandAt;
  }

  get #warmUpMs(): DurationMs {
    return 30 * this.#watch.tickMs;
  }

  get #lastCommandAt(): EpochMs {
    const commands = this.#scenario.effects.filter(({ mode }) => mode.kind === 'command');
    const hand = this.#limits.failover === 'by-hand' ? this.#limits.handAfter : 0;
    return this.#zero + Math.max(hand, 0, ...commands.map(({ fromMs }) => fromMs));
  }

  #isDone(isWatched: boolean, now: EpochMs): boolean {
    if (this.#next < this.#batches.length || !this.#floor.isIdle) return false;
    // The outage has to be over, if it ever is, and the site back, if it ever comes.
    const isOver = now > Math.max(this.#weather.endsAt ?? this.#zero, this.#lastCommandAt);
    return isOver && (!isWatched || this.#watch.isSteady(now));
  }

  /** How long nothing at all happens from `now` on, as far as that is sure. */
  #jump(now: EpochMs, isWatched: boolean, endsAt: EpochMs): DurationMs {
    if (!this.#floor.isIdle || (isWatched && !this.#isResting(now))) return 0;
    const sentAt = this.#batches[this.#next]?.sentAt ?? Number.POSITIVE_INFINITY;
    const change = this.#weather.changes.find((at) => at > now) ?? Number.POSITIVE_INFINITY;
    const wake = isWatched || this.#variant !== 'holdfast' ? change : Math.max(now, change - this.#warmUpMs);
    const to = Math.min(sentAt, wake, endsAt + stepMs);
    // Whole ticks, so that every observer keeps its own second.
    const grid = isWatched ? this.#watch.tickMs : stepMs;
    return Number.isFinite(to) ? Math.max(0, Math.floor((to - now) / grid) * grid) : 0;
  }

  #step(now: EpochMs, isWatched: boolean): void {
    while (this.#next < this.#batches.length && this.#batches[this.#next]!.sentAt <= now)
      this.#floor.atDoor.push(this.#batches[this.#next++]!);
    this.#openDoor(now);
    if (isWatched && this.#isResting(now)) this.#restedMs += stepMs;
    else if (isWatched) {
      if (this.#restedMs > 0) this.#watch.skip(this.#restedMs);
      this.#restedMs = 0;
      this.#command(now);
      this.#watch.step(now, { aws: this.#load('aws', now), azure: this.#load('azure', now) });
      this.#learn(now);
    }
    this.#boundRepeats(now);
    this.#floor.step(now, stepMs, this.#known);
    for (const id of clouds) this.#answered[id] = this.#floor.sites[id].usage.calls;
    if ((now - this.#start) % this.#watch.tickMs === 0) this.#sweep(now);
  }

  /**
   * What I9 allows: lines in work and results not mirrored at the fault, what the struck cloud takes up until it learns
   * that it is fenced, and what was in work there at that moment. What is sent again while the old pointer may yet be
   * worked, the redrivers count.
   */
  #boundRepeats(now: EpochMs): void {
    if (this.#variant !== 'holdfast' || now < this.#zero) return;
    for (const id of this.#struck()) {
      const { runs } = this.#floor.sites[id].usage;
      const hasLearned = this.#known[id].sites[id]!.state === 'fenced';
      if (now === this.#zero) this.#repeatsBound += this.#floor.inFlight(id) + this.#floor.notMirrored(id);
      else if (!this.#learned.has(id))
        this.#repeatsBound += (runs - this.#runsBefore[id]) * this.#limits.chunk.linesMax;
      if (hasLearned && !this.#learned.has(id)) this.#repeatsBound += this.#floor.inFlight(id);
      if (hasLearned) this.#learned.add(id);
      this.#runsBefore[id] = runs;
    }
  }

  /** Clouds that the scenario strikes. */
  #struck(): Cloud[] {
    return clouds.filter((id) =>
      this.#scenario.effects.some(({ target }) => target.split('.')[0] === id || target.startsWith(`link.${id}-`)),
    );
  }

  #openDoor(now: EpochMs): void {
    const { atDoor } = this.#floor;
    if (atDoor.length === 0) return;
    const waiting = atDoor.splice(0);
    for (const spec of waiting) {
      const taken = this.#variant === 'apart' ? this.#takeApart(spec, now) : this.#take(spec, now);
      if (!taken) atDoor.push(spec);
    }
  }

  /** A client tries both clouds; whichever answers takes the batch, if everything can be written that must be. */
  #take(spec: BatchSpec, now: EpochMs): boolean {
    const { control } = this.#watch;
    for (const id of clouds) {
      if (!this.#isOpen(id, now)) continue;
      const wanted = clouds.filter((site) => control.sites[site]!.state !== 'fenced');
      const written = wanted.filter((site) => this.#takes(id, site, now));
      const isEnough = this.#limits.intake === 'strict' ? written.length === wanted.length : written.includes(id);
      if (!isEnough || written.length === 0) continue;
      const home = drawHome({ random: this.#random, self: id } as never, {
        control,
        boundTo: null,
        serving: clouds,
        entry: undefined,
      }) as Cloud;
      this.#accept(spec, home, now, control);
      if (written.length < clouds.length) this.#floor.singles += 1;
      return true;
    }
    return false;
  }

  /** Each cloud by itself: a batch belongs to one of them, drawn by weight, and waits for that one. */
  #takeApart(spec: BatchSpec, now: EpochMs): boolean {
    const { home } = this.#limits;
    const draw = seededRandom(this.#limits.seed + spec.firstLine)() * (home.aws + home.azure);
    const id: Cloud = draw < home.aws ? 'aws' : 'azure';
    if (!this.#isOpen(id, now) || !this.#takes(id, id, now)) return false;
    this.#accept(spec, id, now, this.#watch.control);
    return true;
  }

  #accept(spec: BatchSpec, home: Cloud, now: EpochMs, control: ControlEntry): void {
    const waitedMs = now - spec.sentAt;
    if (waitedMs > stepMs) this.#floor.refusedBatches += 1;
    this.#floor.longestWaitMs = Math.max(this.#floor.longestWaitMs, waitedMs);
    this.#floor.accept(spec, home, now, control);
    if (this.#variant !== 'apart') this.#floor.sites[home].usage.mirroredBytes += spec.inputBytes;
  }

  #isOpen(id: Cloud, now: EpochMs): boolean {
    const share = (service: string, ...ops: string[]) => this.#weather.share(now, id, service, ...ops);
    return !this.#weather.fails(share('api')) && !this.#weather.fails(share('functions', 'invoke'));
  }

  #takes(from: Cloud, to: Cloud, now: EpochMs): boolean {
    const share = this.#weather.share(now, to, 'store', 'put');
    // The store's own client tries a few times before it gives up.
    return !this.#weather.fails(share ** 3) && !this.#weather.fails(this.#weather.linkShare(now, from, to));
  }

  /** Operators of the scenario, and whoever fails over by hand. */
  #command(now: EpochMs): void {
    for (const { target, mode, fromMs } of this.#scenario.effects) {
      if (mode.kind !== 'command' || Math.floor((this.#zero + fromMs) / stepMs) * stepMs !== now) continue;
      const { from = '', to = '', site = '' } = mode.args;
      const why =
        mode.command === 'failover'
          ? this.#watch.command(
              { kind: 'failover', from, to, scope: { kind: 'all' }, mode: 'forced' },
              target,
              'as the scenario says',
              now,
              false,
            )
          : this.#watch.command({ kind: 'failback', site, step: 'start' }, target, 'as the scenario says', now, false);
      this.#notes.push({
        at: now,
        sentence: `${target}: ${mode.command} ${why === undefined ? 'happened' : `refused: ${why}`}`,
      });
    }
    const { failover, handAfter } = this.#limits;
    const [from] = this.#struck();
    if (failover !== 'by-hand' || from === undefined || now !== Math.floor((this.#zero + handAfter) / stepMs) * stepMs)
      return;
    const to = otherCloud(from);
    const command = { kind: 'failover', from, to, scope: { kind: 'all' }, mode: 'forced' } as const;
    const why = this.#watch.command(command, 'on-call', 'by hand', now, true);
    this.#notes.push({
      at: now,
      sentence: `failover ${from} → ${to} by hand ${why === undefined ? 'happened' : `refused: ${why}`}`,
    });
  }

  /** Each site looks its control entry up in its own store, now and then. */
  #learn(now: EpochMs): void {
    const { control } = this.#watch;
    for (const id of clouds) {
      const isReadable = this.#weather.share(now, id, 'store', 'get') < 1;
      if (isReadable && now >= control.at + this.#limits.settings.controlCacheMs) this.#known[id] = control;
    }
  }

  #sweep(now: EpochMs): void {
    this.#floor.expire(now);
    const { control } = this.#watch;
    if (control.epoch === 1 || this.#variant !== 'holdfast') return;
    for (const id of clouds) {
      if (control.sites[id]!.state !== 'active' || this.#known[id] !== control) continue;
      if (this.#weather.share(now, id, 'functions', 'invoke') >= 1 || this.#weather.share(now, id, 'timer') >= 1)
        continue;
      const { sent, doubtful } = this.#redrivers[id].step(this.#floor, control, now);
      this.#redriven += sent;
      this.#repeatsBound += doubtful;
      if (sent > 0) this.#lastRedrivenAt = now;
      // What is written while one cloud is fenced, the other one lacks.
      if (control.sites[otherCloud(id)]!.state === 'fenced') this.#watch.missingFacts += 2 * sent + 1;
    }
  }

  #load(id: Cloud, now: EpochMs): Load {
    let openLines = 0;
    let oldestAt = now;
    for (const batch of this.#floor.openBatches)
      for (const task of batch.tasks)
        if (task.to === id && task.resultIn.size === 0) {
          openLines += task.chunk.lines;
          oldestAt = Math.min(oldestAt, batch.acceptedAt);
        }
    return { openLines, answeredLines: this.#floor.sites[id].usage.calls, oldestAt, depth: this.#floor.depth(id) };
  }

  #sampleUpTo(from: EpochMs, to: EpochMs, sampleMs: DurationMs): void {
    const first = this.#start + Math.ceil((from - this.#start) / sampleMs) * sampleMs;
    for (let at = first; at < to; at += sampleMs) this.#sample(at, sampleMs);
  }

  #sampled: Record<Cloud, number> = { aws: 0, azure: 0 };

  #sample(now: EpochMs, sampleMs: DurationMs): void {
    const backlog: Record<Cloud, number> = { aws: 0, azure: 0 };
    for (const batch of this.#floor.openBatches)
      for (const { to, resultIn, chunk } of batch.tasks) if (resultIn.size === 0) backlog[to] += chunk.lines;
    const atDoor = this.#floor.atDoor.reduce((sum, { lines }) => sum + lines, 0);
    const perMinute: Record<Cloud, number> = { aws: 0, azure: 0 };
    for (const id of clouds) {
      perMinute[id] = ((this.#answered[id] - this.#sampled[id]) * 60_000) / sampleMs;
      this.#sampled[id] = this.#answered[id];
    }
    this.#backlogMax = Math.max(this.#backlogMax, backlog.aws + backlog.azure + atDoor);
    this.#samples.push({ atMs: now - this.#start, backlog, atDoor, perMinute });
  }

  #result(endedAt: EpochMs): RunResult {
    const { answeredAt, computed, sites, singles, refusedBatches, longestWaitMs, firstRedrivenAt } = this.#floor;
    const waits: number[] = [];
    let missed = 0;
    for (const { firstLine, lines, sentAt } of this.#batches)
      for (let line = firstLine; line < firstLine + lines; line++) {
        const at = answeredAt[line]!;
        if (at > 0) waits.push(at - this.#trace.at[line]!);
        if (at === 0 || at > sentAt + this.#limits.batch.window) missed += 1;
      }
    waits.sort((a, b) => a - b);
    const since = (at: EpochMs | undefined) => (at === undefined ? undefined : Math.max(0, at - this.#zero));
    const hasMoved = ({ sites: states, moves }: ControlEntry) =>
      moves.length > 0 || clouds.some((id) => states[id]!.state === 'fenced');
    const fencing = this.#watch.entries.find(hasMoved);
    const repeats = computed.reduce((sum, times) => sum + Math.max(0, times - 1), 0);
    return {
      variant: this.#variant,
      lines: this.#trace.at.length,
      answered: waits.length,
      missed,
      refusedBatches: refusedBatches + this.#floor.atDoor.length,
      longestWaitMs: Math.max(longestWaitMs, ...this.#floor.atDoor.map(({ sentAt }) => endedAt - sentAt)),
      singles,
      repeats,
      repeatsBound: this.#repeatsBound,
      fencedAfterMs: since(fencing?.at),
      redrivenAfterMs: since(this.#lastRedrivenAt),
      firstResultAfterMs: since(firstRedrivenAt),
      redriven: this.#redriven,
      medianMs: waits[Math.floor(waits.length / 2)] ?? 0,
      p99Ms: waits[Math.floor(waits.length * 0.99)] ?? 0,
      backlogMax: this.#backlogMax,
      usage: { aws: sites.aws.usage, azure: sites.azure.usage },
      samples: this.#samples,
      entries: this.#watch.entries.map(({ at, epoch, actor, reason, sites: states }) => ({
        atMs: Math.max(0, at - this.#start),
        epoch,
        actor,
        reason,
        states: { aws: stateOf(states.aws!), azure: stateOf(states.azure!) },
      })),
      verdicts: this.#watch.verdicts.map(({ at, ...rest }) => ({ atMs: at - this.#start, ...rest })),
      notes: [...this.#watch.reasons.map(({ at, reason }) => ({ at, sentence: reason })), ...this.#notes]
        .sort((a, b) => a.at - b.at)
        .map(({ at, sentence }) => ({ atMs: at - this.#start, sentence })),
      endedAfterMs: endedAt - this.#start,
    };
  }
}

const stateOf = ({ state, weight }: ControlEntry['sites'][string]) => (state === 'active' ? `active ${weight}` : state);
