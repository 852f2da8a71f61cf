import type { BackendLimits } from '../core.ts';
import { modelOf, shapeFault, usageOf } from '../inference/answer.ts';
import type { Backend, BackendReply } from '../inference/backend.ts';
import { isThrottle, sortFault } from '../inference/sort-fault.ts';
import type { Endpoint, ResultRow, ServedBy } from '../journal/facts.ts';
import type { Json, JsonObject } from '../journal/json.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { Ids, Random } from '../ports/random.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { BatchingCore, BatchingJob, LineRequest } from './core.ts';
import { embeddingInputs, estimateInputs, packKey, unpackEmbeddings } from './embeddings.ts';
import { Limiter, type LimiterOptions } from './limiter.ts';
import { embeddingLimits, type Packable, type PackLimits, pack } from './pack.ts';
import { Suspicion } from './suspicion.ts';

/** Who serves an alias on this site. */
export interface Route {
  backend: Backend;
  /** The model as that backend knows it. */
  model: string;
  /** Its budgets and bounds, as the model map says them. Default: none is known. */
  limits?: BackendLimits;
}

export interface BatchingOptions {
  site: SiteId;
  /** Cloud of that site, as results name it. */
  cloud?: ServedBy['cloud'];
  /** `undefined` where nobody here serves the alias: its lines are given back. */
  route(alias: string, endpoint: Endpoint): Route | undefined;
  clock: Clock;
  random: Random;
  ids: Ids;
  log: Log;
  /** Longest single call. Default 120,000. */
  callMs?: DurationMs;
  /** How long an array call waits for more lines to share it. Default 10. */
  lingerMs?: DurationMs;
  /** Tries of one call in one run before its lines are given back. Default 4. */
  triesMax?: number;
  limiter?: LimiterOptions;
  pack?: PackLimits;
}

/** What is learned of one model of one backend, by all runs of this process. */
interface Lane {
  route: Route;
  endpoint: Endpoint;
  limiter: Limiter;
  suspicion: Suspicion;
  canary: { at: EpochMs; isServed: Promise<boolean> } | undefined;
}

/** One line on its way through one lane. */
interface Task extends Packable {
  line: LineRequest;
  inputs: Json[];
  deadline: EpochMs;
  /** How it ended, as far as one call can tell. */
  resolve(end: End): void;
}

type End =
  | { kind: 'answered'; status: number; requestId: string; body: Json; model: string }
  | { kind: 'refused'; status: number; requestId: string; body: Json; model: string }
  | { kind: 'retry'; cause: 'backend' | 'site' | 'deadline' | 'line'; reason: string; counts: boolean };

/** A canary's word holds this long. */
const canaryHoldsMs: DurationMs = 10_000;
/** Below this a call is not started any more: it would only be cut off. */
const startReserveMs: DurationMs = 250;

/** The batching core of one process (DESIGN.md section 6). */
export function createBatchingCore(options: BatchingOptions): BatchingCore {
  return new Engine(options);
}

class Engine implements BatchingCore {
  readonly #options: BatchingOptions;
  readonly #lanes = new Map<string, Lane>();
  readonly #gathering = new Map<string, Task[]>();

  constructor(options: BatchingOptions) {
    this.#options = options;
  }

  async run(job: BatchingJob): Promise<ResultRow[]> {
    const lane = this.#lane(job);
    if (lane === undefined)
      return job.lines.map((line) => retry(line, 'backend', `no backend serves ${job.model}`, false));
    const ends = await Promise.all(job.lines.map((line) => this.#end(lane, job, line)));
    await this.#judgeRefusals(lane, ends, job.deadline);
    return job.lines.map((line, i) => this.#row(lane, line, ends[i]!));
  }

  #lane({ model, endpoint }: BatchingJob): Lane | undefined {
    const route = this.#options.route(model, endpoint);
    if (route === undefined) return undefined;
    const name = `${route.backend.name}\n${route.model}\n${endpoint}`;
    const known = this.#lanes.get(name);
    if (known !== undefined) return known;
    const limiter = new Limiter(this.#options.clock, this.#options.limiter);
    const lane: Lane = { route, endpoint, limiter, suspicion: new Suspicion(), canary: undefined };
    this.#lanes.set(name, lane);
    return lane;
  }

  /** Never rejects: a bug while one line is worked is that line's retry, not its neighbours'. */
  async #end(lane: Lane, job: BatchingJob, line: LineRequest): Promise<End> {
    try {
      const inputs = job.endpoint === '/v1/embeddings' ? embeddingInputs(line.body) : undefined;
      if (inputs === undefined) return await this.#endAlone(lane, line.body, job.deadline);
      return await new Promise<End>((resolve) => {
        this.#gather(lane, { line, inputs, ...estimateInputs(inputs), deadline: job.deadline, resolve });
      });
    } catch (error) {
      return { kind: 'retry', cause: 'line', reason: String((error as Error)?.message).slice(0, 200), counts: true };
    }
  }

  async #endAlone(lane: Lane, body: JsonObject, deadline: EpochMs): Promise<End> {
    const end = this.#endOf(lane, await this.#call(lane, body, deadline));
    if (end.kind !== 'refused') return end;
    // Asked once more: a refusal that does not hold was never about the line.
    const second = this.#endOf(lane, await this.#call(lane, body, deadline));
    if (second.kind === 'answered') lane.suspicion.noteContradiction(this.#options.clock.now());
    return second;
  }

  #endOf(lane: Lane, reply: BackendReply | 'deadline'): End {
    if (reply === 'deadline') return { kind: 'retry', cause: 'deadline', reason: 'time ran out', counts: false };
    const sort = sortFault(reply);
    if (sort === 'backend' || sort === 'site')
      return { kind: 'retry', cause: sort, reason: describe(reply), counts: false };
    if (reply.kind !== 'answered') return { kind: 'retry', cause: 'line', reason: describe(reply), counts: true };
    if (sort === 'line' || sort === 'good') lane.suspicion.note(sort === 'line');
    const fault = sort === 'good' ? shapeFault(lane.endpoint, reply.body) : undefined;
    if (sort === 'malformed' || fault !== undefined)
      return { kind: 'retry', cause: 'line', reason: fault ?? 'an error inside an answer', counts: true };
    return {
      kind: sort === 'line' ? 'refused' : 'answered',
      status: reply.status,
      requestId: reply.requestId ?? `req_${this.#options.ids.uuid()}`,
      body: reply.body,
      model: modelOf(reply.body, lane.route.model),
    };
  }

  /** One call under the limiter, tried again with full jitter while the backend fails and there is time. */
  async #call(lane: Lane, body: JsonObject, deadline: EpochMs): Promise<BackendReply | 'deadline'> {
    const { clock, random, triesMax = 4 } = this.#options;
    for (let tries = 1; ; tries++) {
      if (!(await lane.limiter.acquire(deadline - startReserveMs))) return 'deadline';
      const reply = await this.#exchange(lane, body, deadline);
      const retryAfterMs = 'retryAfterMs' in reply ? (reply.retryAfterMs ?? 0) : 0;
      const sort = sortFault(reply);
      lane.limiter.done(isThrottle(reply) ? 'throttled' : sort === 'good' ? 'good' : 'neutral', retryAfterMs);
      if (reply.kind === 'timeout' && clock.now() >= deadline - startReserveMs) return 'deadline';
      if (sort !== 'backend' || tries >= triesMax) return reply;
      const pause = Math.max(retryAfterMs, random() * Math.min(500 * 2 ** tries, 30_000));
      if (clock.now() + pause >= deadline - startReserveMs) return reply;
      await clock.sleep(pause);
    }
  }

  async #exchange(lane: Lane, body: JsonObject, deadline: EpochMs): Promise<BackendReply> {
    const { clock, callMs = 120_000 } = this.#options;
    const cut = new AbortController();
    const timer = new AbortController();
    const late = clock.sleep(Math.min(callMs, Math.max(0, deadline - clock.now())), timer.signal).then(
      (): BackendReply => {
        cut.abort();
        return { kind: 'timeout' };
      },
      () => new Promise<never>(() => {}),
    );
    const { backend, model } = lane.route;
    const call = backend.call({ endpoint: lane.endpoint, body: { ...body, model }, signal: cut.signal });
    try {
      return await Promise.race([call, late]);
    } finally {
      timer.abort();
    }
  }

  /** Array endpoints: lines that may share a call wait a moment for each other, whichever run they came with. */
  #gather(lane: Lane, task: Task): void {
    const key = `${lane.route.backend.name}\n${packKey({ ...task.line.body, model: lane.route.model })}`;
    const waiting = this.#gathering.get(key);
    if (waiting !== undefined) {
      waiting.push(task);
      return;
    }
    this.#gathering.set(key, [task]);
    const go = () => {
      const tasks = this.#gathering.get(key)!;
      this.#gathering.delete(key);
      for (const call of pack(tasks, this.#options.pack ?? embeddingLimits)) void this.#runPacked(lane, call);
    };
    this.#options.clock.sleep(this.#options.lingerMs ?? 10).then(go, go);
  }

  /** One packed call; a refusal of several lines is halved until the line that causes it stands alone. */
  async #runPacked(lane: Lane, tasks: readonly Task[]): Promise<void> {
    const give = (end: End) => {
      for (const task of tasks) task.resolve(end);
    };
    try {
      const deadline = Math.min(...tasks.map((task) => task.deadline));
      if (tasks.length === 1) return give(await this.#endSingle(lane, tasks[0]!));
      const body = { ...tasks[0]!.line.body, input: tasks.flatMap(({ inputs }) => inputs) };
      const end = this.#endOf(lane, await this.#call(lane, body, deadline));
      const parts = end.kind === 'answered' ? unpackEmbeddings(end.body, tasks) : undefined;
      if (end.kind === 'answered' && parts !== undefined) {
        for (const [i, task] of tasks.entries()) task.resolve({ ...end, body: parts[i]! });
        return;
      }
      const mayBeOneLine = end.kind !== 'retry' || end.cause === 'line';
      if (!mayBeOneLine) return give(end);
      const half = Math.ceil(tasks.length / 2);
      await Promise.all([this.#runPacked(lane, tasks.slice(0, half)), this.#runPacked(lane, tasks.slice(half))]);
    } catch (error) {
      give({ kind: 'retry', cause: 'line', reason: String((error as Error)?.message).slice(0, 200), counts: true });
    }
  }

  async #endSingle(lane: Lane, task: Task): Promise<End> {
    const end = await this.#endAlone(lane, task.line.body, task.deadline);
    if (end.kind !== 'answered' || unpackEmbeddings(end.body, [task]) !== undefined) return end;
    return { kind: 'retry', cause: 'line', reason: 'not one embedding for each input', counts: true };
  }

  /** Refusals end lines only if the model is to be believed; else they are weather, and the lines come again. */
  async #judgeRefusals(lane: Lane, ends: End[], deadline: EpochMs): Promise<void> {
    if (!ends.some((end) => end.kind === 'refused')) return;
    const isWeather =
      lane.suspicion.isDoubted(this.#options.clock.now()) ||
      (lane.suspicion.isCorrelated && !(await this.#canaryIsServed(lane, deadline)));
    if (!isWeather) return;
    this.#options.log.warn('refusals.doubted', { backend: lane.route.backend.name, model: lane.route.model });
    for (const [i, end] of ends.entries())
      if (end.kind === 'refused')
        ends[i] = {
          kind: 'retry',
          cause: 'backend',
          reason: `refused with ${end.status} like many others`,
          counts: false,
        };
  }

  /** A request that cannot be at fault; its answer serves all who ask within ten seconds. */
  #canaryIsServed(lane: Lane, deadline: EpochMs): Promise<boolean> {
    const now = this.#options.clock.now();
    if (lane.canary === undefined || now - lane.canary.at >= canaryHoldsMs) {
      const isServed = this.#call(lane, canaryBody(lane.endpoint), deadline).then(
        (reply) => reply !== 'deadline' && sortFault(reply) === 'good',
      );
      lane.canary = { at: now, isServed };
    }
    return lane.canary.isServed;
  }

  #row(lane: Lane, line: LineRequest, end: End): ResultRow {
    if (end.kind === 'retry') return retry(line, end.cause, end.reason, end.counts);
    const { backend } = lane.route;
    const { site, cloud } = this.#options;
    return {
      outcome: 'answered',
      line: line.line,
      customId: line.customId,
      status: end.status,
      requestId: end.requestId,
      body: end.body,
      servedBy: { site, ...(cloud && { cloud }), backend: backend.name, model: end.model },
      usage: usageOf(end.body),
    };
  }
}

function retry(
  line: LineRequest,
  cause: Extract<ResultRow, { outcome: 'retry' }>['cause'],
  reason: string,
  counts: boolean,
): ResultRow {
  return { outcome: 'retry', line: line.line, customId: line.customId, cause, reason, counts };
}

function describe(reply: BackendReply): string {
  if (reply.kind === 'timeout') return 'no answer in time';
  if (reply.kind === 'unreachable') return `unreachable: ${reply.detail}`;
  return reply.kind === 'malformed' ? `status ${reply.status}: ${reply.detail}` : `status ${reply.status}`;
}

function canaryBody(endpoint: Endpoint): JsonObject {
  if (endpoint === '/v1/embeddings') return { input: 'canary' };
  if (endpoint === '/v1/responses') return { input: 'Say yes.', max_output_tokens: 16 };
  return { messages: [{ role: 'user', content: 'Say yes.' }], max_tokens: 1 };
}
