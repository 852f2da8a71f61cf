import { describe, expect, test } from '@jest/globals';
import { resultsPrefix } from '../../../shared/journal/keys.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { readRedriveProgress } from '../../../shared/redrive/progress.ts';
import { sweep, work } from '../../../shared/worker/index.ts';
import { answered, deliveryOf, inputLines, World } from '../../support/world.ts';
import {
  type Cloud,
  darken,
  failOver,
  ids,
  keysOf,
  lighten,
  other,
  published,
  repeatsOf,
  setState,
  workUntilKilled,
} from './support.ts';

const lines = 200;
const linesPerChunk = 5;

describe('a whole cloud is lost', () => {
  for (const from of ['aws', 'azure'] as Cloud[])
    for (const share of [0.1, 0.5, 0.9])
      test(`${from} gone at ${share * 100} % of a run, for good: every id once, nothing lost, repeats within I9`, async () => {
        const world = new World();
        const to = other(from);
        const placed = await world.accept({ lines, home: from });
        await world.serve(from, 'intake');
        const atOnce = 4;
        await workUntilKilled(world, from, lines * share, atOnce);
        await world.clock.advance(60_000);
        failOver(world, from);
        await world.run(1_800_000, () => world.called.length > 0, [to]);
        const { publication, ids: found } = await published(world, to, placed);
        expect(found).toEqual(ids(lines));
        expect(publication).toMatchObject({ status: 'completed', counts: { total: lines, completed: lines } });
        // Everything mirrored at once here, so only what was in flight may be computed twice.
        expect(repeatsOf(world)).toBeLessThanOrEqual(atOnce * linesPerChunk);
        expect(repeatsOf(world)).toBeGreaterThan(0);
        expect(world[to].work.deadLetters).toEqual([]);
      });

  test('results that never reached the other store are computed again, and counted when the cloud comes back', async () => {
    const world = new World();
    const placed = await world.accept({ lines });
    await world.serve('aws', 'intake');
    world.azure.faults.before = (op, key) => {
      if (op === 'putIfAbsent' && key.includes('/results/')) throw new Error('link cut');
    };
    await workUntilKilled(world, 'aws', 100);
    world.azure.faults.clear();
    failOver(world, 'aws');
    await world.run(900_000, () => world.called.length > 0, ['azure']);
    expect((await published(world, 'azure', placed)).ids).toEqual(ids(lines));
    expect(repeatsOf(world)).toBeGreaterThanOrEqual(80);
    expect(repeatsOf(world)).toBeLessThanOrEqual(120);
  });

  test('F19 results that are there are not computed again, and F20 one written a moment ago is seen', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 50 });
    await world.serve('aws', 'intake');
    for (let i = 0; i < 5; i++) await world.serve('aws', 'work', 1);
    expect(world.asked.size).toBe(25);
    darken(world, 'aws');
    failOver(world, 'aws');
    await world.sweepAll(['azure']);
    // The last result of the lost cloud arrives after the redrive was planned, and before its pointer is worked.
    const [first] = await Array.fromAsync(listAll(world.aws.journal, resultsPrefix(placed.tenant, placed.batch)));
    expect(first).toBeDefined();
    expect((await world.azure.work.depth()).visible).toBe(5);
    await world.run(300_000, () => world.called.length > 0, ['azure']);
    expect((await published(world, 'azure', placed)).ids).toEqual(ids(50));
    expect(repeatsOf(world)).toBe(0);
  });

  test('F20 a result that arrives after the redrive was planned costs no second model call', async () => {
    const world = new World();
    await world.accept({ lines: 10 });
    await world.serve('aws', 'intake');
    const [message] = await world.aws.work.receive({ max: 1 });
    failOver(world, 'aws');
    await world.sweepAll(['azure']);
    expect((await world.azure.work.depth()).visible).toBe(2);
    // A worker that has not learned of its fencing.
    const late = world.newProcess('aws');
    const before = { ...world.control, epoch: 1, sites: { ...world.control.sites, aws: world.control.sites.azure! } };
    await world.settled(
      work({ ...late, control: { current: async () => before } }, [deliveryOf(world.aws.work, message!)]),
    );
    await world.serveAll(['azure']);
    expect(world.asked.size).toBe(10);
    expect(repeatsOf(world)).toBe(0);
  });

  test('a dark cloud that swallows calls is waited for once in 15 s, not at every read', async () => {
    const world = new World();
    for (let i = 0; i < 30; i++) await world.accept({ lines: 10 });
    for (let i = 0; i < 3; i++) await world.serve('aws', 'intake', 10);
    for (const faults of [world.aws.faults, world.aws.queueFaults]) faults.set('all', { delayMs: 3_600_000 });
    failOver(world, 'aws');
    const from = world.clock.now();
    await world.sweepAll(['azure']);
    await world.serve('azure', 'work', 10);
    expect([...world.asked.values()].reduce((sum, times) => sum + times, 0)).toBe(50);
    expect(world.clock.now() - from).toBeLessThan(3 * world.settings.peerTimeoutMs);
  });
});

describe('a cloud comes back after its work was given away', () => {
  test('F34 8,000 stale messages cause no second model call, and the queue is drained for it meanwhile', async () => {
    const world = new World({ settings: { chunks: smallChunks(1) } });
    const input = (name: number) => Buffer.from(inputLines(200).replaceAll('line-', `${name}-`));
    for (let i = 0; i < 40; i++) await world.accept({ input: input(i) });
    for (let i = 0; i < 4; i++) await world.serve('aws', 'intake');
    darken(world, 'aws');
    failOver(world, 'aws');
    await world.run(1_800_000, () => world.called.length === 40, ['azure']);
    expect(world.asked.size).toBe(8_000);
    lighten(world, 'aws');
    expect((await world.aws.work.depth()).visible).toBe(8_000);
    const [report] = await world.sweepAll(['azure']);
    expect(report!.drained).toBe(500);
    // Half of the rest is met by its own workers: still fenced, and active again.
    for (let i = 0; i < 30; i++) await world.serve('aws', 'work', 100);
    setState(world, { aws: 'recovering' });
    setState(world, { aws: 'active' });
    await world.serveAll(['aws'], 10_000);
    expect((await world.aws.work.depth()).visible).toBe(0);
    expect(repeatsOf(world)).toBe(0);
    expect([...world.asked.values()].every((times) => times === 1)).toBe(true);
  }, 120_000);

  test('what a drainer is not sure of goes back to its queue', async () => {
    const world = new World();
    await world.accept({ lines: 10 });
    await world.serve('aws', 'intake');
    const stale = world.control;
    failOver(world, 'aws');
    const fenced = world.control;
    setState(world, { aws: 'recovering' });
    setState(world, { aws: 'active' });
    await world.accept({ lines: 10 });
    await world.serve('aws', 'intake');
    expect((await world.aws.work.depth()).visible).toBe(4);
    // A drainer that has not learned that the site is active again.
    world.control = fenced;
    await world.sweepAll(['azure']);
    expect((await world.aws.work.depth()).visible).toBe(2);
    expect(stale.epoch).toBe(1);
  });

  test('F29 F57 what the survivor published reaches the cloud that was dark before anything is let go', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 20 });
    await world.serve('aws', 'intake');
    await workUntilKilled(world, 'aws', 5);
    failOver(world, 'aws');
    await world.run(900_000, () => world.called.length > 0, ['azure']);
    // Decided by one cloud and the witness, which holds the content sealed; the hint stands until both clouds have it.
    const sealed = await Array.fromAsync(listAll(world.witness.journal, 't/'));
    expect(sealed.length).toBeGreaterThan(0);
    expect(sealed.every(({ key }) => key.endsWith('.sealed'))).toBe(true);
    expect((await world.azure.state.list('open/')).entries).toHaveLength(1);
    lighten(world, 'aws');
    setState(world, { aws: 'recovering' });
    await world.run(60_000);
    expect(await Array.fromAsync(listAll(world.witness.journal, 't/'))).toEqual([]);
    for (const site of ['aws', 'azure'] as const) {
      expect((await published(world, site, placed)).ids).toEqual(ids(20));
      expect((await world[site].state.list('open/')).entries).toEqual([]);
    }
    expect(await keysOf(world, 'aws')).toEqual(await keysOf(world, 'azure'));
    expect(new Set(world.called.map((one) => JSON.stringify(one))).size).toBe(1);
  });
});

describe('a redriver dies', () => {
  test('F21 at every call it makes, and another takes over: every line once, no more pointers than one wave twice', async () => {
    const chunks = 20;
    const calls = await redriveWith(Number.POSITIVE_INFINITY);
    expect(calls.made).toBeGreaterThan(5);
    for (let dieAt = 1; dieAt <= calls.made; dieAt++) {
      const { world, placed } = await redriveWith(dieAt);
      await world.run(900_000, () => world.called.length > 0, ['azure']);
      expect([dieAt, (await published(world, 'azure', placed)).ids]).toEqual([dieAt, ids(100)]);
      expect([dieAt, repeatsOf(world)]).toEqual([dieAt, 0]);
      expect(world.azure.work.calls.send).toBeLessThanOrEqual(chunks);
    }
  });

  test('F21 two redrivers at once send one wave twice and compute nothing twice, and the first comes back', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 100 });
    await world.serve('aws', 'intake');
    darken(world, 'aws');
    failOver(world, 'aws');
    const frozen = world.newProcess('azure');
    let thaw = () => {};
    world.azure.queueFaults.before = (op) => {
      if (op !== 'send') return;
      world.azure.queueFaults.before = undefined;
      return new Promise<void>((resolve) => (thaw = resolve));
    };
    const first = sweep(frozen);
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
    await world.sweepAll(['azure']);
    await world.serveAll(['azure']);
    thaw();
    await world.settled(first);
    await world.run(900_000, () => world.called.length > 0, ['azure']);
    expect((await published(world, 'azure', placed)).ids).toEqual(ids(100));
    expect(repeatsOf(world)).toBe(0);
  });

  /** Fails over, and lets the first sweeper of the survivor hang for ever at its `dieAt`-th call. */
  async function redriveWith(dieAt: number) {
    const world = new World();
    const placed = await world.accept({ lines: 100 });
    await world.serve('aws', 'intake');
    darken(world, 'aws');
    failOver(world, 'aws');
    let made = 0;
    let die = () => {};
    const death = new Promise<void>((resolve) => (die = resolve));
    const hook = () => {
      made += 1;
      if (made < dieAt) return;
      die();
      return new Promise<void>(() => {});
    };
    // A call that has taken effect, and its process dies before it hears of it.
    world.azure.faults.after = hook;
    world.azure.queueFaults.after = hook;
    const run = sweep(world.newProcess('azure'));
    run.catch(() => {});
    await world.settled(Promise.race([run, death]));
    world.azure.faults.clear();
    world.azure.queueFaults.clear();
    return { world, placed, made };
  }
});

describe('spillover', () => {
  const spill = (world: World) =>
    setState(
      world,
      {},
      { moves: [{ scope: 'model', name: 'm', from: 'aws', to: 'azure', since: world.control.epoch + 1 }] },
    );

  test('a model that is down in one cloud moves with its chunks; the site and other models stay', async () => {
    const world = new World();
    const moved = await world.accept({ lines: 50 });
    const stays = await world.accept({ input: Buffer.from(inputLines(50, '/v1/chat/completions', 'n')) });
    await world.serve('aws', 'intake');
    const served = new Map<string, Set<string>>();
    world.answer = (line, site, job) => {
      served.set(job.model, (served.get(job.model) ?? new Set()).add(site));
      return answered(line, site);
    };
    spill(world);
    await world.run(600_000, () => world.called.length === 2);
    for (const placed of [moved, stays]) expect((await published(world, 'aws', placed)).ids).toEqual(ids(50));
    expect(served.get('m')).toEqual(new Set(['azure']));
    expect(served.get('n')).toEqual(new Set(['aws']));
  });

  test('one batch moves with a scoped failover, and only that', async () => {
    const world = new World();
    const moved = await world.accept({ lines: 20 });
    await world.accept({ lines: 20 });
    await world.serve('aws', 'intake');
    const since = world.control.epoch + 1;
    setState(world, {}, { moves: [{ scope: 'batch', name: moved.batch, from: 'aws', to: 'azure', since }] });
    await world.sweepAll();
    expect((await world.azure.work.depth()).visible).toBe(4);
    await world.serve('aws', 'work', 100);
    expect(world.asked.size).toBe(20);
    expect(Math.max(...world.asked.values())).toBe(1);
  });

  test('when the move ends, new work stays at home, and what had moved is finished once', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 50 });
    await world.serve('aws', 'intake');
    spill(world);
    const azure = async () => (await readRedriveProgress(world.newProcess('aws'))).azure;
    expect(await azure()).toEqual({ redriven: 0, left: 10, lines: 50 });
    await world.sweepAll();
    expect(await azure()).toEqual({ redriven: 10, left: 0, lines: 0 });
    await world.serve('azure', 'work', 5);
    setState(world, {}, { moves: [] });
    const later = await world.accept({ lines: 5 });
    await world.run(900_000, () => world.called.length === 2);
    expect((await published(world, 'aws', placed)).ids).toEqual(ids(50));
    expect((await published(world, 'aws', later)).publication!.site).toBe('aws');
    expect((await published(world, 'aws', placed)).publication!.repeats).toBe(0);
  });

  test('a model moved to a cloud that is then lost comes back', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 50 });
    await world.serve('aws', 'intake');
    spill(world);
    await world.sweepAll();
    await world.serve('azure', 'work', 5);
    darken(world, 'azure');
    failOver(world, 'azure');
    await world.run(900_000, () => world.called.length > 0, ['aws']);
    expect((await published(world, 'aws', placed)).ids).toEqual(ids(50));
    expect(repeatsOf(world)).toBe(0);
  });

  test('a batch bound to one cloud never moves', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 10, boundTo: 'aws' });
    await world.serve('aws', 'intake');
    spill(world);
    await world.run(300_000, () => world.called.length > 0);
    expect((await world.publication('aws', placed))!.site).toBe('aws');
    expect(world.azure.work.calls.send).toBe(0);
  });
});

describe('F22 the survivor is not drowned', () => {
  test('8,000 lines arrive at a survivor that works at its limit: its own work goes on at half of it or more', async () => {
    const world = new World();
    const ownInput = (lines: number) => Buffer.from(inputLines(lines, '/v1/chat/completions', 'own'));
    const perTick = 20;
    const worked = { own: 0, redriven: 0 };
    world.answer = (line, site, job) => {
      worked[job.model === 'own' ? 'own' : 'redriven'] += 1 / linesPerChunk;
      return answered(line, site);
    };
    await world.accept({ input: ownInput(1_000), home: 'azure' });
    for (let i = 0; i < 8; i++) await world.accept({ lines: 1_000, home: 'aws' });
    await world.serve('azure', 'intake');
    await world.serve('aws', 'intake');
    await world.serve('azure', 'work', perTick);
    await world.clock.advance(world.settings.tickMs);
    darken(world, 'aws');
    failOver(world, 'aws');
    let waitingMax = 0;
    const shares: number[] = [];
    for (let tick = 0; tick < 40; tick++) {
      // Own work keeps coming in, as much as the site gets done.
      await world.accept({ input: ownInput(perTick * linesPerChunk), home: 'azure' });
      const [report] = await world.sweepAll(['azure']);
      await world.serve('azure', 'intake');
      const before = { ...worked };
      await world.serve('azure', 'work', perTick);
      shares.push((worked.own - before.own) / perTick);
      waitingMax = Math.max(waitingMax, report!.redrive.redriven - worked.redriven);
      await world.clock.advance(world.settings.tickMs);
    }
    const ofLate = shares.slice(-20);
    expect(ofLate.reduce((sum, share) => sum + share, 0) / ofLate.length).toBeGreaterThanOrEqual(0.5);
    expect(worked.redriven).toBeGreaterThan(perTick);
    // Six ticks of work: whoever comes now waits a minute at most.
    expect(waitingMax).toBeLessThanOrEqual(6 * perTick);
  });
});

function smallChunks(linesMax: number) {
  const limits = { linesMax, tokensMax: 100_000, bytesMax: 1_000_000 };
  return { text: limits, embeddings: limits };
}
