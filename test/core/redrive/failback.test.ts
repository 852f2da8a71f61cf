import { describe, expect, test } from '@jest/globals';
import { initControl } from '../../../shared/control/init.ts';
import { controlView, learnControl, proposeControl } from '../../../shared/control/log.ts';
import { opinionOf } from '../../../shared/control/opinion.ts';
import { controlPolicy } from '../../../shared/control/policy.ts';
import type { Core } from '../../../shared/core.ts';
import { type Health, profiles, type SeenObservation } from '../../../shared/health/types.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { fileContentKey, manifestKey } from '../../../shared/journal/keys.ts';
import { compareJournals, convergeJournals } from '../../../shared/redrive/converge.ts';
import { type FailbackStep, nextFailbackStep, returningSite, runFailback } from '../../../shared/redrive/failback.ts';
import { firstEntry, seeded, World } from '../../support/world.ts';
import { type Cloud, darken, ids, keysOf, lighten, other, published, workUntilKilled } from './support.ts';

const profile = profiles.fast;
const { soakMs } = profile;

/** What three observers hold of both sites. */
function observe(at: number, health: Partial<Record<Cloud, Health>>, since = at - 2 * soakMs): SeenObservation[] {
  return ['aws', 'azure', 'third'].map((observer) => ({
    observation: {
      v: 1,
      kind: 'observation',
      observer,
      home: observer === 'third' ? null : observer,
      at,
      trustsItself: true,
      verdicts: (['aws', 'azure'] as const).map((site) => ({
        site,
        health: health[site] ?? 'healthy',
        causes: health[site] === 'down' ? (['site-dark'] as const).slice() : [],
        models: [],
        since,
        at,
        evidence: [],
        flaps: 0,
        holdUntil: 0,
      })),
      backlog: [],
    },
    stale: false,
    stores: ['aws', 'azure', 'witness'],
  }));
}

describe('the next step', () => {
  const now = 10_000_000;
  type Site = Partial<ControlEntry['sites'][string]>;
  /** A log in which `aws` went through these states, one entry each, the last `ageMs` ago. */
  function log(states: Site[], ageMs = 0, more: Partial<ControlEntry> = {}): ControlEntry[] {
    const first = firstEntry(0);
    return states.map((state, i) => ({
      ...first,
      ...(i === states.length - 1 ? more : {}),
      epoch: i + 1,
      at: i === states.length - 1 ? now - ageMs : i,
      sites: { ...first.sites, aws: { ...first.sites.aws!, ...state } },
    }));
  }
  const away: Site = { state: 'fenced', fencedEpoch: 1, weight: 0 };
  const back: Site = { state: 'recovering', weight: 0 };
  const at = (weight: number): Site => ({ state: 'active', weight });
  function next(entries: ControlEntry[], health: Health, isConverged = true, since?: number): FailbackStep {
    const [control, ...past] = entries.toReversed();
    const observations = observe(now, { aws: health }, since);
    const opinion = (site: string) => opinionOf(site, observations, profile, now);
    return nextFailbackStep({ control: control!, past, opinion, profile, isConverged }, now);
  }
  const weightOf = (step: FailbackStep) => {
    if (step.kind !== 'step') return step.kind;
    const { command } = step;
    return command.kind === 'weights' ? command.weights.aws : 'step' in command ? command.step : undefined;
  };

  test('up: 5, 25, 50, 100, each after a whole soak in health, and none after that', () => {
    const states = [away, back, at(5), at(25), at(50), at(100)];
    expect(weightOf(next(log(states.slice(0, 1)), 'healthy'))).toBe('none');
    expect([2, 3, 4, 5, 6].map((n) => weightOf(next(log(states.slice(0, n), soakMs), 'healthy')))).toEqual([
      5,
      25,
      50,
      100,
      'none',
    ]);
    for (const n of [3, 4, 5]) expect(next(log(states.slice(0, n), soakMs - 1), 'healthy').kind).toBe('wait');
    for (const n of [3, 4, 5])
      expect(next(log(states.slice(0, n), 2 * soakMs), 'healthy', true, now - soakMs + 1).kind).toBe('wait');
  });

  test('F36 it takes no work before both journals are proved equal', () => {
    expect(next(log([away, back]), 'healthy', false)).toMatchObject({
      kind: 'wait',
      why: expect.stringContaining('journals'),
    });
  });

  test('down: one step for each look, 5 to no new batches at all, from there up again; never while nothing is known', () => {
    const windowMs = profile.window * profile.tickMs;
    for (const health of ['degraded', 'down'] as const) {
      expect(weightOf(next(log([back, at(5), at(25), at(50)], windowMs), health))).toBe(25);
      expect(weightOf(next(log([back, at(5), at(25)], windowMs), health))).toBe(5);
      expect(weightOf(next(log([back, at(5)], windowMs), health))).toBe(0);
      expect(weightOf(next(log([back, at(5), at(0)], windowMs), health))).toBe('wait');
      expect(weightOf(next(log([back, at(5), at(25)], windowMs - 1), health))).toBe('wait');
    }
    expect(weightOf(next(log([back, at(5), at(0)], soakMs), 'healthy'))).toBe(5);
    expect(weightOf(next(log([back, at(25)], soakMs), 'unknown'))).toBe('wait');
    expect(weightOf(next(log([back, at(25)], soakMs, { frozen: true }), 'healthy'))).toBe('wait');
  });

  test('a weight that a person set ends it, also if it looks like a step; so does a log with a gap', () => {
    const entries = (states: Site[]) => log(states).toReversed();
    const returning = ([control, ...past]: ControlEntry[]) => returningSite(control!, past);
    expect(returning(entries([back, at(5), at(60)]))).toBeUndefined();
    expect(returning(entries([back, at(5), at(60), at(25)]))).toBeUndefined();
    expect(returning(entries([at(50)]))).toBeUndefined();
    expect(returning(entries([back, at(5), at(25)]))).toBe('aws');
    expect(returning(entries([back, at(5), at(25)]).filter(({ epoch }) => epoch !== 2))).toBeUndefined();
  });
});

/** The real control log over the world's stores; `learn` puts what it says in force everywhere. */
async function withLog(world: World) {
  const cores = new Map<Cloud, Core>();
  for (const site of ['aws', 'azure'] as const) {
    const core = world.newProcess(site);
    cores.set(site, { ...core, control: controlView(core, { cacheMs: 0 }) });
  }
  const core = (site: Cloud) => cores.get(site)!;
  const site = (cloud: Cloud) => ({ cloud, region: 'local' });
  world.control = await initControl(core('aws'), {
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    actor: 'test',
    reason: 'first entry',
  });
  const learn = async (by: Cloud) => (world.control = await world.settled(learnControl(core(by))));
  const propose = async (by: Cloud, id: Cloud, state: 'fenced' | 'recovering') => {
    const before = await learn(by);
    const { v: _v, kind: _k, epoch, previous: _p, ...draft } = structuredClone(before);
    draft.at = Math.floor(world.clock.now());
    draft.operation = `${state}-${epoch}`;
    const fencedEpoch = state === 'fenced' ? epoch + 1 : draft.sites[id]!.fencedEpoch;
    draft.sites[id] = { ...draft.sites[id]!, state, weight: 0, fencedEpoch };
    draft.sites[other(id)]!.state = 'active';
    await world.settled(proposeControl(core(by), before, draft));
    return learn(by);
  };
  return { core, learn, propose };
}

const policyOf = (world: World) => ({ ...controlPolicy(world.core('azure')), profile, minimumIntervalMs: 0 });

/** Ticks of the survivor's monitor, and of the returning site, until the site has all of its weight. */
async function returnFully(
  world: World,
  log: Awaited<ReturnType<typeof withLog>>,
  site: Cloud,
  health: (tick: number, weight: number) => Health = () => 'healthy',
): Promise<number[]> {
  const by = other(site);
  const weights: number[] = [];
  for (let tick = 0; tick < 2_000; tick++) {
    const { weight, state } = world.control.sites[site]!;
    if (state === 'active' && weight === 100) return weights;
    const observations = observe(world.clock.now(), { [site]: health(tick, weight) });
    const { outcome } = await world.settled(runFailback(log.core(by), observations, { policy: policyOf(world) }));
    await log.learn(by);
    if (outcome?.status === 'done') weights.push(world.control.sites[site]!.weight);
    if (tick % 5 === 0) await world.sweepAll();
    await world.serveAll();
    await world.clock.advance(profile.tickMs);
  }
  throw new Error(`not back at ${JSON.stringify(world.control.sites[site])}`);
}

describe('a failback as a whole', () => {
  test('fenced, recovering, synchronised both ways, proved equal, and only then 5, 25, 50, 100', async () => {
    const world = new World();
    const log = await withLog(world);
    const placed = await world.accept({ lines: 50 });
    await world.serve('aws', 'intake');
    await workUntilKilled(world, 'aws', 20);
    await log.propose('azure', 'aws', 'fenced');
    const alone = await world.accept({ lines: 20, home: 'azure', stores: ['azure'] });
    await world.run(900_000, () => world.called.length === 2, ['azure']);
    lighten(world, 'aws');
    expect((await compareJournals(log.core('azure'))).isConverged).toBe(false);
    await log.propose('azure', 'aws', 'recovering');
    const epoch = world.control.epoch;
    expect(await returnFully(world, log, 'aws')).toEqual([5, 25, 50, 100]);
    const entries = world.control.epoch - epoch;
    expect(entries).toBe(4);
    expect(await keysOf(world, 'aws')).toEqual(await keysOf(world, 'azure'));
    for (const one of [placed, alone]) expect((await published(world, 'aws', one)).publication).toBeDefined();
    expect((await published(world, 'aws', placed)).ids).toEqual(ids(50));
    const after = await world.accept({ lines: 10, home: 'aws' });
    await world.run(300_000, () => world.called.length === 3);
    expect((await published(world, 'azure', after)).ids).toEqual(ids(10));
  });

  test('F35 it collapses under a quarter of the load: steps are taken back, and it returns once it is well', async () => {
    const world = new World();
    const log = await withLog(world);
    darken(world, 'aws');
    await log.propose('azure', 'aws', 'fenced');
    lighten(world, 'aws');
    await log.propose('azure', 'aws', 'recovering');
    let isWeak = true;
    const weights = await returnFully(world, log, 'aws', (tick, weight) => {
      if (tick > 200) isWeak = false;
      return isWeak && weight >= 25 ? 'degraded' : 'healthy';
    });
    expect(weights.slice(0, 4)).toEqual([5, 25, 5, 25]);
    expect(weights.slice(-4)).toEqual([5, 25, 50, 100]);
  });

  test('F39 a store that comes back empty gets everything before it takes anything', async () => {
    const world = new World();
    const log = await withLog(world);
    const placed = await world.accept({ lines: 20 });
    await world.run(300_000, () => world.called.length > 0);
    const open = await world.accept({ lines: 10, home: 'azure' });
    darken(world, 'aws');
    await log.propose('azure', 'aws', 'fenced');
    world.aws.journal.wipe();
    lighten(world, 'aws');
    await log.propose('azure', 'aws', 'recovering');
    await returnFully(world, log, 'aws');
    expect((await published(world, 'aws', placed)).ids).toEqual(ids(20));
    expect(await world.aws.journal.head(manifestKey(open.tenant, open.batch))).toBeDefined();
    expect(await keysOf(world, 'aws')).toEqual(await keysOf(world, 'azure'));
  });

  test('journals of a tenant that is bound to one cloud converge without leaving it', async () => {
    const world = new World();
    const log = await withLog(world);
    const placed = await world.accept({ lines: 10, boundTo: 'aws' });
    await world.run(300_000, () => world.called.length > 0);
    const compared = await compareJournals(log.core('azure'));
    expect(compared).toMatchObject({ isConverged: true, differing: [] });
    expect(compared.excused).toBeGreaterThan(0);
    expect(await world.azure.journal.head(fileContentKey(placed.tenant, 'x'))).toBeUndefined();
  });

  test('a site that stops answering has not converged, and one fact too few is found', async () => {
    const world = new World();
    const log = await withLog(world);
    const placed = await world.accept({ lines: 10 });
    await world.run(300_000, () => world.called.length > 0);
    const core = log.core('azure');
    await world.aws.journal.delete(manifestKey(placed.tenant, placed.batch));
    expect(await compareJournals(core)).toMatchObject({
      isConverged: false,
      differing: [manifestKey(placed.tenant, placed.batch)],
    });
    darken(world, 'aws');
    await expect(world.settled(compareJournals(core))).rejects.toMatchObject({ name: 'SiteUnavailableError' });
    lighten(world, 'aws');
    expect(await world.settled(convergeJournals(core))).toBe(true);
  });
});

describe('again and again', () => {
  for (const seed of [1, 2, 3])
    test(`ten failovers and failbacks in a row under load, with random kills (seed ${seed}): key sets equal, every id once`, async () => {
      const world = new World({ seed });
      const random = seeded(seed);
      const log = await withLog(world);
      const accepted: { placed: Awaited<ReturnType<World['accept']>>; lines: number }[] = [];
      const accept = async (home: Cloud) => {
        const lines = 10 + Math.floor(random() * 60);
        accepted.push({ placed: await world.accept({ lines, home }), lines });
      };
      for (let round = 0; round < 10; round++) {
        const site: Cloud = random() < 0.5 ? 'aws' : 'azure';
        await accept(site);
        await accept(other(site));
        await world.serve(site, 'intake');
        const lines = accepted.at(-2)!.lines;
        await workUntilKilled(world, site, Math.floor(random() * lines));
        await log.propose(other(site), site, 'fenced');
        await accept(other(site));
        await world.run(60_000 * random(), () => false, [other(site)]);
        lighten(world, site);
        await world.run(20_000 * random());
        await log.propose(other(site), site, 'recovering');
        await returnFully(world, log, site);
      }
      await world.run(1_800_000, () => world.called.length >= accepted.length);
      await world.run(120_000);
      for (const { placed, lines } of accepted)
        for (const site of ['aws', 'azure'] as const)
          expect((await published(world, site, placed)).ids).toEqual(ids(lines));
      expect(await keysOf(world, 'aws')).toEqual(await keysOf(world, 'azure'));
      expect(new Set(world.called.map((one) => JSON.stringify(one))).size).toBe(accepted.length);
      for (const site of ['aws', 'azure'] as const) expect((await world[site].state.list('open/')).entries).toEqual([]);
    }, 300_000);
});
