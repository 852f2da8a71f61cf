import { describe, expect, test } from '@jest/globals';
import { execute } from '../../../shared/control/execute.ts';
import { readPast } from '../../../shared/control/history.ts';
import { initControl } from '../../../shared/control/init.ts';
import { controlView, learnControl } from '../../../shared/control/log.ts';
import { tendSite } from '../../../shared/control/tend.ts';
import type { Core } from '../../../shared/core.ts';
import { SiteUnavailableError, TransientError } from '../../../shared/errors.ts';
import { type MonitorDeps, monitorTick } from '../../../shared/health/monitor.ts';
import { readObservations } from '../../../shared/health/observation.ts';
import { type ObserveMemory, observe, observeMemory } from '../../../shared/health/observe.ts';
import type { Cause } from '../../../shared/health/types.ts';
import { parseResultKey, resultsPrefix } from '../../../shared/journal/keys.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { work } from '../../../shared/worker/index.ts';
import { answered, deliveryOf, retried, World } from '../../support/world.ts';
import { type Cloud, darken, ids, lighten, other, type Placed, published } from './support.ts';

const lines = 400;
const clouds = ['aws', 'azure'] as const;
/** Messages that a site's workers take off its work queue in one tick. */
const workedPerTick = 4;

/**
 * Both clouds under profile `balanced`, in virtual time: their monitors and a third observer look, judge, decide, commit
 * and redrive with nobody's help, while workers get so much done in a tick.
 */
class Takeover {
  readonly world = new World();
  readonly cores: Record<Cloud, Core>;
  readonly #third: Core;
  readonly #thirdMemory: ObserveMemory = observeMemory();
  /** Clouds whose triggers poll; whose monitors run; whose front doors answer. */
  readonly polling = new Set<Cloud>(clouds);
  readonly watching = new Set<Cloud>(clouds);
  readonly open = new Set<Cloud>(clouds);
  /** What the model does where it does not answer. */
  readonly silent = new Map<Cloud, 'throttles' | 'hangs'>();

  readonly #serving: Partial<Record<Cloud, Promise<void>>> = {};

  private constructor() {
    const { world } = this;
    const process = (self: Cloud): Core => {
      const core = world.newProcess(self);
      return { ...core, control: controlView(core) };
    };
    this.cores = { aws: process('aws'), azure: process('azure') };
    this.#third = process('aws');
  }

  /** All is well, for long enough that everybody knows, and a batch is in work at `home`. */
  static async begin(home: Cloud): Promise<{ run: Takeover; placed: Placed }> {
    const run = new Takeover();
    const { world } = run;
    const site = (cloud: Cloud) => ({ cloud, region: 'local' });
    world.answer = (line, by) =>
      run.#askModel(by as Cloud).then(
        () => answered(line, by),
        () => retried(line, 'backend'),
      );
    world.control = await initControl(run.cores.aws, {
      sites: { aws: site('aws'), azure: site('azure') },
      voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
      actor: 'test',
      reason: 'first entry',
    });
    await run.ticks(12);
    const placed = await world.accept({ lines, home });
    while (world.asked.size < lines / 10) await run.ticks(1);
    return { run, placed };
  }

  #deps(observer: string, home: Cloud | null): MonitorDeps {
    return {
      observer,
      home,
      canary: { endpoint: '/v1/chat/completions', model: 'm' },
      fetchHealth: async (site) => {
        if (!this.open.has(site as Cloud)) throw new SiteUnavailableError('refused', 'no door', site);
      },
      probeModel: (site, _, signal) => this.#askModel(site as Cloud, signal),
      references: ['one', 'two', 'three'],
      reachReference: async () => {},
      act: (core, seen) => tendSite(core, seen),
    };
  }

  /** @throws TransientError where it is silent: at once, or once it has been waited for for long enough */
  async #askModel(site: Cloud, signal?: AbortSignal): Promise<void> {
    const how = this.silent.get(site);
    if (how === 'hangs') await this.world.clock.sleep(120_000, signal);
    if (how !== undefined) throw new TransientError('throttled', `the model of ${site} ${how}`);
  }

  async ticks(count: number): Promise<void> {
    for (let tick = 0; tick < count; tick++) await this.#tick();
  }

  /** Ticks until `holds`; gives up after half an hour. */
  async until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
    for (const ends = this.world.clock.now() + 1_800_000; !(await holds()); await this.#tick())
      if (this.world.clock.now() > ends) throw new Error(`not within half an hour: ${what}`);
  }

  async #tick(): Promise<void> {
    const { world } = this;
    const next = world.clock.now() + world.settings.tickMs;
    // All at once, as they would be; workers and sweepers that hang are not waited for.
    for (const site of this.polling)
      this.#serving[site] ??= this.#serve(site).finally(() => delete this.#serving[site]);
    await world.settled(
      Promise.all([
        ...[...this.watching].map((site) => monitorTick(this.cores[site], this.#deps(site, site))),
        observe(this.#third, this.#deps('third', null), this.#thirdMemory),
      ]),
    );
    await world.clock.advance(Math.max(0, next - world.clock.now()));
  }

  async #serve(site: Cloud): Promise<void> {
    for (const [kind, max] of [
      ['intake', 10],
      ['work', workedPerTick],
    ] as const) {
      const queue = this.world[site].site[kind];
      const messages = await queue.receive({ max }).catch(() => []);
      const deliveries = messages.map((message) => deliveryOf(queue, message));
      await work(this.cores[site], deliveries).catch(() => {});
    }
  }

  kill(site: Cloud): void {
    darken(this.world, site);
    this.stopFunctions(site);
  }

  stopFunctions(site: Cloud): void {
    for (const running of [this.polling, this.watching, this.open]) running.delete(site);
  }

  startFunctions(site: Cloud): void {
    for (const running of [this.polling, this.watching, this.open]) running.add(site);
  }

  async command(by: Cloud, from: Cloud, mode: 'graceful' | 'forced') {
    const core = this.cores[by];
    const command = { kind: 'failover', from, to: other(from), scope: { kind: 'all' }, mode } as const;
    return this.world.settled(
      (async () =>
        execute(core, command, {
          operationId: core.ids.uuid(),
          actor: 'operator:test',
          reason: 'a person wants it',
          observations: await readObservations(core),
        }))(),
    );
  }

  /** By its own clock, how long after `since` the survivor wrote its first result of a batch that it was given. */
  async firstRedrivenMs(site: Cloud, { tenant, batch }: Placed, since: number): Promise<number> {
    const { journal } = this.world[site];
    const keys = await Array.fromAsync(listAll(journal, resultsPrefix(tenant, batch)));
    const own = keys.filter(({ key }) => parseResultKey(key)?.site === site);
    const times = await Promise.all(
      own.map(async ({ key }) => {
        const text = Buffer.from((await journal.get(key))!.bytes).toString('utf8');
        return JSON.parse(text.split('\n')[0]!).at as number;
      }),
    );
    return Math.min(...times) - since;
  }

  async expectComplete(site: Cloud, placed: Placed): Promise<void> {
    await this.until(async () => (await this.world.publication(site, placed)) !== undefined, 'the publication');
    expect((await published(this.world, site, placed)).ids).toEqual(ids(lines));
    expect(await this.world.publication(site, placed)).toMatchObject({ status: 'completed' });
  }
}

/** Lines that a model was asked for, and those of them that it was asked for more than once; canaries apart. */
function asked({ world }: Takeover): { calls: number; repeats: number } {
  const counts = [...world.asked].flatMap(([id, times]) => (id.startsWith('line-') ? [times] : []));
  const calls = counts.reduce((sum, times) => sum + times, 0);
  return { calls, repeats: calls - counts.length };
}

/** Refuses the given operations of a store with the code that a cloud's refusal is sorted to. */
function forbid(run: Takeover, site: Cloud, isForbidden: (op: string) => boolean): void {
  run.world[site].faults.before = (op) => {
    if (isForbidden(op)) throw new SiteUnavailableError('credentials', `${op} is forbidden`, `${site}/store`);
  };
}

const faults: { name: string; cause: Cause; strike: (run: Takeover, site: Cloud) => void }[] = [
  { name: 'all of it is killed', cause: 'site-dark', strike: (run, site) => run.kill(site) },
  {
    name: 'its store refuses',
    cause: 'store-down',
    strike: (run, site) => run.world[site].faults.set('all', { refuse: true }),
  },
  {
    name: 'its store is read-only',
    cause: 'store-read-only',
    strike: (run, site) => forbid(run, site, (op) => op.startsWith('put') || op === 'delete'),
  },
  {
    name: 'its queue is a black hole',
    cause: 'queue-stuck',
    // As an adapter lets it through: nothing comes back, and it gives up after ten seconds.
    strike: (run, site) => {
      run.world[site].queueFaults.before = async (op) => {
        await run.world.clock.sleep(10_000);
        throw new SiteUnavailableError('timeout', `${op}: no answer`, `${site}/queue`);
      };
    },
  },
  { name: 'its functions are stopped', cause: 'trigger-detached', strike: (run, site) => run.stopFunctions(site) },
  { name: 'its pollers are frozen (F41)', cause: 'trigger-detached', strike: (run, site) => run.polling.delete(site) },
  {
    name: 'its credentials are expired',
    cause: 'credentials-expired',
    strike: (run, site) => {
      forbid(run, site, () => true);
      run.world[site].queueFaults.before = () => {
        throw new SiteUnavailableError('credentials', 'expired', `${site}/queue`);
      };
    },
  },
];

describe.each(clouds)('profile balanced, nobody helps: %s', (victim) => {
  const survivor = other(victim);

  test.each(faults)(
    '$name: named $cause, first redriven result within 120 s, each id once',
    async ({ cause, strike }) => {
      const { run, placed } = await Takeover.begin(victim);
      const struckAt = run.world.clock.now();
      strike(run, victim);
      await run.expectComplete(survivor, placed);
      const control = await run.world.settled(learnControl(run.cores[survivor]));
      expect(control.sites[victim]!.state).toBe('fenced');
      const entry = [
        control,
        ...(await run.world.settled(readPast(run.cores[survivor], control, { whole: true }))),
      ].find(({ epoch }) => epoch === control.sites[victim]!.fencedEpoch)!;
      expect(entry.actor).toMatch(/^monitor\//);
      expect(entry.reason).toContain(cause);
      expect(await run.firstRedrivenMs(survivor, placed, struckAt)).toBeLessThanOrEqual(120_000);
      for (const site of clouds) expect(run.world[site].work.deadLetters).toEqual([]);
    },
  );

  test.each([
    ['throttles', 'model-throttled'],
    ['hangs', 'model-down'],
  ] as const)('its model %s: named %s, first redriven result within 120 s, and the site stays', async (how, cause) => {
    const { run, placed } = await Takeover.begin(victim);
    const struckAt = run.world.clock.now();
    run.silent.set(victim, how);
    await run.expectComplete(survivor, placed);
    const control = await run.world.settled(learnControl(run.cores[survivor]));
    expect(control.moves).toMatchObject([{ scope: 'model', name: 'm', from: victim, to: survivor }]);
    expect(control.sites[victim]!.state).toBe('active');
    const seen = await run.world.settled(readObservations(run.cores[survivor]));
    const own = seen.find(({ observation }) => observation.observer === victim)!.observation;
    expect(own.verdicts.find(({ site }) => site === victim)!.causes).toEqual([cause]);
    expect(await run.firstRedrivenMs(survivor, placed, struckAt)).toBeLessThanOrEqual(120_000);
  });

  test('killed and started again: stale messages cost no model call, and it comes back by itself, step by step', async () => {
    const { run, placed } = await Takeover.begin(victim);
    run.kill(victim);
    await run.expectComplete(survivor, placed);
    const { calls } = asked(run);
    expect((await run.world[victim].work.depth()).visible).toBeGreaterThan(0);
    lighten(run.world, victim);
    run.startFunctions(victim);
    const stateOf = async () => (await run.world.settled(learnControl(run.cores[survivor]))).sites[victim]!;
    await run.until(async () => (await stateOf()).weight === 100, `${victim} has returned`);
    await run.until(async () => (await run.world[victim].work.depth()).visible === 0, 'its queue is empty');
    expect(asked(run).calls).toBe(calls);
  });

  test('a person fails it over under load, forced: the first redriven result within 30 s', async () => {
    const { run, placed } = await Takeover.begin(victim);
    const commandedAt = run.world.clock.now();
    expect(await run.command(survivor, victim, 'forced')).toMatchObject({ status: 'done' });
    await run.expectComplete(survivor, placed);
    expect(await run.firstRedrivenMs(survivor, placed, commandedAt)).toBeLessThanOrEqual(30_000);
  });

  test('a person fails it over under load, graceful: nothing is computed twice', async () => {
    const { run, placed } = await Takeover.begin(victim);
    expect(await run.command(survivor, victim, 'graceful')).toMatchObject({ status: 'done' });
    await run.until(async () => (await run.command(survivor, victim, 'graceful')).status === 'done', 'it is fenced');
    await run.expectComplete(survivor, placed);
    expect(asked(run).repeats).toBe(0);
  });
});
