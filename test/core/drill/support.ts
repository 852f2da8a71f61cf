import { controlView, initControl, learnControl } from '../../../shared/control/log.ts';
import type { Core } from '../../../shared/core.ts';
import type { DrillEntry } from '../../../shared/drill/facts.ts';
import { type Drill, type DrillSource, drillSchema, type FaultArguments } from '../../../shared/drill/file.ts';
import type { DrillReport } from '../../../shared/drill/report.ts';
import type { DrillDeps, FaultInjector } from '../../../shared/drill/run.ts';
import { type DrillOrder, startDrill } from '../../../shared/drill/start.ts';
import { writeObservation } from '../../../shared/health/observation.ts';
import type { Cause, Health, Observation } from '../../../shared/health/types.ts';
import { runFailback } from '../../../shared/redrive/failback.ts';
import { World } from '../../support/world.ts';

export type Cloud = 'aws' | 'azure';

/** A shadow drill, as a person writes it; `more` stands under `holdfast`. */
export function shadowSource(more: Partial<DrillSource['holdfast']> = {}): DrillSource {
  return {
    title: 'Shadow of a takeover',
    'steady-state-hypothesis': {
      title: 'both clouds are well',
      probes: [
        { type: 'probe', name: 'healthy sites', tolerance: 2, provider: { type: 'holdfast', func: 'sites-healthy' } },
      ],
    },
    method: [
      action('submit to aws', { func: 'submit', arguments: { batches: 2, lines: 12, home: 'aws', held: true } }),
      action('take over', { func: 'failover', arguments: { from: 'aws', to: 'azure' } }),
      {
        type: 'probe',
        name: 'all ended',
        tolerance: true,
        within: '2m',
        provider: { type: 'holdfast', func: 'batches-ended' },
      },
    ],
    holdfast: { kind: 'shadow', 'blast-radius': { scope: 'canaries' }, objectives: { rto: '60s' }, ...more },
  };
}

/** An outage of all of AWS; `more` stands under `holdfast`. */
export function outageSource(more: Partial<DrillSource['holdfast']> = {}): DrillSource {
  return {
    ...shadowSource(),
    title: 'AWS goes dark',
    method: [
      action('submit to aws', { func: 'submit', arguments: { lines: 12, home: 'aws', held: true } }),
      action('dark', { func: 'fault', arguments: { target: 'aws', kind: 'refuse', ttl: '60s' } }),
      {
        type: 'probe',
        name: 'fenced',
        tolerance: 'fenced',
        within: '2m',
        provider: { type: 'holdfast', func: 'state', arguments: { site: 'aws' } },
      },
    ],
    holdfast: { kind: 'outage', site: 'aws', 'blast-radius': { scope: 'all' }, ...more },
  };
}

export function action(name: string, provider: object): DrillSource['method'][number] {
  return { type: 'action', name, provider: { type: 'holdfast', ...provider } } as DrillSource['method'][number];
}

export const drill = (source: DrillSource): Drill => drillSchema.parse(source);

/** Both clouds in memory with a real control log, real workers and sweepers, and observers that say what a test wants. */
export class DrillWorld {
  readonly world = new World({ settings: { tickMs: 2_000, controlCacheMs: 0, health: 'fast' } });
  readonly cores: Record<Cloud, Core>;
  says: Record<Cloud, [Health, Cause[]]> = { aws: ['healthy', []], azure: ['healthy', []] };
  /** Sites whose workers and monitors do not run. */
  dead = new Set<Cloud>();
  since = 0;
  /** Faults that hold, by id: until when. */
  readonly faults = new Map<string, { fault: FaultArguments; until: number }>();
  readonly #etags = new Map<string, Map<string, string>>();

  private constructor() {
    const core = (self: Cloud): Core => {
      const base = this.world.core(self);
      return { ...base, control: controlView(base) };
    };
    this.cores = { aws: core('aws'), azure: core('azure') };
    this.since = this.world.clock.now();
  }

  static async start(): Promise<DrillWorld> {
    const made = new DrillWorld();
    await initControl(made.cores.aws, {
      sites: { aws: { cloud: 'aws', region: 'local' }, azure: { cloud: 'azure', region: 'local' } },
      voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
      actor: 'test',
      reason: 'first entry',
    });
    // Observed for longer than any hold-down.
    await made.world.clock.advance(600_000);
    await made.observe();
    return made;
  }

  get now(): number {
    return this.world.clock.now();
  }

  deps(runner: string, more: Partial<DrillDeps> = {}): DrillDeps {
    return { runner, job: { endpoint: '/v1/chat/completions', model: 'm' }, ...more };
  }

  /** Injects nothing, and remembers what holds. */
  injector(): FaultInjector {
    return {
      refuse: () => undefined,
      inject: async (fault) => {
        const id = `fault-${this.faults.size + 1}`;
        this.faults.set(id, { fault, until: this.now + fault.ttl });
        return id;
      },
      clear: async (id) => void this.faults.delete(id),
    };
  }

  activeFaults(): number {
    return [...this.faults.values()].filter(({ until }) => until > this.now).length;
  }

  order(source: DrillSource, id = 'drill-1'): DrillOrder {
    return { id, drill: drill(source), file: source, actor: 'operator:test', reason: 'to see', slot: null };
  }

  /** What three observers say now, in every store that takes it. */
  async observe(): Promise<void> {
    const { now } = this;
    for (const observer of ['aws', 'azure', 'third']) {
      if (this.dead.has(observer as Cloud)) continue;
      const observation: Observation = {
        v: 1,
        kind: 'observation',
        observer,
        home: observer === 'third' ? null : observer,
        at: now,
        trustsItself: true,
        verdicts: (['aws', 'azure'] as const).map((site) => {
          const [health, causes] = this.says[site];
          return { site, health, causes, models: [], since: this.since, at: now, evidence: [], flaps: 0, holdUntil: 0 };
        }),
        backlog: [],
      };
      const etags = this.#etags.get(observer) ?? new Map();
      this.#etags.set(observer, etags);
      await writeObservation(this.cores.azure, observation, etags);
    }
  }

  /** One tick of everything that runs by itself: observers, workers, sweepers, the return of sites. */
  async tick(): Promise<void> {
    await this.observe();
    this.world.control = await learnControl(this.cores.azure).catch(() => this.world.control);
    for (const site of ['aws', 'azure'] as const) {
      if (this.dead.has(site)) continue;
      for (const queue of ['intake', 'work'] as const) await this.world.serve(site, queue).catch(() => []);
      await this.world.sweepAll([site]).catch(() => []);
      const { readObservations } = await import('../../../shared/health/observation.ts');
      await runFailback(this.cores[site], await readObservations(this.cores[site])).catch(() => {});
    }
  }

  /** Waits for a task, ticking and moving the clock meanwhile. */
  async until<T>(task: Promise<T>, each: () => void | Promise<void> = () => {}, rounds = 2_000): Promise<T> {
    let isOver = false;
    const watched = task.finally(() => {
      isOver = true;
    });
    watched.catch(() => {});
    for (let round = 0; round < rounds && !isOver; round++) {
      for (let i = 0; i < 30 && !isOver; i++) await new Promise((resolve) => setImmediate(resolve));
      if (isOver) break;
      await this.tick();
      await each();
      await this.world.clock.advance(1_000);
    }
    if (!isOver) throw new Error('not over');
    return watched;
  }

  /** Starts and runs a drill to its end. */
  async run(
    source: DrillSource,
    {
      deps,
      each,
      id,
    }: { deps?: Partial<DrillDeps>; each?: (entries: DrillEntry[]) => void | Promise<void>; id?: string } = {},
  ): Promise<DrillReport> {
    const entries: DrillEntry[] = [];
    const all = { ...deps, onEntry: (entry: DrillEntry) => void entries.push(entry) };
    const task = (async () => {
      const started = await startDrill(this.cores.azure, this.deps('runner-1', all), this.order(source, id));
      if (started.status !== 'started') throw new Error(JSON.stringify(started));
      return started.run.run();
    })();
    const end = await this.until(task, () => each?.(entries));
    if (end.status !== 'ended') throw new Error(end.status);
    return end.report;
  }
}
