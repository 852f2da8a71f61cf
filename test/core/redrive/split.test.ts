import { describe, expect, test } from '@jest/globals';
import { Faults } from '../../../local/in-memory/faults.ts';
import { faultyQueue, faultyStore } from '../../../local/in-memory/faulty.ts';
import type { StoreOp } from '../../../local/in-memory/object-store.ts';
import type { QueueOp } from '../../../local/in-memory/queue.ts';
import { batchObject, snapshotBatch } from '../../../shared/api/batch-object.ts';
import { initControl } from '../../../shared/control/init.ts';
import {
  type ControlDraft,
  controlView,
  learnControl,
  proposeControl,
  proposeSolo,
} from '../../../shared/control/log.ts';
import { readSuperseded } from '../../../shared/control/superseded.ts';
import type { Core } from '../../../shared/core.ts';
import { type ControlEntry, cancelSchema, factBytes, factVersion } from '../../../shared/journal/facts.ts';
import {
  cancelKey,
  controlKey,
  controlSoloKey,
  outputKey,
  publicationKey,
  publicationSolosPrefix,
} from '../../../shared/journal/keys.ts';
import type { Stores } from '../../../shared/ports/site.ts';
import { compareJournals } from '../../../shared/redrive/converge.ts';
import { publishBatch, sweep, work } from '../../../shared/worker/index.ts';
import { deliveryOf, World } from '../../support/world.ts';
import { type Cloud, darken, ids, other, type Placed, published } from './support.ts';

/** Two clouds that each see themselves, and the other one and the witness over links that can be cut. */
async function clouds(options: { hasWitness?: boolean } = {}) {
  const world = new World();
  const links = {
    cut: { store: [] as Faults<StoreOp>[], queue: [] as Faults<QueueOp>[] },
    witness: [] as Faults<StoreOp>[],
  };
  const coreOf = (self: Cloud): Core => {
    const own = world.newProcess(self);
    const peer = world[other(self)];
    const store = new Faults<StoreOp>(world.clock, world.random);
    const queue = new Faults<QueueOp>(world.clock, world.random);
    const toWitness = new Faults<StoreOp>(world.clock, world.random);
    links.cut.store.push(store);
    links.cut.queue.push(queue);
    links.witness.push(toWitness);
    const { journal, state } = world.witness;
    const witness: Stores = {
      id: 'witness',
      journal: faultyStore(journal, toWitness),
      state: faultyStore(state, toWitness),
    };
    const far = {
      ...peer.site,
      journal: faultyStore(peer.journal, store),
      state: faultyStore(peer.state, store),
      intake: faultyQueue(peer.intake, queue),
      work: faultyQueue(peer.work, queue),
    };
    const core: Core = {
      ...own,
      sites: new Map([
        [self, world[self].site],
        [other(self), far],
      ]),
      witness,
    };
    return { ...core, control: controlView(core, { cacheMs: 0 }) };
  };
  const cores = { aws: coreOf('aws'), azure: coreOf('azure') };
  const site = (cloud: Cloud) => ({ cloud, region: 'local' });
  world.control = await initControl(cores.aws, {
    sites: { aws: site('aws'), azure: site('azure') },
    voters: ['aws', 'azure', 'witness'].map((name) => ({ store: name, incarnation: `${name}-1` })),
    actor: 'test',
    reason: 'first entry',
  });
  const cut = (isCut: boolean) => {
    for (const faults of [...links.cut.store, ...links.cut.queue])
      if (isCut) faults.set('all', { refuse: true });
      else faults.clear();
  };
  if (options.hasWitness === false) for (const faults of links.witness) faults.set('all', { refuse: true });
  const serve = async (self: Cloud) => {
    for (const kind of ['intake', 'work'] as const)
      for (;;) {
        const messages = await world[self][kind].receive({ max: 50 });
        if (messages.length === 0) break;
        await world.settled(
          work(
            cores[self],
            messages.map((message) => deliveryOf(world[self][kind], message)),
          ),
        );
      }
  };
  const run = async (ticks: number, sites: Cloud[] = ['aws', 'azure']) => {
    for (let tick = 0; tick < ticks; tick++) {
      for (const self of sites) {
        await world.settled(learnControl(cores[self]).catch(() => undefined));
        await world.settled(sweep(cores[self]));
        await serve(self);
      }
      await world.clock.advance(world.settings.tickMs);
    }
  };
  return { world, cores, cut, run, linkFromAws: links.cut.store[0]! };
}

/** What somebody in `survivor` wants: the other one fenced. */
function fencing(control: ControlEntry, survivor: Cloud, forced: string[] = []): ControlDraft {
  const { v: _v, kind: _k, epoch, previous: _p, ...draft } = structuredClone(control);
  const lost = other(survivor);
  return {
    ...draft,
    actor: `operator:${survivor}`,
    reason: `${lost} looks dark from ${survivor}`,
    operation: `${survivor}-${epoch}`,
    forced,
    sites: {
      ...draft.sites,
      [lost]: { ...draft.sites[lost]!, state: 'fenced', fencedEpoch: epoch + 1 },
      [survivor]: { ...draft.sites[survivor]!, state: 'active' },
    },
  };
}

const json = async (world: World, site: Cloud, key: string) => {
  const found = await world[site].journal.get(key);
  return found === undefined ? undefined : JSON.parse(Buffer.from(found.bytes).toString());
};

describe('the link is cut both ways, with a witness', () => {
  test('F18 both sides declare themselves the survivor: one entry, one owner, and after the cut one publication of each batch', async () => {
    const { world, cores, cut, run } = await clouds();
    const batches = [await world.accept({ lines: 20, home: 'aws' }), await world.accept({ lines: 20, home: 'azure' })];
    cut(true);
    const wishes = (['aws', 'azure'] as const).map((self) =>
      proposeControl(cores[self], world.control, fencing(world.control, self)),
    );
    const [a, b] = await world.settled(Promise.all(wishes));
    expect(a!.entry).toEqual(b!.entry);
    expect([a!.own, b!.own].filter(Boolean)).toHaveLength(1);
    const survivor: Cloud = a!.own ? 'aws' : 'azure';
    await run(60);
    for (const placed of batches) {
      expect((await published(world, survivor, placed)).ids).toEqual(ids(20));
      expect(await world.publication(other(survivor), placed)).toBeUndefined();
    }
    cut(false);
    const { v: _v, kind: _k, epoch: _e, previous: _p, ...draft } = structuredClone(a!.entry);
    draft.sites[other(survivor)]!.state = 'recovering';
    draft.operation = 'return';
    await world.settled(proposeControl(cores[survivor], a!.entry, draft));
    await run(90);
    for (const placed of batches)
      expect(await world.publication('aws', placed)).toEqual(await world.publication('azure', placed));
    expect(await world.settled(compareJournals(cores.aws))).toMatchObject({ isConverged: true, differing: [] });
  });

  test('F28 F30 F33 cancelled on one side, completed on the other, clocks apart: one register decides, both read the same', async () => {
    const { world, cores, cut, run } = await clouds();
    const placed = await world.accept({ lines: 20, home: 'aws' });
    await run(1, ['aws']);
    cut(true);
    const cancel = {
      v: factVersion,
      kind: 'cancel',
      batch: placed.batch,
      at: world.clock.now(),
      site: 'azure',
      uuid: world.uuid(),
      by: 'k',
    };
    const bytes = factBytes(cancelSchema.parse(cancel));
    await world.azure.journal.putIfAbsent(cancelKey(placed.tenant, placed.batch, cancel.uuid), bytes);
    const skewed: Core = {
      ...cores.azure,
      clock: { now: () => world.clock.now() + 120_000, sleep: (ms, signal) => world.clock.sleep(ms, signal) },
    };
    const both = [cores.aws, skewed].map((core) =>
      publishBatch(core, placed.tenant, placed.batch).catch((error) => error),
    );
    await world.settled(Promise.all(both));
    cut(false);
    await run(30);
    const [a, b] = [await world.publication('aws', placed), await world.publication('azure', placed)];
    expect(a).toBeDefined();
    expect(a).toEqual(b);
    expect(new Set(world.called.map((one) => JSON.stringify(one))).size).toBe(1);
  });
});

describe('the link is cut both ways, and nobody else votes', () => {
  test('nothing is decided; a solo decision is made only by force, and is in force here alone', async () => {
    const { world, cores, cut } = await clouds({ hasWitness: false });
    cut(true);
    const wish = fencing(world.control, 'aws');
    await expect(world.settled(proposeControl(cores.aws, world.control, wish))).rejects.toMatchObject({
      code: 'no_majority',
    });
    await expect(proposeSolo(cores.aws, world.control, wish)).rejects.toMatchObject({ code: 'solo_unforced' });
    // A wish that the own acceptor has half accepted would bind; this one died before.
    const forced = fencing(world.control, 'aws', ['no-witness']);
    const { entry } = await world.settled(proposeSolo(cores.aws, world.control, forced));
    expect(entry).toMatchObject({ epoch: 2, operation: 'aws-1' });
    expect(await cores.aws.control.current()).toEqual(entry);
    expect((await cores.azure.control.current()).epoch).toBe(1);
    const again = await world.settled(proposeSolo(cores.aws, world.control, forced));
    expect(again).toEqual({ entry, own: true });
    expect(await world.aws.journal.head(controlKey(2))).toBeUndefined();
  });

  test('solo on both sides: each finishes alone; when the link heals one history stands, and the loser is kept and reported', async () => {
    const { world, cores, cut, run } = await clouds({ hasWitness: false });
    const placed: Placed[] = [];
    for (const home of ['aws', 'azure'] as const) placed.push(await world.accept({ lines: 20, home }));
    cut(true);
    for (const self of ['aws', 'azure'] as const)
      await world.settled(proposeSolo(cores[self], world.control, fencing(world.control, self, ['no-witness'])));
    await run(60);
    const alone = async (site: Cloud, one: Placed) => {
      const { entries } = await world[site].journal.list(publicationSolosPrefix(one.tenant, one.batch));
      return entries.map(({ key }) => key);
    };
    for (const one of placed)
      for (const site of ['aws', 'azure'] as const) {
        expect(await world.publication(site, one)).toBeUndefined();
        expect(await alone(site, one)).toHaveLength(1);
      }
    const errors: string[] = [];
    for (const core of Object.values(cores)) core.log.error = (event) => void errors.push(event);
    cut(false);
    await run(3);
    // The lower site id stands; the other solo entry stays where it is.
    expect(await json(world, 'azure', controlKey(2))).toMatchObject({ operation: 'aws-1' });
    expect(await json(world, 'aws', controlKey(2))).toMatchObject({ operation: 'aws-1' });
    expect((await cores.azure.control.current()).sites.azure!.state).toBe('fenced');
    await run(120);
    expect(await json(world, 'aws', controlSoloKey(2, 'azure'))).toMatchObject({ operation: 'azure-1' });
    expect(errors).toContain('decision.superseded');
    const reported = (await readSuperseded(cores.aws)).map(({ key }) => key);
    expect(reported).toContain(controlSoloKey(2, 'azure'));
    expect(reported).not.toContain(controlSoloKey(2, 'aws'));
    for (const one of placed) {
      const solos = await alone('aws', one);
      expect(reported).toContain(solos[1]);
      expect(reported).not.toContain(solos[0]);
      const snapshot = await snapshotBatch(cores.azure, one.tenant, one.batch);
      expect(batchObject(snapshot!, world.clock.now()).holdfast.superseded).toMatchObject([{ decided_by: 'azure' }]);
      expect(solos).toHaveLength(2);
      const publication = await json(world, 'aws', publicationKey(one.tenant, one.batch));
      expect(publication).toEqual(await json(world, 'aws', solos[0]!));
      expect((await published(world, 'aws', one)).ids).toEqual(ids(20));
      // The files of the loser can still be read.
      const loser = await json(world, 'aws', solos[1]!);
      expect(await world.aws.journal.head(outputKey(one.tenant, loser.output.sha256))).toBeDefined();
    }
  });
});

describe('a vote stands beside a copy', () => {
  test('F52 a publisher that believes it is alone, asleep until its cloud is lost: what it got the witness to vote for can be read', async () => {
    const { world, cores, cut, run } = await clouds();
    const placed = await world.accept({ lines: 10, home: 'aws' });
    await run(1, ['aws']);
    // Both clouds answer again, but this publisher still believes in the cut: its votes come from its own store and the witness.
    cut(true);
    await world.settled(publishBatch(cores.aws, placed.tenant, placed.batch).catch(() => undefined));
    cut(false);
    darken(world, 'aws');
    const { entry } = await world.settled(proposeControl(cores.azure, world.control, fencing(world.control, 'azure')));
    expect(entry.sites.aws!.state).toBe('fenced');
    await run(60, ['azure']);
    expect((await published(world, 'azure', placed)).ids).toEqual(ids(10));
    expect((await world.publication('azure', placed))!.site).toBe('aws');
  });

  test('F53 a survivor finishes a half-decided publication only with its files, which it takes from whoever has them', async () => {
    const { world, cores, run, linkFromAws } = await clouds();
    const placed = await world.accept({ lines: 10, home: 'aws' });
    for (const faults of [world.aws.faults, linkFromAws]) faults.set('putStreamIfAbsent', { refuse: true });
    await run(1, ['aws']);
    world.aws.faults.clear();
    // Its own store votes, the other cloud takes neither file nor vote, the witness does not answer, and it dies.
    const lonely = { ...cores.aws, witness: undefined };
    await world.settled(publishBatch(lonely, placed.tenant, placed.batch).catch(() => undefined));
    const register = async (site: Cloud) => {
      const { entries } = await world[site].state.list('registers/');
      const key = entries.map((entry) => entry.key).find((one) => one.endsWith(placed.batch));
      const found = key === undefined ? undefined : await world[site].state.get(key);
      return found === undefined ? undefined : JSON.parse(Buffer.from(found.bytes).toString());
    };
    expect((await register('aws')).accepted).not.toBeNull();
    expect((await register('azure')).accepted).toBeNull();
    linkFromAws.clear();
    const missing: string[] = [];
    let votes = 0;
    world.azure.faults.after = async (op, key) => {
      if (op !== 'putIfMatch' || !key.endsWith(placed.batch)) return;
      const { accepted } = await register('azure');
      if (accepted === null) return;
      votes += 1;
      const value = JSON.parse(Buffer.from(accepted.value, 'base64').toString());
      for (const file of [value.output, value.choice]) {
        const held = await world.azure.journal.head(outputKey(placed.tenant, file.sha256));
        if (held === undefined) missing.push(file.sha256);
      }
    };
    await world.settled(publishBatch(cores.azure, placed.tenant, placed.batch));
    expect([votes, missing]).toEqual([1, []]);
    expect((await register('azure')).accepted).not.toBeNull();
    for (const site of ['aws', 'azure'] as const) expect((await published(world, site, placed)).ids).toEqual(ids(10));
    expect((await world.publication('azure', placed))!.site).toBe('aws');
  });

  test('bytes that are not those of the file are no copy: no vote stands beside them', async () => {
    const { world, cores, run } = await clouds();
    const placed = await world.accept({ lines: 10, home: 'aws' });
    const { holdFiles } = await import('../../../shared/worker/hold-files.ts');
    await run(3);
    const publication = (await world.publication('aws', placed))!;
    const key = outputKey(placed.tenant, publication.output!.sha256);
    await world.azure.journal.delete(key);
    // Other bytes come to stand there between our look and our write.
    world.azure.faults.before = (op, where) => {
      if (op === 'putStreamIfAbsent' && where === key)
        return void world.azure.journal.putIfAbsent(key, Buffer.from('torn'));
    };
    const core: Core = { ...cores.azure };
    await expect(world.settled(holdFiles(core, 'azure', publication))).rejects.toMatchObject({ code: 'fact_diverged' });
    await expect(world.settled(holdFiles(core, 'azure', publication))).rejects.toMatchObject({
      name: 'SiteUnavailableError',
    });
  });
});
