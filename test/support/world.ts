import { createHash } from 'node:crypto';
import { ManualClock } from '../../local/in-memory/clock.ts';
import { Faults } from '../../local/in-memory/faults.ts';
import { faultyQueue, faultyStore } from '../../local/in-memory/faulty.ts';
import { InMemoryObjectStore, type StoreOp } from '../../local/in-memory/object-store.ts';
import { InMemoryQueue, type QueueOp } from '../../local/in-memory/queue.ts';
import type { BatchingJob, LineRequest } from '../../shared/batching/core.ts';
import type { Core } from '../../shared/core.ts';
import {
  type Acceptance,
  type ControlEntry,
  type Endpoint,
  type FileMeta,
  factBytes,
  factVersion,
  type Manifest,
  noUsage,
  type Publication,
  type ResultRow,
} from '../../shared/journal/facts.ts';
import { sha256 } from '../../shared/journal/json.ts';
import {
  acceptanceKey,
  fileContentKey,
  fileMetaKey,
  manifestKey,
  newFileId,
  openKey,
  publicationKey,
} from '../../shared/journal/keys.ts';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import { silentLog } from '../../shared/ports/log.ts';
import type { LeasedMessage, Queue } from '../../shared/ports/queue.ts';
import type { Site, SiteId, Stores } from '../../shared/ports/site.ts';
import { defaultSettings, type Settings } from '../../shared/settings.ts';
import { type SweepReport, sweep, work } from '../../shared/worker/index.ts';

/** Deterministic [0, 1): mulberry32. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A model's answer to one line, in the name of the site that asked. */
export type Answer = (line: LineRequest, site: SiteId, job: BatchingJob) => ResultRow | Promise<ResultRow>;

interface MemorySite {
  site: Site;
  journal: InMemoryObjectStore;
  state: InMemoryObjectStore;
  intake: InMemoryQueue;
  work: InMemoryQueue;
  /** Faults on the way to the stores, whoever asks. */
  faults: Faults<StoreOp>;
  queueFaults: Faults<QueueOp>;
}

/**
 * Both clouds and the witness in memory, with one clock that a test moves: the real worker, planner, publisher and
 * sweeper over stores and queues that can be made to fail.
 */
export class World {
  readonly clock = new ManualClock();
  readonly random: () => number;
  readonly aws: MemorySite;
  readonly azure: MemorySite;
  readonly witness: {
    stores: Stores;
    journal: InMemoryObjectStore;
    state: InMemoryObjectStore;
    faults: Faults<StoreOp>;
  };
  readonly settings: Settings;
  control: ControlEntry;
  /** How often each line was given to a model. */
  readonly asked = new Map<string, number>();
  readonly called: Publication[] = [];
  answer: Answer = answered;
  models: Core['models'] = { sitesFor: (alias) => (alias === 'unknown' ? [] : ['aws', 'azure']) };
  #draws = 0;
  readonly #seed: number;
  readonly #cores = new Map<SiteId, Core>();

  constructor(options: { seed?: number; settings?: Partial<Settings> } = {}) {
    this.#seed = options.seed ?? 1;
    this.random = seeded(this.#seed);
    const text = { linesMax: 5, tokensMax: 100_000, bytesMax: 1_000_000 };
    const chunks = { text, embeddings: { ...text, linesMax: 20 } };
    this.settings = { ...defaultSettings, failover: 'automatic', chunks, ...options.settings };
    this.aws = this.#site('aws');
    this.azure = this.#site('azure');
    const faults = new Faults<StoreOp>(this.clock, this.random);
    const [journal, state] = [new InMemoryObjectStore('witness/journal'), new InMemoryObjectStore('witness/state')];
    const stores = { id: 'witness', journal: faultyStore(journal, faults), state: faultyStore(state, faults) } as const;
    this.witness = { stores, journal, state, faults };
    this.control = firstEntry(this.clock.now());
  }

  #site(id: 'aws' | 'azure'): MemorySite {
    const { clock } = this;
    const faults = new Faults<StoreOp>(clock, this.random);
    const queueFaults = new Faults<QueueOp>(clock, this.random);
    const [journal, state] = [new InMemoryObjectStore(`${id}/journal`), new InMemoryObjectStore(`${id}/state`)];
    const intake = new InMemoryQueue({ name: `${id}/intake`, clock, leaseMs: this.settings.leaseMs });
    const work = new InMemoryQueue({ name: `${id}/work`, clock, leaseMs: this.settings.leaseMs });
    const site: Site = {
      id,
      cloud: id,
      journal: faultyStore(journal, faults),
      state: faultyStore(state, faults),
      intake: faultyQueue(intake, queueFaults),
      work: faultyQueue(work, queueFaults),
    };
    return { site, journal, state, intake, work, faults, queueFaults };
  }

  /** The bag of one site's processes; the same object each time, as in one warm process. */
  core(self: SiteId): Core {
    const known = this.#cores.get(self);
    if (known !== undefined) return known;
    const core = this.newProcess(self);
    this.#cores.set(self, core);
    return core;
  }

  /** The bag of a process of `self` that has just started: it remembers nothing. */
  newProcess(self: SiteId): Core {
    return {
      self,
      sites: new Map([
        ['aws', this.aws.site],
        ['azure', this.azure.site],
      ]),
      witness: this.witness.stores,
      witnessKey: new Uint8Array(32).fill(7),
      clock: this.clock,
      random: this.random,
      ids: { uuid: () => this.uuid() },
      log: silentLog,
      settings: this.settings,
      control: { current: async () => this.control },
      models: {
        sitesFor: (alias, endpoint) => this.models.sitesFor(alias, endpoint),
        aliases: () => this.models.aliases?.() ?? [],
        entryOf: (alias) => this.models.entryOf?.(alias),
      },
      batching: { run: (job) => this.#run(self, job) },
      callbacks: {
        batchEnded: async (publication) => {
          this.called.push(publication);
          return true;
        },
      },
    };
  }

  uuid(): string {
    return createHash('sha256')
      .update(`${this.#seed}:${this.#draws++}`)
      .digest('hex')
      .slice(0, 32);
  }

  async #run(site: SiteId, job: BatchingJob): Promise<ResultRow[]> {
    return Promise.all(
      job.lines.map(async (line) => {
        this.asked.set(line.customId, (this.asked.get(line.customId) ?? 0) + 1);
        return this.answer(line, site, job);
      }),
    );
  }

  /** Accepts a batch as intake would, in both stores, and sends its plan pointer to `home`. */
  async accept(options: AcceptOptions = {}): Promise<{ tenant: string; batch: string }> {
    const { home = 'aws', tenant = 'acme', endpoint = '/v1/chat/completions', stores = ['aws', 'azure'] } = options;
    const input = options.input ?? Buffer.from(inputLines(options.lines ?? 12, endpoint));
    const at = this.clock.now();
    const fileId = newFileId(at, this.uuid());
    const batch = `batch_${this.uuid()}`;
    const hash = sha256(input);
    const contentKey = fileContentKey(tenant, fileId);
    const common = { v: factVersion, tenant } as const;
    const boundTo = options.boundTo ?? null;
    const meta: FileMeta = {
      ...common,
      kind: 'file',
      id: fileId,
      contentKey,
      bytes: input.length,
      sha256: hash,
      filename: 'input.jsonl',
      purpose: 'batch',
      createdAt: at,
      expiresAt: null,
      boundTo,
    };
    const manifest: Manifest = {
      ...common,
      kind: 'manifest',
      batch,
      endpoint,
      inputSha256: hash,
      inputBytes: input.length,
      windowMs: options.windowMs ?? 24 * 3_600_000,
      metadata: null,
      outputExpiresAfterMs: null,
      boundTo,
    };
    const doors: SiteId[] = options.isTwice ? [home, home === 'aws' ? 'azure' : 'aws'] : [home];
    const receipt = stores.length > 1 ? 'dual' : 'single';
    const acceptances = doors.map((door): Acceptance => {
      const id = { epoch: this.control.epoch, site: door, uuid: this.uuid() };
      return { ...common, kind: 'acceptance', batch, at, ...id, home, fileId, receipt, keyId: 'k' };
    });
    for (const site of stores.map((name) => this[name])) {
      await site.state.putIfAbsent(openKey(tenant, batch), new Uint8Array([1]));
      if (boundTo === null || boundTo === site.site.id) await site.journal.putIfAbsent(contentKey, input);
      await site.journal.putIfAbsent(fileMetaKey(tenant, fileId), factBytes(meta));
      await site.journal.putIfAbsent(manifestKey(tenant, batch), factBytes(manifest));
      for (const one of acceptances) await site.journal.putIfAbsent(acceptanceKey(tenant, batch, one), factBytes(one));
    }
    if (options.tellIntake !== false) {
      const pointer = { v: factVersion, kind: 'plan', tenant, batch, epoch: this.control.epoch };
      for (const door of doors)
        await this.#sites(door).intake.send([{ id: this.uuid(), body: JSON.stringify(pointer) }]);
    }
    return { tenant, batch };
  }

  /** Takes up to `max` messages off one queue and works them; gives how each was settled. */
  async serve(site: SiteId, queue: 'intake' | 'work', max = 10): Promise<Settlement['kind'][]> {
    const target = this.#sites(site)[queue];
    const messages = await target.receive({ max });
    const settled: Settlement['kind'][] = [];
    await this.settled(
      work(
        this.core(site),
        messages.map((message) => deliveryOf(target, message, settled)),
        { queue },
      ),
    );
    return settled;
  }

  /** Serves both queues of the given sites until nothing is visible any more, at most `roundsMax` times. */
  async serveAll(sites: readonly SiteId[] = ['aws', 'azure'], roundsMax = 200): Promise<void> {
    for (let round = 0; round < roundsMax; round++) {
      let worked = 0;
      for (const site of sites)
        for (const queue of ['intake', 'work'] as const) worked += (await this.serve(site, queue)).length;
      if (worked === 0) return;
    }
  }

  /** One sweeper pass of each site, then whatever it set going. */
  async sweepAll(sites: readonly SiteId[] = ['aws', 'azure']): Promise<SweepReport[]> {
    const reports: SweepReport[] = [];
    for (const site of sites) reports.push(await this.settled(sweep(this.core(site))));
    return reports;
  }

  /** Sweeps, serves and moves time, tick by tick, until `ms` have passed or `until` holds. */
  async run(
    ms: number,
    until: () => boolean = () => false,
    sites: readonly SiteId[] = ['aws', 'azure'],
  ): Promise<void> {
    for (let passed = 0; passed < ms && !until(); passed += this.settings.tickMs) {
      await this.serveAll(sites);
      await this.sweepAll(sites);
      await this.serveAll(sites);
      await this.clock.advance(this.settings.tickMs);
    }
  }

  /** Waits for a task that may itself sleep on the world's clock (back-off, deadlines), moving the clock as needed. */
  async settled<T>(task: Promise<T>): Promise<T> {
    let isOver = false;
    const watched = task.finally(() => {
      isOver = true;
    });
    watched.catch(() => {});
    for (let turn = 0; !isOver && turn < 10_000; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
      if (!isOver && turn % 20 === 19) await this.clock.advance(100);
    }
    return watched;
  }

  #sites(site: SiteId): MemorySite {
    return site === 'aws' ? this.aws : this.azure;
  }

  async publication(
    site: SiteId,
    { tenant, batch }: { tenant: string; batch: string },
  ): Promise<Publication | undefined> {
    const found = await this.#sites(site).journal.get(publicationKey(tenant, batch));
    return found === undefined ? undefined : JSON.parse(Buffer.from(found.bytes).toString('utf8'));
  }
}

export interface AcceptOptions {
  home?: 'aws' | 'azure';
  tenant?: string;
  endpoint?: Endpoint;
  /** Lines of a generated input; default 12. */
  lines?: number;
  input?: Buffer;
  windowMs?: number;
  boundTo?: SiteId;
  stores?: ('aws' | 'azure')[];
  tellIntake?: boolean;
  /** The door of the other site accepts it at the same moment, too. */
  isTwice?: boolean;
}

/** A valid input file with ids `line-0`, `line-1`, … */
export function inputLines(lines: number, endpoint: Endpoint = '/v1/chat/completions', model = 'm'): string {
  const content =
    endpoint === '/v1/chat/completions' ? { messages: [{ role: 'user', content: 'hello' }] } : { input: 'hello' };
  return Array.from(
    { length: lines },
    (_, i) =>
      `${JSON.stringify({ custom_id: `line-${i}`, method: 'POST', url: endpoint, body: { model, ...content } })}\n`,
  ).join('');
}

/** The default model: answers every line with 200, and never twice alike. */
export function answered(line: LineRequest, site: SiteId): ResultRow {
  answers += 1;
  return {
    outcome: 'answered',
    line: line.line,
    customId: line.customId,
    status: 200,
    requestId: `req_${answers}`,
    body: { object: 'chat.completion', answer: `${line.customId} by ${site}, sample ${answers}` },
    servedBy: { site, cloud: site as 'aws' | 'azure', backend: 'fake', model: 'm-1' },
    usage: { ...noUsage, inputTokens: 3, outputTokens: 2 },
  };
}
let answers = 0;

/** A row that sends its line round again. */
export function retried(line: LineRequest, cause: 'backend' | 'site' | 'line' | 'deadline', counts = false): ResultRow {
  return { outcome: 'retry', line: line.line, customId: line.customId, cause, reason: 'test', counts };
}

/** A delivery as a trigger would make it, over any queue. */
export function deliveryOf(queue: Queue, message: LeasedMessage, settled: Settlement['kind'][] = []): Delivery {
  return {
    body: message.body,
    deliveryCount: message.deliveryCount,
    extend: (leaseMs) => queue.extend(message, leaseMs).catch(() => false),
    settle: async (settlement) => {
      settled.push(settlement.kind);
      if (settlement.kind === 'complete') await queue.complete(message);
      else if (settlement.kind === 'giveBack') await queue.giveBack(message, settlement.delayMs);
      else await queue.deadLetter(message, settlement.reason, settlement.description);
    },
  };
}

/** Entry 1 of the control log: both sites active, three voters. */
export function firstEntry(at: number): ControlEntry {
  const site = (cloud: 'aws' | 'azure') =>
    ({ cloud, region: 'local', generation: 1, state: 'active', weight: 50, fencedEpoch: 0 }) as const;
  return {
    v: factVersion,
    kind: 'control',
    epoch: 1,
    previous: null,
    at,
    actor: 'test',
    reason: 'first entry',
    operation: '',
    evidence: [],
    forced: [],
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    frozen: false,
    moves: [],
  };
}
