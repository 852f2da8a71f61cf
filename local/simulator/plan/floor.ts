import type { ControlEntry } from '../../../shared/journal/facts.ts';
import type { QueueDepth } from '../../../shared/ports/queue.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import { isDead, moveFrom } from '../../../shared/worker/owner.ts';
import { type Cloud, clouds, otherCloud, type PlanLimits } from './limits.ts';
import type { Trace } from './trace.ts';
import type { Weather } from './weather.ts';
import { Agenda, type Attempt, type Batch, type BatchSpec, isDone, leaseOf, type Task } from './work.ts';

/** The one model that everything asks for. */
export const modelName = 'model';

/** What one cloud has used, and what it has got done. */
export interface Usage {
  /** Calls of the model, the ones in vain too. */
  calls: number;
  inputTokens: number;
  outputTokens: number;
  /** Chunks that were taken off the queue and worked. */
  runs: number;
  /** Time that workers were at them. */
  workedMs: DurationMs;
  /** Messages sent to its queues. */
  messages: number;
  batches: number;
  /** Bytes that it sent to the other cloud. */
  mirroredBytes: number;
}

/** One cloud at work. */
interface Site {
  id: Cloud;
  queue: { task: Task; epoch: number; deliveries: number }[];
  head: number;
  /** Messages that will be visible again. */
  hidden: Agenda<{ task: Task; epoch: number; deliveries: number }>;
  running: Agenda<{ line: number; attempt: Attempt }>;
  /** The chunk whose lines are being started. */
  open: Attempt | undefined;
  attempts: Set<Attempt>;
  /** Worked, and not yet written anywhere. */
  unwritten: Attempt[];
  tokens: number;
  requests: number;
  isAlive: boolean;
  usage: Usage;
}

/** How a run of the model is told apart from what Holdfast does. */
export interface FloorOptions {
  /** Each cloud by itself: no other store to read or write, no other front door. */
  isApart: boolean;
}

/**
 * Queues and workers of both clouds, line by line and second by second. Calls of the model take the time that the limits
 * say; what starts is bounded by calls at once, requests and tokens a minute. Stores and queues are not modelled call by
 * call: they work or fail by the share that the scenario says.
 */
export class Floor {
  readonly sites: Record<Cloud, Site>;
  /** Answered, of the lines of the trace, and when. 0: not. */
  readonly answeredAt: Float64Array;
  /** How often each line was computed, calls that were cut off included. */
  readonly computed: Uint8Array;
  readonly openBatches = new Set<Batch>();
  /** Sent to us, and not accepted yet. */
  readonly atDoor: BatchSpec[] = [];
  /** Accepted while one cloud could not be written. */
  singles = 0;
  /** Longest that a batch waited for its receipt. */
  longestWaitMs: DurationMs = 0;
  refusedBatches = 0;
  /** First result of a chunk that had been sent again for another cloud to work. */
  firstRedrivenAt: EpochMs | undefined;
  readonly #trace: Trace;
  readonly #limits: PlanLimits;
  readonly #weather: Weather;
  readonly #options: FloorOptions;
  readonly #unmirrored = new Set<Task>();

  constructor(trace: Trace, limits: PlanLimits, weather: Weather, options: FloorOptions) {
    this.#trace = trace;
    this.#limits = limits;
    this.#weather = weather;
    this.#options = options;
    this.answeredAt = new Float64Array(trace.at.length);
    this.computed = new Uint8Array(trace.at.length);
    this.sites = { aws: newSite('aws'), azure: newSite('azure') };
  }

  /** Lines that were started here and have no answer yet. */
  inFlight(id: Cloud): number {
    const { attempts } = this.sites[id];
    let lines = 0;
    for (const attempt of attempts) lines += attempt.task.chunk.lines;
    return lines;
  }

  /** Whether a worker of this cloud is at a chunk. */
  isInWork(task: Task, id: Cloud): boolean {
    for (const attempt of this.sites[id].attempts) if (attempt.task === task) return true;
    return false;
  }

  /** Lines whose results only this cloud has, and the other one does not know of. */
  notMirrored(id: Cloud): number {
    let lines = 0;
    for (const { resultIn, chunk } of this.#unmirrored) if (resultIn.has(id)) lines += chunk.lines;
    return lines;
  }

  /** Messages that wait, and such that are in work. */
  depth(id: Cloud): QueueDepth {
    const { queue, head, attempts, hidden } = this.sites[id];
    return { visible: queue.length - head, inFlight: attempts.size, delayed: hidden.size, deadLettered: 0 };
  }

  /** True if nothing is to be done until something is sent. */
  get isIdle(): boolean {
    return (
      this.openBatches.size === 0 && this.atDoor.length === 0 && clouds.every((id) => this.sites[id].running.size === 0)
    );
  }

  /** Puts a batch on its way: accepted, planned, and its pointers sent to whoever works it now. */
  accept(spec: BatchSpec, home: Cloud, now: EpochMs, control: ControlEntry): Batch {
    const { epoch } = control;
    const subject = { batch: spec.name, model: modelName, boundTo: null };
    const to = (moveFrom(control, home, subject)?.to ?? home) as Cloud;
    const { batch } = this.#limits;
    const one: Batch = {
      spec,
      acceptedAt: now,
      home,
      deadline: now + batch.window,
      tasks: [],
      dispatches: [],
      left: spec.chunks.length,
      isOver: false,
    };
    one.tasks = spec.chunks.map((chunk) => ({
      batch: one,
      chunk,
      to,
      epoch,
      sentAt: now,
      reason: 'plan',
      leaseEnds: now + this.#limits.settings.dispatchLeaseMs,
      resultIn: new Set<Cloud>(),
    }));
    this.openBatches.add(one);
    this.sites[home].usage.batches += 1;
    this.send(one.tasks, to, epoch, 'plan', now);
    return one;
  }

  /** Sends pointers to a site and records the wave. */
  send(tasks: readonly Task[], to: Cloud, epoch: number, reason: Task['reason'], now: EpochMs): void {
    const site = this.sites[to];
    for (const task of tasks) {
      Object.assign(task, { to, epoch, reason, sentAt: now, leaseEnds: now + this.#limits.settings.dispatchLeaseMs });
      site.queue.push({ task, epoch, deliveries: 0 });
    }
    for (const batch of new Set(tasks.map((task) => task.batch))) batch.dispatches.push({ to, epoch, reason, at: now });
    site.usage.messages += tasks.length;
  }

  /** One step of `ms`, under the control entry that each site has learned. */
  step(now: EpochMs, ms: DurationMs, known: Readonly<Record<Cloud, ControlEntry>>): void {
    for (const id of clouds) {
      const site = this.sites[id];
      this.#liveOrDie(site, now);
      this.#end(site, now);
      this.#write(site, now);
      this.#start(site, now, ms, known[id]);
    }
    this.#mirror(now);
  }

  /** Batches whose window is over are published as they are. */
  expire(now: EpochMs): void {
    for (const batch of this.openBatches)
      if (batch.deadline <= now) {
        batch.isOver = true;
        this.openBatches.delete(batch);
      }
  }

  #liveOrDie(site: Site, now: EpochMs): void {
    const isAlive = this.#weather.share(now, site.id, 'functions', 'invoke') < 1;
    if (site.isAlive && !isAlive) this.#die(site, now);
    site.isAlive = isAlive;
  }

  /** Every worker of the site is gone, with what it was at; its messages show again when their leases end. */
  #die(site: Site, now: EpochMs): void {
    for (const { what } of site.running.drain()) this.#spend(site, what.line);
    for (const attempt of site.attempts) {
      const { task, epoch, deliveries } = attempt;
      site.hidden.add(now + leaseOf(this.#limits), { task, epoch, deliveries });
      site.usage.workedMs += now - attempt.startedAt;
    }
    site.attempts.clear();
    site.unwritten.length = 0;
    site.open = undefined;
  }

  #end(site: Site, now: EpochMs): void {
    for (let due = site.running.take(now); due !== undefined; due = site.running.take(now)) {
      const { line, attempt } = due.what;
      this.#spend(site, line);
      attempt.open -= 1;
      if (attempt.open === 0) site.unwritten.push(attempt);
    }
  }

  /** A call that was made is paid for. */
  #spend({ usage }: Site, line: number): void {
    this.computed[line]! += this.computed[line] === 255 ? 0 : 1;
    usage.calls += 1;
    usage.inputTokens += this.#trace.contextTokens[line]!;
    usage.outputTokens += this.#trace.generatedTokens[line]!;
  }

  /** Results go to the own store and to the other one; where neither takes them, they wait. */
  #write(site: Site, now: EpochMs): void {
    if (site.unwritten.length === 0) return;
    const stores = clouds.filter((id) => this.#canWrite(now, site.id, id));
    if (stores.length === 0) return;
    for (const attempt of site.unwritten.splice(0)) {
      site.attempts.delete(attempt);
      site.usage.workedMs += now - attempt.startedAt;
      this.#finish(site, attempt, stores, now);
    }
  }

  #finish(site: Site, { task }: Attempt, stores: readonly Cloud[], now: EpochMs): void {
    const wasDone = isDone(task);
    for (const store of stores) task.resultIn.add(store);
    if (stores.includes(otherCloud(site.id))) site.usage.mirroredBytes += this.#resultBytes(task);
    if (!this.#options.isApart && task.resultIn.size < clouds.length) this.#unmirrored.add(task);
    if (wasDone || task.batch.isOver) return;
    const { spec } = task.batch;
    const first = spec.firstLine + task.chunk.firstLine;
    this.answeredAt.fill(now, first, first + task.chunk.lines);
    if (task.reason !== 'plan') this.firstRedrivenAt ??= now;
    task.batch.left -= 1;
    if (task.batch.left === 0) {
      task.batch.isOver = true;
      this.openBatches.delete(task.batch);
    }
  }

  #resultBytes({ batch, chunk }: Task): number {
    let tokens = 0;
    const first = batch.spec.firstLine + chunk.firstLine;
    for (let line = first; line < first + chunk.lines; line++) tokens += this.#trace.generatedTokens[line]!;
    return Math.round(tokens * this.#limits.batch.bytesPerToken) + 400 * chunk.lines;
  }

  #mirror(now: EpochMs): void {
    if (this.#unmirrored.size === 0) return;
    for (const task of this.#unmirrored) {
      const missing = clouds.filter((id) => !task.resultIn.has(id));
      if (!missing.every((id) => this.#canWrite(now, otherCloud(id), id))) continue;
      for (const id of missing) {
        task.resultIn.add(id);
        this.sites[otherCloud(id)].usage.mirroredBytes += this.#resultBytes(task);
      }
      this.#unmirrored.delete(task);
    }
  }

  #canWrite(now: EpochMs, from: Cloud, store: Cloud): boolean {
    if (from !== store && this.#options.isApart) return false;
    return this.#weather.share(now, store, 'store', 'put') < 1 && this.#weather.linkShare(now, from, store) < 1;
  }

  /** What this site can see of results. */
  canSee(now: EpochMs, from: Cloud, { resultIn }: Task): boolean {
    for (const store of resultIn) if (this.#canRead(now, from, store)) return true;
    return false;
  }

  #canRead(now: EpochMs, from: Cloud, store: Cloud): boolean {
    if (from !== store && this.#options.isApart) return false;
    return this.#weather.share(now, store, 'store', 'get') < 1 && this.#weather.linkShare(now, from, store) < 1;
  }

  /** Takes messages and starts calls, as far as the limits of this step go. */
  #start(site: Site, now: EpochMs, ms: DurationMs, control: ControlEntry): void {
    const { tokensPerMinute, requestsPerMinute, concurrency, callMs, outputTokensPerSecond } =
      this.#limits.clouds[site.id];
    for (let due = site.hidden.take(now); due !== undefined; due = site.hidden.take(now))
      site.queue.push({ ...due.what, deliveries: due.what.deliveries + 1 });
    const speed = this.#speed(site, now);
    // What was not used in a second is not saved up for the next minute.
    site.tokens = Math.min(site.tokens + (tokensPerMinute * speed * ms) / 60_000, tokensPerMinute / 6);
    site.requests = Math.min(
      site.requests + (requestsPerMinute * speed * ms) / 60_000,
      Math.max(1, requestsPerMinute / 6),
    );
    while (speed > 0 && site.running.size < concurrency && site.tokens > 0 && site.requests >= 1) {
      // Nobody polls, or the queue does not answer: what was taken before goes on.
      if (site.open === undefined && !this.#weather.fails(this.#untaken(site, now)))
        site.open = this.#take(site, now, control);
      const attempt = site.open;
      if (attempt === undefined) return;
      const { task } = attempt;
      const line = task.batch.spec.firstLine + task.chunk.firstLine + attempt.next;
      const generated = this.#trace.generatedTokens[line]!;
      site.tokens -= this.#trace.contextTokens[line]! + generated;
      site.requests -= 1;
      const takesMs = callMs + (generated * 1_000) / outputTokensPerSecond + this.#weather.modelDelayMs(now, site.id);
      site.running.add(now + takesMs, { line, attempt });
      attempt.next += 1;
      if (attempt.next === task.chunk.lines) site.open = undefined;
    }
  }

  /** Share of its usual speed at which a site can work now. */
  #speed({ id, isAlive }: Site, now: EpochMs): number {
    if (!isAlive) return 0;
    const share = (service: string, ...ops: string[]) => this.#weather.share(now, id, service, ...ops);
    const read = clouds.reduce(
      (bad, store) => (this.#canRead(now, id, store) ? bad * this.#weather.share(now, store, 'store', 'get') : bad),
      1,
    );
    const model = 1 - (1 - share('model', '*')) * (1 - this.#weather.share(now, 'provider', 'model', '*'));
    const refused = this.#weather.partShare(now, id, 'credentials', 'mint', 'validate');
    const bad = [refused, share('functions', 'invoke'), read, model];
    return bad.reduce((good, one) => good * (1 - one), 1);
  }

  /** Share of looks into the queue that bring nothing although something is there. */
  #untaken({ id }: Site, now: EpochMs): number {
    const poller = this.#weather.share(now, id, 'functions', 'poller');
    return 1 - (1 - poller) * (1 - this.#weather.share(now, id, 'queue', 'receive'));
  }

  /** The next message that is worth working, as a worker judges it. */
  #take(site: Site, now: EpochMs, control: ControlEntry): Attempt | undefined {
    while (site.head < site.queue.length) {
      const { task, epoch, deliveries } = site.queue[site.head++]!;
      if (site.head > 10_000 && site.head * 2 > site.queue.length) {
        site.queue.splice(0, site.head);
        site.head = 0;
      }
      if (task.batch.isOver || isDead({ to: site.id, epoch }, control)) continue;
      const move = moveFrom(control, site.id, { batch: task.batch.spec.name, model: modelName, boundTo: null });
      if (move !== undefined && epoch < move.since) continue;
      const mayRepeat = task.reason !== 'plan' || deliveries > 0 || epoch !== control.epoch;
      if (mayRepeat && this.canSee(now, site.id, task)) continue;
      const { lines } = task.chunk;
      const attempt: Attempt = { task, epoch, deliveries, next: 0, open: lines, startedAt: now };
      site.attempts.add(attempt);
      site.usage.runs += 1;
      return attempt;
    }
    return undefined;
  }
}

function newSite(id: Cloud): Site {
  return {
    id,
    queue: [],
    head: 0,
    hidden: new Agenda(),
    running: new Agenda(),
    open: undefined,
    attempts: new Set(),
    unwritten: [],
    tokens: 0,
    requests: 0,
    isAlive: true,
    usage: {
      calls: 0,
      inputTokens: 0,
      outputTokens: 0,
      runs: 0,
      workedMs: 0,
      messages: 0,
      batches: 0,
      mirroredBytes: 0,
    },
  };
}
