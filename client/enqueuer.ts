import { Coalescer } from '../shared/batching/coalescer.ts';
import { CostModel } from '../shared/batching/cost-model.ts';
import type { Endpoint } from '../shared/journal/facts.ts';
import type { Clock } from '../shared/ports/clock.ts';
import { parseRequestLine } from '../shared/worker/input.ts';
import { machineClock } from './clock.ts';
import { EnqueueError } from './enqueue-error.ts';
import { HoldfastApiError, UnreachableError } from './errors.ts';
import type { HoldfastClient } from './index.ts';
import type { BatchObject } from './types.ts';

/** One request to a model. */
export interface Job {
  /** As the endpoint takes it, `model` included. */
  body: Record<string, unknown>;
  /** Default: `/v1/chat/completions`. */
  endpoint?: Endpoint;
  /** Name of its result. Default: a random one. Unique within a batch: two jobs of one name go in two batches. */
  customId?: string;
  /** How long until it must be durable, ms: where there is time, it waits for others. Default: `lingerMs` is all. */
  withinMs?: number;
}

/** A job that will be done. */
export interface Enqueued {
  batch: string;
  customId: string;
  /**
   * `dual`: in both clouds. `single`: in one, since the other is failed over or does not answer and the deployment takes
   * work all the same (`intake: available`); it is copied as soon as the other is back. `single-by-policy`: bound to one.
   */
  receipt: BatchObject['holdfast']['receipt'];
}

export interface EnqueuerOptions {
  /** Jobs of one batch, 1 to 50,000. Default 500. */
  linesMax?: number;
  /** Bytes of one batch. Default 4,000,000: what one request to either cloud carries. */
  bytesMax?: number;
  /** Longest wait of a job for others to share its batch. Default 1,000 ms. */
  lingerMs?: number;
  /** Batches that are sent at once. Default 4. */
  batchesAtOnce?: number;
  /** Jobs that may wait or be under way; beyond it `enqueue` refuses. Default 20,000. */
  pendingMax?: number;
  /** How long a batch is sent again while no cloud takes it. Default 300,000 ms. */
  retryForMs?: number;
  /** Metadata of each batch. */
  metadata?: Record<string, string>;
  clock?: Clock;
}

interface Waiting {
  line: string;
  customId: string;
  items: number;
  weight: number;
  deadline: number;
  resolve(enqueued: Enqueued): void;
  reject(error: EnqueueError): void;
}

const pauseMs = { first: 500, max: 15_000 } as const;

/**
 * Takes jobs one by one and sends them as batches, so that producers of single jobs pay what batches cost. `enqueue`
 * resolves when the batch of the job is accepted: durable in both clouds, or as its receipt says. A batch is sent again
 * under the same idempotency key until a cloud takes it, so that a lost answer does not make two.
 */
export class Enqueuer {
  readonly #client: HoldfastClient;
  readonly #options: Required<EnqueuerOptions>;
  /** By endpoint and model, since a batch has one of each. */
  readonly #groups = new Map<string, { coalescer: Coalescer<Waiting>; names: Set<string> }>();
  /** Batches that wait for a place. */
  readonly #queue: (() => Promise<void>)[] = [];
  readonly #cost = new CostModel({ baseMs: 1_000, perItemMs: 1 });
  #running = 0;
  #pending = 0;
  #isClosed = false;
  #waiters: { isMet(): boolean; go(): void }[] = [];

  constructor(client: HoldfastClient, options: EnqueuerOptions = {}) {
    this.#client = client;
    this.#options = {
      linesMax: 500,
      bytesMax: 4_000_000,
      lingerMs: 1_000,
      batchesAtOnce: 4,
      pendingMax: 20_000,
      retryForMs: 300_000,
      metadata: {},
      clock: machineClock,
      ...options,
    };
    for (const [name, most] of [
      ['linesMax', 50_000],
      ['bytesMax', 200_000_000],
      ['batchesAtOnce', 100],
      ['pendingMax', 10_000_000],
    ] as const) {
      const value = this.#options[name];
      if (!Number.isInteger(value) || value < 1 || value > most)
        throw new RangeError(`${name}: ${value} must be a whole number from 1 to ${most}`);
    }
  }

  /** Jobs that are not durable yet. */
  get pending(): number {
    return this.#pending;
  }

  /** @throws EnqueueError for this job, whatever becomes of its neighbours */
  async enqueue(job: Job): Promise<Enqueued> {
    const customId = job.customId ?? crypto.randomUUID();
    if (this.#isClosed) throw new EnqueueError('closed', 'the enqueuer is closed', { customId });
    if (this.#pending >= this.#options.pendingMax)
      throw new EnqueueError('full', `${this.#pending} jobs wait already: await ready() before the next`, { customId });
    const { endpoint = '/v1/chat/completions', withinMs = Number.POSITIVE_INFINITY } = job;
    const line = lineOf(job.body, customId, endpoint);
    const group = this.#group(endpoint, String(job.body.model));
    if (group.names.has(customId)) group.coalescer.flush();
    group.names.add(customId);
    this.#pending += 1;
    try {
      return await new Promise<Enqueued>((resolve, reject) => {
        const deadline = this.#options.clock.now() + withinMs;
        const weight = Buffer.byteLength(line);
        group.coalescer.add({ line, customId, items: 1, weight, deadline, resolve, reject });
      });
    } finally {
      this.#pending -= 1;
      this.#wake();
    }
  }

  /** Resolves when there is room for more jobs: at once, or when three quarters of `pendingMax` are left. */
  ready(): Promise<void> {
    if (this.#pending < this.#options.pendingMax) return Promise.resolve();
    const low = Math.floor(0.75 * this.#options.pendingMax);
    return this.#until(() => this.#pending <= low);
  }

  /** Sends what waits, without waiting for more. Resolves when every job up to now has succeeded or failed. */
  async flush(): Promise<void> {
    for (const { coalescer } of this.#groups.values()) coalescer.flush();
    await this.#until(() => this.#pending === 0);
  }

  /** Takes no more jobs, sends what waits, and resolves when all have succeeded or failed. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.flush();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #group(endpoint: Endpoint, model: string) {
    const name = `${endpoint}\n${model}`;
    const known = this.#groups.get(name);
    if (known !== undefined) return known;
    const { clock, linesMax, bytesMax, lingerMs, batchesAtOnce } = this.#options;
    const names = new Set<string>();
    const coalescer = new Coalescer<Waiting>({
      clock,
      itemsMax: linesMax,
      weightMax: bytesMax,
      lingerMs,
      cost: this.#cost,
      mayStart: () => this.#running < batchesAtOnce,
      send: (jobs, why) => {
        const batches = cut(jobs, linesMax, bytesMax);
        const kept = why === 'full' && batches.length > 1 ? batches.pop() : undefined;
        names.clear();
        for (const { customId } of kept ?? []) names.add(customId);
        for (const batch of batches) this.#queue.push(() => this.#submit(batch, endpoint));
        this.#pump();
        return kept;
      },
    });
    const made = { coalescer, names };
    this.#groups.set(name, made);
    return made;
  }

  #pump(): void {
    while (this.#running < this.#options.batchesAtOnce && this.#queue.length > 0) {
      this.#running += 1;
      void this.#queue.shift()!().finally(() => {
        this.#running -= 1;
        this.#pump();
        for (const { coalescer } of this.#groups.values()) coalescer.look();
      });
    }
  }

  /** Sends one batch until it is taken or refused. Never rejects: every job learns how it went. */
  async #submit(jobs: readonly Waiting[], endpoint: Endpoint): Promise<void> {
    const { clock, retryForMs, metadata } = this.#options;
    const idempotencyKey = `enqueuer-${crypto.randomUUID()}`;
    const file = new File([jobs.map(({ line }) => `${line}\n`).join('')], 'enqueued.jsonl');
    const from = clock.now();
    let fileId: string | undefined;
    let mayBeAccepted = false;
    for (let wait: number = pauseMs.first; ; wait = Math.min(2 * wait, pauseMs.max)) {
      try {
        fileId ??= (await this.#client.files.upload(file)).file.id;
        const request = { input_file_id: fileId, endpoint, ...(Object.keys(metadata).length > 0 && { metadata }) };
        mayBeAccepted = true;
        const batch = await this.#client.batches.create(request, { idempotencyKey });
        this.#cost.learn(jobs.length, clock.now() - from);
        for (const { customId, resolve } of jobs)
          resolve({ batch: batch.id, customId, receipt: batch.holdfast.receipt });
        return;
      } catch (cause) {
        const isFinal = cause instanceof HoldfastApiError && cause.status < 500 && cause.status !== 429;
        if (isFinal || clock.now() + wait - from > retryForMs) {
          fail(jobs, cause, isFinal, mayBeAccepted && !isFinal);
          return;
        }
      }
      await clock.sleep(wait);
    }
  }

  #until(isMet: () => boolean): Promise<void> {
    if (isMet()) return Promise.resolve();
    return new Promise((go) => {
      this.#waiters.push({ isMet, go });
    });
  }

  #wake(): void {
    if (this.#waiters.length === 0) return;
    const met = this.#waiters.filter(({ isMet }) => isMet());
    this.#waiters = this.#waiters.filter((waiter) => !met.includes(waiter));
    for (const { go } of met) go();
  }
}

function fail(jobs: readonly Waiting[], cause: unknown, isRefusal: boolean, mayBeAccepted: boolean): void {
  const isAway = cause instanceof UnreachableError;
  const said = String((cause as Error)?.message ?? cause);
  for (const { customId, reject } of jobs) {
    const param = cause instanceof HoldfastApiError ? cause.param : null;
    const message = isRefusal ? `the batch was refused: ${said}` : isAway ? `no cloud took it: ${said}` : said;
    reject(new EnqueueError(isRefusal ? 'refused' : 'unreachable', message, { customId, param, mayBeAccepted, cause }));
  }
}

/** The line of the input file, held to what the planner will hold it to: one bad job must not cost its batch. */
function lineOf(body: Record<string, unknown>, customId: string, endpoint: Endpoint): string {
  let line: string | undefined;
  try {
    line = JSON.stringify({ custom_id: customId, method: 'POST', url: endpoint, body });
  } catch (cause) {
    throw new EnqueueError('invalid', `body is no JSON: ${(cause as Error).message}`, {
      customId,
      param: 'body',
      cause,
    });
  }
  const checked = parseRequestLine(Buffer.from(line), endpoint);
  if ('code' in checked) throw new EnqueueError('invalid', checked.message, { customId, param: checked.param });
  return line;
}

/** In the order given, none over a limit. */
function cut(jobs: readonly Waiting[], linesMax: number, bytesMax: number): Waiting[][] {
  const batches: Waiting[][] = [];
  let bytes = 0;
  for (const job of jobs) {
    const last = batches.at(-1);
    if (last === undefined || last.length >= linesMax || bytes + job.weight + 1 > bytesMax) {
      batches.push([job]);
      bytes = 0;
    } else last.push(job);
    bytes += job.weight + 1;
  }
  return batches;
}
