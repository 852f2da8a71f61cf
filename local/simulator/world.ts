import { Buffer } from 'node:buffer';
import { duplicateDetectionMs } from '../../functions-azure/adapters/messages.ts';
import { createBatchingCore } from '../../shared/batching/engine.ts';
import { controlView, initControl } from '../../shared/control/log.ts';
import type { Core } from '../../shared/core.ts';
import { breakerBoard } from '../../shared/health/breakers.ts';
import type { Endpoint, Publication } from '../../shared/journal/facts.ts';
import { canonicalJson } from '../../shared/journal/json.ts';
import type { Log, LogFields } from '../../shared/ports/log.ts';
import type { Site, SiteId, Stores } from '../../shared/ports/site.ts';
import type { Settings } from '../../shared/settings.ts';
import type { EpochMs } from '../../shared/units.ts';
import { faultyQueue, faultyStore } from '../in-memory/faulty.ts';
import { type MachineTime, Process } from './engine/process.ts';
import { type Stream, Streams } from './engine/random.ts';
import { Scheduler } from './engine/scheduler.ts';
import { Trace } from './engine/trace.ts';
import { type Knobs, settingsOf } from './knobs.ts';
import { SimulationRecord } from './record.ts';
import { Board } from './services/board.ts';
import { SimulatedModels } from './services/model.ts';
import { Credits, SimulatedQueue } from './services/queue.ts';
import { SimulatedStore } from './services/store.ts';
import { type Network, Wire } from './services/wire.ts';
import type { Variant } from './variant.ts';

export type Cloud = 'aws' | 'azure';
export const clouds: readonly Cloud[] = ['aws', 'azure'];

/** A process with what it was given. */
export interface Running {
  process: Process;
  core: Core;
  /** What it does, for whoever counts: `worker`, `app`, `monitor`, `api`, `observer`, `laptop`. */
  kind: string;
}

export const startOfTime: EpochMs = Date.UTC(2026, 0, 1);
/** A message that is in work is leased so long unless the worker says otherwise. @source serverless.yml, VisibilityTimeout */
const leaseMs: Record<Cloud, number> = { aws: 240_000, azure: 60_000 };

/** What batches of drills ask for, and nobody else: where it is counted, a drill is (F49). */
export const drillModel = 'drilled';
/** Aliases that a deployment in the simulator knows. */
const served: Record<string, readonly SiteId[]> = {
  m: ['aws', 'azure'],
  e: ['aws', 'azure'],
  'only-aws': ['aws'],
  [drillModel]: ['aws', 'azure'],
};

/**
 * Both clouds, the witness, and whoever talks to them, under one seed: services that keep and break exactly the promises
 * of the real ones, and processes that run the real core on them.
 */
export class World {
  readonly seed: string;
  readonly knobs: Knobs;
  readonly settings: Settings;
  readonly streams: Streams;
  readonly scheduler = new Scheduler(startOfTime);
  readonly trace: Trace;
  readonly record: SimulationRecord;
  readonly board: Board;
  readonly network: Network;
  readonly stores: Record<Cloud | 'witness', { journal: SimulatedStore; state: SimulatedStore }>;
  readonly queues: Record<Cloud, { intake: SimulatedQueue; work: SimulatedQueue }>;
  readonly models: Record<Cloud, SimulatedModels>;
  readonly credits: Credits;
  readonly time: Record<string, MachineTime>;
  readonly variant: Variant;
  /** Those that live. */
  readonly running = new Set<Running>();
  /** Processes that ever started. */
  started = 0;
  #names = 0;

  constructor(options: { seed: string; knobs: Knobs; variant?: Variant; keepTrace?: number }) {
    const { seed, knobs } = options;
    this.seed = seed;
    this.knobs = knobs;
    this.settings = settingsOf(knobs);
    this.variant = options.variant ?? {};
    this.streams = new Streams(seed);
    this.trace = new Trace(startOfTime, options.keepTrace);
    this.record = new SimulationRecord(() => this.scheduler.now);
    this.board = new Board(this.streams.of('board'));
    const { scheduler, board, trace } = this;
    this.network = { scheduler, board, trace, onCall: undefined, calls: 0, lostWrites: 0 };
    const pair = (site: string) => ({
      journal: new SimulatedStore(site, 'journal', this.record),
      state: new SimulatedStore(site, 'state', this.record),
    });
    this.stores = { aws: pair('aws'), azure: pair('azure'), witness: pair('witness') };
    this.credits = new Credits(scheduler, 1_000);
    const queue = (site: Cloud, part: string) =>
      new SimulatedQueue(`${site}/${part}`, scheduler, this.streams.of(`queue ${site}/${part}`), leaseMs[site], {
        duplicates: knobs.duplicates,
        takesOldReceipts: site === 'aws',
        tellsInFlight: site === 'aws',
        lostLeases: site === 'azure' ? knobs.lostLeases : 0,
        inFlightMax: 120_000,
        depthLagMs: knobs.depthLagMs,
        duplicateDetectionMs: site === 'azure' ? duplicateDetectionMs : 0,
        credits: site === 'azure' ? this.credits : undefined,
      });
    this.queues = {
      aws: { intake: queue('aws', 'intake'), work: queue('aws', 'work') },
      azure: { intake: queue('azure', 'intake'), work: queue('azure', 'work') },
    };
    for (const { intake, work } of Object.values(this.queues))
      for (const one of [intake, work]) one.onCompleted = (body) => this.record.completed(one.name, body);
    const model = (site: Cloud) =>
      new SimulatedModels(site, this.network, this.streams.of(`models ${site}`), {
        p50Ms: knobs.modelP50Ms,
        p99Ms: 4 * knobs.modelP50Ms,
        concurrencyMax: knobs.modelConcurrency,
        malformed: knobs.malformed,
      });
    this.models = { aws: model('aws'), azure: model('azure') };
    const { skewMs } = knobs;
    this.time = {
      aws: { offsetMs: skewMs.aws },
      azure: { offsetMs: skewMs.azure },
      outside: { offsetMs: skewMs.outside },
    };
  }

  get now(): EpochMs {
    return this.scheduler.now;
  }

  /** Writes the first entry of the control log. Nothing is wrong yet. */
  async init(): Promise<void> {
    const { core, process } = this.spawn('laptop', 'outside', 'aws');
    let isDone = false;
    const site = (cloud: Cloud) => ({ cloud, region: 'simulated' });
    const init = initControl(core, {
      sites: { aws: site('aws'), azure: site('azure') },
      voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
      actor: 'operator:init',
      reason: 'first entry',
    }).finally(() => {
      isDone = true;
    });
    await this.scheduler.run(this.now + 3_600_000, () => isDone);
    await init;
    process.kill();
  }

  /**
   * A process that has just started and remembers nothing.
   * @param place where it stands: a cloud, or `outside`
   * @param self the site it works for
   */
  spawn(kind: string, place: string, self: Cloud = place as Cloud): Running {
    this.started += 1;
    const name = `${place}-${kind}-${++this.#names}`;
    const stream = this.streams.of(`process ${name}`);
    const process = new Process(this.scheduler, name, place, stream, this.time[place] ?? this.time.outside!);
    const built = this.#coreOf(process, self, stream);
    const running = { process, core: this.variant.core?.(built, running_(process, kind)) ?? built, kind };
    this.running.add(running);
    process.onDeath(() => this.running.delete(running));
    return running;
  }

  #coreOf(process: Process, self: Cloud, stream: Stream): Core {
    const wires = this.streams.of(`wires ${process.name}`);
    const store = (of: SimulatedStore) =>
      faultyStore(of, new Wire(this.network, process, of.site, wires, (key) => of.peek(key)?.byteLength ?? 0));
    const stores = (id: Cloud | 'witness'): Stores => ({
      id,
      journal: store(this.stores[id].journal),
      state: store(this.stores[id].state),
    });
    const site = (id: Cloud): Site => {
      const queue = (of: SimulatedQueue) => faultyQueue(of, new Wire(this.network, process, id, wires, () => 0));
      return {
        ...stores(id),
        id,
        cloud: id,
        intake: queue(this.queues[id].intake),
        work: queue(this.queues[id].work),
      };
    };
    const log = this.#logOf(process);
    const base = {
      self,
      sites: new Map(clouds.map((id) => [id, site(id)])),
      witness: stores('witness'),
      witnessKey: Buffer.alloc(32, 7),
      clock: process.clock,
      random: stream.next,
      ids: stream.ids,
      log,
      settings: this.settings,
      models: { sitesFor: (alias: string) => served[alias] ?? [] },
    };
    const backends = new Map<string, ReturnType<SimulatedModels['backendFor']>>();
    const route = (alias: string, _endpoint: Endpoint) => {
      if (!(served[alias] ?? []).includes(self)) return undefined;
      const backend = backends.get(alias) ?? this.models[self].backendFor(process, alias);
      backends.set(alias, backend);
      return { backend, model: alias };
    };
    const { clock, random, ids } = base;
    return {
      ...base,
      control: controlView(base),
      batching: createBatchingCore({ site: self, route, clock, random, ids, log, breakers: breakerBoard(base) }),
      callbacks: { batchEnded: (publication) => this.#callBack(process, publication) },
    };
  }

  /** The tenant's own server: it may be slow, and its answer may be lost. */
  #callBack(process: Process, publication: Publication): Promise<boolean> {
    const body = canonicalJson(publication as never);
    const draw = this.streams.of(`callback ${process.name} ${this.now}`);
    return new Promise((resolve) => {
      this.scheduler.after(60, () => {
        const known = this.record.callbacks.get(publication.batch) ?? new Set<string>();
        this.record.callbacks.set(publication.batch, known.add(body));
        const isLost = draw.chance(0.05);
        this.scheduler.after(isLost ? 10_000 : 60, () => process.deliver(() => resolve(!isLost)));
      });
    });
  }

  #logOf(process: Process): Log {
    const say = (level: string) => (event: string, fields?: LogFields) => {
      this.trace.write(this.now, `${process.name} ${level} ${event}`);
      this.variant.onLog?.(event, fields ?? {}, process);
      this.onLog?.(event, fields ?? {}, process);
    };
    return { debug: say('debug'), info: say('info'), warn: say('warn'), error: say('error') };
  }

  /** Told of everything that processes say. */
  onLog: ((event: string, fields: LogFields, process: Process) => void) | undefined;
}

const running_ = (process: Process, kind: string) => ({ process, kind });
