import { describe, expect, test } from '@jest/globals';
import { acceptorsOf, registerOptions } from '../../../shared/control/acceptors.ts';
import { auditControl } from '../../../shared/control/audit.ts';
import { assertControl, verifyChain } from '../../../shared/control/chain.ts';
import { initControl } from '../../../shared/control/init.ts';
import { type ControlDraft, controlView, learnControl, proposeControl } from '../../../shared/control/log.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { canonicalBytes, sha256 } from '../../../shared/journal/json.ts';
import { controlKey, controlRegister, registerKey } from '../../../shared/journal/keys.ts';
import { decide } from '../../../shared/journal/registers.ts';
import { type StoreId, storeIds, TwoSites } from '../journal/two-sites.ts';

const first = {
  sites: { aws: { cloud: 'aws', region: 'eu-central-1' }, azure: { cloud: 'azure', region: 'westeurope' } },
  voters: storeIds.map((store) => ({ store, incarnation: `${store}-1` })),
  actor: 'test',
  reason: 'first entry',
} as const;
const wanted = () => structuredClone(first) as unknown as Parameters<typeof initControl>[1];

/** The entry that fences `site`. */
function fencing(previous: ControlEntry, site: string, operation: string): ControlDraft {
  const { v: _v, kind: _kind, epoch, previous: _hash, ...rest } = structuredClone(previous);
  rest.sites[site] = { ...rest.sites[site]!, state: 'fenced', weight: 0, fencedEpoch: epoch + 1 };
  return { ...rest, actor: `operator of ${operation}`, reason: `fence ${site}`, operation, at: 1 };
}

/** The same state once more, under a new number. */
function again(previous: ControlEntry, operation: string): ControlDraft {
  const { v: _v, kind: _kind, epoch: _epoch, previous: _hash, ...rest } = structuredClone(previous);
  return { ...rest, operation, reason: operation };
}

async function started() {
  const world = new TwoSites();
  const entry = await initControl(world.core('aws'), wanted());
  return { world, entry, aws: world.core('aws'), azure: world.core('azure') };
}

const entryIn = async (world: TwoSites, id: StoreId, epoch: number) => {
  const found = await world.journal(id).get(controlKey(epoch));
  return found === undefined ? undefined : (JSON.parse(Buffer.from(found.bytes).toString()) as ControlEntry);
};

describe('the first entry', () => {
  test('is written with the same bytes to all three journals', async () => {
    const { world, entry } = await started();
    expect(entry).toMatchObject({ epoch: 1, previous: null, frozen: false, voters: first.voters });
    expect(entry.sites.aws).toMatchObject({ state: 'active', weight: 50, fencedEpoch: 0, generation: 1 });
    for (const id of storeIds) expect(await entryIn(world, id, 1)).toEqual(entry);
  });

  test('written again by another person at another time, is the one that stands', async () => {
    const { world, entry } = await started();
    world.now += 1_000;
    expect(await initControl(world.core('azure'), { ...wanted(), actor: 'somebody else' })).toEqual(entry);
  });

  test('is finished where a crash left it in one store only', async () => {
    for (const has of storeIds) {
      const { world, entry } = await started();
      for (const id of storeIds) if (id !== has) world.journal(id).wipe();
      expect(await initControl(world.core('azure'), wanted())).toEqual(entry);
      for (const id of storeIds) expect(await entryIn(world, id, 1)).toEqual(entry);
    }
  });

  test('refuses where one for other sites or voters stands, and leaves it alone', async () => {
    const { world, entry, aws } = await started();
    const others = [
      { ...wanted(), voters: storeIds.map((store) => ({ store, incarnation: `${store}-2` })) },
      { ...wanted(), sites: { aws: wanted().sites.aws!, azure: { ...wanted().sites.azure!, region: 'northeurope' } } },
    ];
    for (const other of others)
      await expect(initControl(aws, other)).rejects.toMatchObject({ name: 'ConfigError', key: 'control' });
    expect(await entryIn(world, 'witness', 1)).toEqual(entry);
  });

  test('refuses to fill a store that was emptied after the log went on: it may not vote under its old name', async () => {
    const { world, entry, aws } = await started();
    await proposeControl(aws, entry, again(entry, 'one'));
    world.journal('azure').wipe();
    await expect(initControl(aws, wanted())).rejects.toThrow('azure holds no entry 1');
  });

  test('needs every store, and writes nothing while one is dark', async () => {
    const world = new TwoSites();
    world.dark('witness');
    await expect(initControl(world.core('aws'), wanted())).rejects.toMatchObject({ name: 'SiteUnavailableError' });
    for (const id of storeIds) expect(await world.keys(id)).toEqual([]);
  });

  test('two people starting at once end with one entry', async () => {
    const world = new TwoSites();
    const [a, b] = await Promise.all([
      initControl(world.core('aws'), { ...wanted(), actor: 'a' }),
      initControl(world.core('azure'), { ...wanted(), actor: 'b' }),
    ]);
    expect(a).toEqual(b);
    for (const id of storeIds) expect(await entryIn(world, id, 1)).toEqual(a);
  });
});

describe('proposing an entry', () => {
  test('gets it decided, numbered, chained, and written to all three journals', async () => {
    const { world, entry, aws, azure } = await started();
    const { entry: second, own } = await proposeControl(aws, entry, fencing(entry, 'azure', 'op-1'));
    expect(own).toBe(true);
    expect(second).toMatchObject({ epoch: 2, previous: sha256(canonicalBytes(entry)), actor: 'operator of op-1' });
    for (const id of storeIds) expect(await entryIn(world, id, 2)).toEqual(second);
    expect(await learnControl(azure)).toEqual(second);
    expect(await auditControl(aws)).toEqual({ faults: [], unseen: [] });
  });

  test.each(storeIds)('works with %s dark, and the dark one learns it when it is back', async (id) => {
    const { world, entry } = await started();
    world.dark(id);
    const from = world.core(id === 'aws' ? 'azure' : 'aws');
    const { entry: second, own } = await proposeControl(from, entry, fencing(entry, 'azure', 'op-1'));
    expect(own).toBe(true);
    world.dark(id, false);
    expect(await entryIn(world, id, 2)).toBeUndefined();
    expect(await learnControl(world.core(id === 'azure' ? 'azure' : 'aws'))).toEqual(second);
  });

  test('is not decided twice where a voter forgot it, before anybody knows that it was replaced, and another was away', async () => {
    const { world, entry, aws, azure } = await started();
    world.dark('aws');
    const { entry: second } = await proposeControl(azure, entry, fencing(entry, 'aws', 'person'));
    world.dark('aws', false);
    world.state('azure').wipe();
    expect(await proposeControl(aws, entry, fencing(entry, 'azure', 'machine'))).toEqual({ entry: second, own: false });
    for (const id of storeIds) expect(await entryIn(world, id, 2)).toEqual(second);
  });

  test('F18 F25: two sides that fence each other in the same second end with one entry, and both know it', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const { entry, aws, azure } = await started();
      for (let i = 0; i < seed; i++) aws.random();
      const [byAws, byAzure] = await Promise.all([
        proposeControl(aws, entry, fencing(entry, 'azure', 'machine')),
        proposeControl(azure, entry, fencing(entry, 'aws', 'person')),
      ]);
      expect(byAws.entry).toEqual(byAzure.entry);
      expect([byAws.own, byAzure.own].filter(Boolean)).toHaveLength(1);
      expect(Object.values(byAws.entry.sites).filter(({ state }) => state === 'active')).toHaveLength(1);
    }
  });

  test('F24: a command that is repeated after others finds its own entry and does nothing', async () => {
    const { world, entry, aws } = await started();
    const draft = fencing(entry, 'azure', 'op-1');
    const { entry: second } = await proposeControl(aws, entry, draft);
    const { entry: third } = await proposeControl(aws, second, again(second, 'op-2'));
    expect(await proposeControl(aws, entry, draft)).toEqual({ entry: second, own: true });
    expect(await proposeControl(aws, entry, fencing(entry, 'aws', 'op-3'))).toEqual({ entry: second, own: false });
    expect(await learnControl(aws)).toEqual(third);
    expect(await entryIn(world, 'aws', 4)).toBeUndefined();
  });

  test('I6: nothing is proposed after an entry that cannot be learned', async () => {
    const { entry, aws } = await started();
    const imagined = { ...entry, epoch: 7 };
    await expect(proposeControl(aws, imagined, again(imagined, 'op'))).rejects.toMatchObject({
      code: 'control_unlearned',
    });
  });

  test('I7: an entry that leaves no site active never reaches a register', async () => {
    const { world, entry, aws } = await started();
    const { entry: second } = await proposeControl(aws, entry, fencing(entry, 'azure', 'op-1'));
    await expect(proposeControl(aws, second, fencing(second, 'aws', 'op-2'))).rejects.toMatchObject({
      code: 'no_active_site',
    });
    expect(await world.state('aws').get(registerKey('aws-1', controlRegister(3)))).toBeUndefined();
  });

  test('throws with two stores dark, and what it proposed may still be decided later, once', async () => {
    const { world, entry, aws } = await started();
    world.dark('azure');
    world.dark('witness');
    const proposing = proposeControl(aws, entry, fencing(entry, 'azure', 'op-1'));
    await expect(proposing).rejects.toMatchObject({ code: 'no_majority' });
    world.dark('azure', false);
    world.dark('witness', false);
    expect((await proposeControl(aws, entry, fencing(entry, 'azure', 'op-1'))).entry.epoch).toBe(2);
  });
});

describe('learning the log', () => {
  test('F51: an entry that one store accepted before its decider died is finished by the very site that it fences', async () => {
    const { world, entry, aws, azure } = await started();
    // The decider reaches all for the promise, one for the vote, and is gone.
    let votes = 0;
    for (const id of storeIds)
      world.faultsOf(`${id}/state`).before = (op) => {
        if (op === 'putIfMatch' && ++votes > 1) throw new Error('the decider is dead');
      };
    await expect(proposeControl(aws, entry, fencing(entry, 'azure', 'op-1'))).rejects.toThrow();
    for (const id of storeIds) world.faultsOf(`${id}/state`).clear();
    const learned = await learnControl(azure);
    expect(learned).toMatchObject({ epoch: 2, operation: 'op-1' });
    expect(learned.sites.azure).toMatchObject({ state: 'fenced', fencedEpoch: 2 });
    expect(await entryIn(world, 'azure', 2)).toEqual(learned);
  });

  test('finds an entry that was decided and written to no journal', async () => {
    const { world, entry, aws, azure } = await started();
    for (const id of storeIds) world.faultsOf(`${id}/journal`).set('putIfAbsent', { refuse: true });
    const { entry: second } = await proposeControl(aws, entry, again(entry, 'op-1'));
    for (const id of storeIds) world.faultsOf(`${id}/journal`).clear();
    expect(await entryIn(world, 'azure', 2)).toBeUndefined();
    expect(await learnControl(azure)).toEqual(second);
    for (const id of storeIds) expect(await entryIn(world, id, 2)).toEqual(second);
  });

  test('follows many entries, and a journal that missed most of them', async () => {
    const { world, entry, aws, azure } = await started();
    world.faultsOf('azure/journal').set('putIfAbsent', { refuse: true });
    let head = entry;
    for (let i = 2; i <= 12; i++) head = (await proposeControl(aws, head, again(head, `op-${i}`))).entry;
    world.faultsOf('azure/journal').clear();
    expect(await learnControl(azure)).toEqual(head);
    expect(await entryIn(world, 'azure', 7)).toMatchObject({ epoch: 7 });
    expect((await auditControl(azure)).faults).toEqual([]);
  });

  test('takes votes from the voters that the entry before named', async () => {
    const { world, entry, aws } = await started();
    const draft = again(entry, 'new incarnation');
    const voters = entry.voters.map((one) => (one.store === 'azure' ? { ...one, incarnation: 'azure-2' } : one));
    const { entry: second } = await proposeControl(aws, entry, { ...draft, voters });
    await proposeControl(aws, second, again(second, 'op-3'));
    expect(await world.state('azure').get(registerKey('azure-1', controlRegister(2)))).toBeDefined();
    expect(await world.state('azure').get(registerKey('azure-1', controlRegister(3)))).toBeUndefined();
    expect(await world.state('azure').get(registerKey('azure-2', controlRegister(3)))).toBeDefined();
  });

  test('an entry in the own journal that does not follow its predecessor is reported and not believed', async () => {
    const { world, entry, aws } = await started();
    const forged = { ...again(entry, 'forged'), v: 1, kind: 'control', epoch: 2, previous: '0'.repeat(64) };
    await world.journal('aws').putIfAbsent(controlKey(2), canonicalBytes(forged));
    expect(await learnControl(aws)).toEqual(entry);
    expect(world.events('fact.quarantined').map(({ key }) => key)).toContain(controlKey(2));
    const { entry: second } = await proposeControl(aws, entry, again(entry, 'true'));
    expect(await learnControl(aws)).toEqual(second);
    expect(world.events('fact.diverged')).toContainEqual(expect.objectContaining({ store: 'aws', key: controlKey(2) }));
    expect((await auditControl(aws)).faults).toContainEqual(expect.objectContaining({ epoch: 2 }));
  });

  test('F17: a decided entry of a later version stops the walk instead of being skipped', async () => {
    const { entry, aws } = await started();
    const tomorrow = canonicalBytes({ v: 2, kind: 'control', epoch: 2 });
    await decide(acceptorsOf(aws, entry), controlRegister(2), tomorrow, registerOptions(aws));
    await expect(learnControl(aws)).rejects.toMatchObject({ name: 'TransientError', code: 'fact_unknown' });
    await expect(proposeControl(aws, entry, again(entry, 'op'))).rejects.toMatchObject({ code: 'fact_unknown' });
  });

  test('without a witness configured, the two clouds decide while both answer', async () => {
    const { world, entry } = await started();
    const alone = world.core('aws', { witness: false });
    expect((await proposeControl(alone, entry, again(entry, 'op-1'))).own).toBe(true);
    world.dark('azure');
    const head = await learnControl(alone);
    await expect(proposeControl(alone, head, again(head, 'op-2'))).rejects.toMatchObject({ code: 'no_majority' });
  });
});

describe('the view', () => {
  test('reads the own journal alone, and not again while what it knows is fresh', async () => {
    const { world, entry, aws } = await started();
    const view = controlView(aws, { cacheMs: 5_000 });
    expect(await view.current()).toEqual(entry);
    for (const id of ['azure', 'witness'] as const) world.dark(id);
    const gets = () => world.journal('aws').calls.get;
    const before = gets();
    for (let i = 0; i < 10; i++) expect(await view.current()).toEqual(entry);
    expect(gets()).toBe(before);
    world.now += 5_001;
    await Promise.all([view.current(), view.current(), view.current()]);
    expect(gets()).toBe(before + 1);
  });

  test('of a process that starts at a site that was away shows what was decided meanwhile, before anybody there learns it', async () => {
    const { world, entry, azure } = await started();
    world.dark('aws');
    const { entry: second } = await proposeControl(azure, entry, fencing(entry, 'aws', 'op-1'));
    world.dark('aws', false);
    expect(await entryIn(world, 'aws', 2)).toBeUndefined();
    for (const gone of ['azure', 'witness'] as const) {
      world.dark(gone);
      expect(await controlView(world.core('aws')).current()).toEqual(second);
      world.dark(gone, false);
    }
  });

  test('sees a new entry once the old one is no longer fresh', async () => {
    const { world, entry, aws, azure } = await started();
    const view = controlView(azure, { cacheMs: 1_000 });
    await view.current();
    const { entry: second } = await proposeControl(aws, entry, fencing(entry, 'azure', 'op-1'));
    expect(await view.current()).toEqual(entry);
    world.now += 1_001;
    expect(await view.current()).toEqual(second);
  });

  test('keeps the last entry while every store is dark, and asks again no sooner than usual', async () => {
    const { world, entry, aws } = await started();
    const view = controlView(aws, { cacheMs: 1_000 });
    await view.current();
    for (const id of storeIds) world.dark(id);
    world.now += 1_001;
    expect(await view.current()).toEqual(entry);
    expect(world.events('control.stale')).toHaveLength(1);
    await view.current();
    expect(world.events('control.stale')).toHaveLength(1);
  });

  test('starts from the peer or the witness where the own store is dark, and throws where all are', async () => {
    const { world, entry, aws } = await started();
    world.dark('aws');
    world.dark('azure');
    expect(await controlView(aws).current()).toEqual(entry);
    world.dark('witness');
    await expect(controlView(aws).current()).rejects.toMatchObject({ code: 'control_unknown' });
  });

  test('F23: never gives a pair of entry and state that was not decided together', async () => {
    const { world, entry, aws, azure } = await started();
    const view = controlView(azure, { cacheMs: 0 });
    let head = entry;
    for (let i = 2; i < 8; i++) {
      const sites = structuredClone(head.sites);
      sites.aws = { ...sites.aws!, weight: i };
      head = (await proposeControl(aws, head, { ...again(head, `op-${i}`), sites })).entry;
      world.now += 1;
      const seen = await view.current();
      expect(seen.epoch === 1 || seen.sites.aws!.weight === seen.epoch).toBe(true);
    }
  });
});

describe('the chain', () => {
  const link = (epoch: number, previous: string | null, entry: ControlEntry) =>
    canonicalBytes({ ...entry, epoch, previous });

  test('I12: verifies from the first entry on, and names the first entry that does not follow', async () => {
    const { entry } = await started();
    const one = canonicalBytes(entry);
    const two = link(2, sha256(one), entry);
    const three = link(3, sha256(two), entry);
    expect(verifyChain([one, two, three])).toBeUndefined();
    expect(verifyChain([])).toBeUndefined();
    const rewritten = link(2, sha256(one), { ...entry, reason: 'history, improved' });
    expect(verifyChain([one, rewritten, three])).toMatchObject({ epoch: 3 });
    expect(verifyChain([one, three])).toMatchObject({ epoch: 2 });
    expect(verifyChain([two])).toMatchObject({ epoch: 1 });
    expect(verifyChain([one, new Uint8Array(), three])).toMatchObject({ epoch: 2, fault: { fault: 'torn' } });
  });

  test('I12: a history rewritten in both clouds is betrayed by the witness', async () => {
    const { world, entry, aws } = await started();
    await proposeControl(aws, entry, again(entry, 'true'));
    for (const id of ['aws', 'azure'] as const) {
      await world.journal(id).delete(controlKey(2));
      await world.journal(id).putIfAbsent(controlKey(2), link(2, sha256(canonicalBytes(entry)), entry));
    }
    const { faults } = await auditControl(aws);
    expect(faults).toEqual([{ store: 'witness', epoch: 2, fault: { fault: 'invalid', detail: 'differs from aws' } }]);
  });

  test.each<[string, (next: ControlEntry) => void]>([
    ['fence_invalid', (next) => Object.assign(next.sites.azure!, { state: 'fenced', fencedEpoch: 1 })],
    ['fence_invalid', (next) => Object.assign(next.sites.azure!, { fencedEpoch: 3 })],
    ['no_active_site', (next) => Object.values(next.sites).map((site) => Object.assign(site, { state: 'cordoned' }))],
    ['voters_invalid', (next) => Object.assign(next.voters[1]!, { store: 'aws' })],
  ])('an entry is %s', async (code, spoil) => {
    const { entry } = await started();
    const next = { ...structuredClone(entry), epoch: 2 };
    expect(() => assertControl(next, entry)).not.toThrow();
    spoil(next);
    expect(() => assertControl(next, entry)).toThrow(expect.objectContaining({ code }));
  });
});
