import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { mirrorBatch, syncJournals } from '../../../shared/journal/anti-entropy.ts';
import { viewBatch } from '../../../shared/journal/batch.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import {
  acceptancesPrefix,
  apiKeyKey,
  apiKeyRevokedKey,
  fileContentKey,
  fileDeletedKey,
  fileMetaKey,
  manifestKey,
  openKey,
  outputKey,
  publicationKey,
  resultsPrefix,
} from '../../../shared/journal/keys.ts';
import {
  type BatchSpec,
  batchFacts,
  batchId,
  commonFacts,
  dangling,
  fileId,
  inputFile,
  seed,
  tombstoneOf,
  type Written,
} from './journal-world.ts';
import { TwoSites } from './two-sites.ts';

const sites = ['aws', 'azure'] as const;
type SiteName = (typeof sites)[number];
const other = (site: SiteName) => (site === 'aws' ? 'azure' : 'aws');

/** Passes of either site until neither copies anything. */
async function settle(world: TwoSites): Promise<void> {
  for (let pass = 0; pass < 6; pass++) {
    const reports = [await syncJournals(world.core('aws')), await syncJournals(world.core('azure'))];
    if (reports.every(({ copied }) => copied === 0)) return;
  }
  throw new Error('six passes, and still something to copy');
}

/** The journal of a site as it must be when everything was copied. */
function expected(all: readonly Written[], site: SiteName): Map<string, string> {
  const facts = all.filter((one) => !one.isHint && (one.boundTo ?? site) === site);
  const pairs = facts.map(({ key, bytes }): [string, string] => [key, Buffer.from(bytes).toString()]);
  return new Map(pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
}

const specs: BatchSpec[] = [
  { name: 'open' },
  { name: 'published', isPublished: true },
  { name: 'bound', boundTo: 'azure', isPublished: true },
  { name: 'other tenant', tenant: 'acme-2' },
];
const everything = [...commonFacts(), ...inputFile('unused'), ...specs.flatMap(batchFacts)];

describe('a full pass', () => {
  test('fills an empty site with everything but what is bound elsewhere, from either side', async () => {
    for (const full of sites)
      for (const runner of sites) {
        const world = new TwoSites();
        const whole = [...commonFacts(), ...specs.filter(({ boundTo = full }) => boundTo === full).flatMap(batchFacts)];
        await seed(world, full, whole);
        const { failed, cursor } = await syncJournals(world.core(runner));
        expect({ failed, cursor }).toEqual({ failed: 0, cursor: undefined });
        expect(await world.contents(other(full))).toEqual(expected(whole, other(full)));
        expect((await syncJournals(world.core(runner))).copied).toBe(0);
      }
  });

  test('I8: from any two halves, interrupted anywhere, both journals reach equal keys and bytes', async () => {
    const shared = everything.filter(({ isHint }) => !isHint);
    const halves = fc.array(fc.constantFrom('aws', 'azure', 'both'), {
      minLength: shared.length,
      maxLength: shared.length,
    });
    await fc.assert(
      fc.asyncProperty(
        halves,
        fc.integer({ min: 0, max: 200 }),
        fc.constantFrom(...sites),
        async (places, calls, runner) => {
          const world = new TwoSites();
          for (const [i, fact] of shared.entries())
            for (const site of sites)
              if (places[i] === site || places[i] === 'both' || fact.boundTo === site) await seed(world, site, [fact]);
          let left = calls;
          for (const site of sites)
            world.faultsOf(`${site}/journal`).before = () => {
              if (left-- <= 0) throw new Error('the process died');
            };
          await syncJournals(world.core(runner));
          for (const site of sites) world.faultsOf(`${site}/journal`).clear();
          await settle(world);
          for (const site of sites) expect(await world.contents(site)).toEqual(expected(everything, site));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('at every moment, on every store, nothing refers to what is absent', async () => {
    // A site may have been cut off at any moment: what it holds was written in an order that refers to nothing absent.
    const cut = fc.integer({ min: 0, max: everything.length });
    await fc.assert(
      fc.asyncProperty(
        cut,
        cut,
        fc.integer({ min: 1, max: 400 }),
        fc.constantFrom(...sites),
        async (a, b, dies, runner) => {
          const world = new TwoSites();
          await seed(world, 'aws', everything.slice(0, a));
          await seed(world, 'azure', everything.slice(0, b));
          const found: string[] = [];
          let calls = 0;
          for (const site of sites) {
            const faults = world.faultsOf(`${site}/journal`);
            faults.before = () => {
              if (++calls > dies) throw new Error('the process died');
            };
            faults.after = async (op) => {
              const wrong = op.startsWith('put') ? await dangling(world, site, everything) : undefined;
              if (wrong !== undefined) found.push(`${site}: ${wrong}`);
            };
          }
          await syncJournals(world.core(runner));
          expect(found).toEqual([]);
          for (const site of sites) world.faultsOf(`${site}/journal`).before = undefined;
          await settle(world);
          expect(found).toEqual([]);
        },
      ),
      { numRuns: 40 },
    );
  });

  test('control: copying in key order breaks that order', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', everything);
    const found: string[] = [];
    for (const { key } of await world.keys('aws')) {
      await world.journal('azure').putIfAbsent(key, (await world.journal('aws').get(key))!.bytes);
      found.push(...[await dangling(world, 'azure', everything)].filter((one) => one !== undefined));
    }
    expect(found).not.toEqual([]);
  });

  test('goes on from its cursor, in another process too, and then has walked everything', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', everything);
    await seed(
      world,
      'azure',
      everything.filter(({ boundTo }) => boundTo === 'azure'),
    );
    let cursor: string | undefined;
    let calls = 0;
    do {
      const report = await syncJournals(world.core('azure'), { budget: 10, cursor });
      cursor = report.cursor;
      calls += 1;
    } while (cursor !== undefined);
    expect(calls).toBeGreaterThan(5);
    expect(await world.contents('azure')).toEqual(expected(everything, 'azure'));
  });

  test('stops where a site does not answer, says so, and loses nothing by it', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', everything);
    world.dark('azure');
    expect(await syncJournals(world.core('aws'))).toMatchObject({ copied: 0, failed: 1, isStopped: true });
    world.dark('azure', false);
    await settle(world);
    expect((await world.keys('azure')).length).toBeGreaterThan(20);
  });

  test('asks nothing again about what is bound to one site', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'bound', boundTo: 'azure', isPublished: true });
    await seed(world, 'azure', facts);
    const core = world.core('azure');
    await syncJournals(core);
    await syncJournals(core);
    const reads = () => sites.map((site) => world.journal(site).calls.get + world.journal(site).calls.head);
    const before = reads();
    expect(await syncJournals(core)).toMatchObject({ copied: 0, failed: 0 });
    expect(reads()).toEqual(before);
  });

  test('a revocation arrives before its key', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', commonFacts());
    const order: string[] = [];
    world.faultsOf('azure/journal').after = (op, key) => {
      if (op === 'putIfAbsent') order.push(key);
    };
    await syncJournals(world.core('aws'));
    const id = '0123456789abcdef';
    expect(order.indexOf(apiKeyRevokedKey(id))).toBeLessThan(order.indexOf(apiKeyKey(id)));
  });

  test('a control entry is not copied past one that could not be', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', commonFacts());
    world.faultsOf('azure/journal').before = (op, key) => {
      if (op === 'putIfAbsent' && key === 'control/00000002.json') throw new Error('no');
    };
    await syncJournals(world.core('aws'));
    const keys = (await world.journal('azure').list('control/')).entries.map(({ key }) => key);
    expect(keys).toEqual(['control/00000001.json']);
  });

  test('I5: bytes that differ under one key are reported, and neither is touched', async () => {
    for (const foreign of ['longer than it was', 'entry X']) {
      const world = new TwoSites();
      await seed(world, 'aws', commonFacts());
      const key = 'control/00000002.json';
      // The list does not show it yet: somebody writes it between our look and our copy.
      world.faultsOf('azure/journal').before = async (op, at) => {
        if (op === 'putIfAbsent' && at === key) await world.journal('azure').putIfAbsent(key, Buffer.from(foreign));
      };
      expect((await syncJournals(world.core('aws'))).failed).toBe(1);
      expect(world.events('fact.diverged')).toEqual([{ key, site: 'azure' }]);
      expect((await world.contents('aws')).get(key)).toBe('entry 2');
      expect((await world.contents('azure')).get(key)).toBe(foreign);
      const reports = (await world.state('aws').list('quarantine/')).entries;
      expect(reports).toHaveLength(1);
    }
  });

  test('I5: sizes that differ in the lists are reported by every pass', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', inputFile('a'));
    await seed(world, 'azure', inputFile('a'));
    const key = fileContentKey('acme', fileId('a'));
    await world.journal('azure').delete(key);
    await world.journal('azure').putIfAbsent(key, Buffer.from('tampered with'));
    expect((await syncJournals(world.core('aws'))).failed).toBe(1);
    expect((await syncJournals(world.core('azure'))).failed).toBe(1);
    expect(world.events('fact.diverged')).toHaveLength(2);
  });
});

describe('files', () => {
  test('F5: content is copied before its meta, and only with the hash that the meta names', async () => {
    const world = new TwoSites();
    const [content, meta] = inputFile('torn') as [Written, Written];
    await seed(world, 'aws', [{ ...content, bytes: content.bytes.slice(0, -1) }, meta]);
    expect((await syncJournals(world.core('azure'))).failed).toBe(1);
    expect(await world.keys('azure')).toEqual([]);
    await world.journal('aws').delete(content.key);
    await seed(world, 'aws', [content]);
    await settle(world);
    expect([...(await world.contents('azure')).keys()]).toEqual([content.key, meta.key]);
  });

  test('a large content is streamed, and nothing of it stays when its source breaks off', async () => {
    const world = new TwoSites();
    const bytes = Buffer.alloc(9 * 1024 * 1024, 'x');
    const [content, meta] = inputFile('large') as [Written, Written];
    const large = JSON.parse(Buffer.from(meta.bytes).toString());
    const metaBytes = Buffer.from(JSON.stringify({ ...large, bytes: bytes.length, sha256: sha256(bytes) }));
    await seed(world, 'aws', [
      { ...content, bytes },
      { ...meta, bytes: metaBytes },
    ]);
    const core = world.core('azure');
    const source = core.sites.get('aws')!.journal;
    const { getStream } = source;
    source.getStream = async (key, options) => {
      const found = await getStream.call(source, key, options);
      return found && { ...found, body: brokenOff(found.body) };
    };
    expect((await syncJournals(core)).failed).toBe(1);
    expect(await world.keys('azure')).toEqual([]);
    expect(await syncJournals(world.core('azure'))).toMatchObject({ copied: 2, failed: 0 });
    expect(sha256((await world.journal('azure').get(content.key))!.bytes)).toBe(sha256(bytes));
    expect(world.journal('aws').calls.get).toBeLessThan(10);
  });

  test('an upload without its meta is left where it is', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', inputFile('half').slice(0, 1));
    expect(await syncJournals(world.core('aws'))).toMatchObject({ copied: 0, failed: 0 });
    expect(await world.keys('azure')).toEqual([]);
  });

  test('F40: a purged file is not copied back, and what is left of it elsewhere is purged', async () => {
    for (const [aws, azure] of [
      [[tombstoneOf('a')], inputFile('a')],
      [[tombstoneOf('a')], [...inputFile('a'), tombstoneOf('a')]],
      [inputFile('a').slice(1), [...inputFile('a'), tombstoneOf('a')]],
      [[tombstoneOf('a')], inputFile('a').slice(0, 1)],
    ] as [Written[], Written[]][]) {
      const world = new TwoSites();
      await seed(world, 'aws', aws);
      await seed(world, 'azure', azure);
      await settle(world);
      for (const site of sites) expect([...(await world.contents(site)).keys()]).toEqual([tombstoneOf('a').key]);
    }
  });

  test('F40: the bytes of a deleted file are purged only when its tombstone is everywhere', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', [...inputFile('a'), tombstoneOf('a')]);
    await seed(world, 'azure', inputFile('a'));
    world.faultsOf('azure/journal').set('putIfAbsent', { refuse: true });
    expect((await syncJournals(world.core('aws'))).failed).toBe(1);
    for (const site of sites) expect(await world.journal(site).head(fileContentKey('acme', fileId('a')))).toBeDefined();
  });

  test('F40: a deletion between our look and our copy takes the copy along', async () => {
    const facts = inputFile('a');
    for (let moment = 0; moment < 12; moment++) {
      const world = new TwoSites();
      await seed(world, 'aws', facts);
      let calls = 0;
      const purge = async () => {
        for (const site of sites) await seed(world, site, [tombstoneOf('a')]);
        for (const site of sites) for (const { key } of facts) await world.journal(site).delete(key);
      };
      for (const site of sites)
        world.faultsOf(`${site}/journal`).before = async () => {
          if (calls++ === moment) await purge();
        };
      await syncJournals(world.core('aws'));
      if (calls <= moment) continue;
      for (const site of sites) expect([...(await world.contents(site)).keys()]).toEqual([tombstoneOf('a').key]);
    }
  });

  test('F56: a deleted file that an open batch needs is neither purged nor held back from the other site', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'open' });
    await seed(world, 'aws', [...facts, tombstoneOf('open')]);
    await settle(world);
    const content = fileContentKey('acme', fileId('open'));
    for (const site of sites) expect(await world.journal(site).head(content)).toBeDefined();
    for (const site of sites) await world.state(site).delete(openKey('acme', batchId('open')));
    await settle(world);
    for (const site of sites) expect(await world.journal(site).head(content)).toBeUndefined();
  });

  test('a tombstone that cannot be read condemns nothing', async () => {
    const world = new TwoSites();
    const torn = { ...tombstoneOf('a'), bytes: Buffer.from('{}') };
    for (const site of sites) await seed(world, site, [...inputFile('a'), torn]);
    await settle(world);
    for (const site of sites) expect(await world.journal(site).head(fileContentKey('acme', fileId('a')))).toBeDefined();
  });

  test('an output file is listed at a site only after its batch is published there', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', batchFacts({ name: 'p', isPublished: true }));
    const order: string[] = [];
    world.faultsOf('azure/journal').after = (op, key) => {
      if (op.startsWith('put')) order.push(key);
    };
    await syncJournals(world.core('azure'));
    const published = order.indexOf(publicationKey('acme', batchId('p')));
    const listed = order.findIndex((key) => key.endsWith('/meta.json') && !key.includes(fileId('p')));
    expect(published).toBeGreaterThan(0);
    expect(listed).toBeGreaterThan(published);
  });

  test('an output that was lost in one site is brought back, though its publication is in both', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'p', isPublished: true });
    for (const site of sites) await seed(world, site, facts);
    const output = facts.find(({ key }) => key.includes('/outputs/'))!;
    await world.journal('azure').delete(output.key);
    await settle(world);
    expect(await world.journal('azure').head(output.key)).toBeDefined();
  });

  test('an output that no publication names stays where it is: nobody knows whether it may leave', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', [{ key: outputKey('acme', sha256('x')), bytes: Buffer.from('x') }]);
    await settle(world);
    expect(await world.keys('azure')).toEqual([]);
  });
});

describe('one batch', () => {
  const mirror = async (world: TwoSites, name: string, self: SiteName = 'aws') => {
    const core = world.core(self);
    const view = await viewBatch(core, 'acme', batchId(name));
    return mirrorBatch(core, view!);
  };

  test('F6: its hint stands in a site before its manifest, and at no moment a manifest without one', async () => {
    for (let dies = 0; dies < 40; dies++) {
      const world = new TwoSites();
      await seed(world, 'aws', batchFacts({ name: 'b' }));
      let calls = 0;
      for (const name of ['azure/journal', 'azure/state'] as const)
        world.faultsOf(name).before = () => {
          if (calls++ >= dies) throw new Error('the process died');
        };
      await mirror(world, 'b').catch(() => {});
      const hasManifest = (await world.journal('azure').head(manifestKey('acme', batchId('b')))) !== undefined;
      const hasHint = (await world.state('azure').head(openKey('acme', batchId('b')))) !== undefined;
      expect(hasManifest && !hasHint).toBe(false);
    }
  });

  test('arrives whole, with the hint of the site it came from, and not a second time', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b', isPublished: true });
    await seed(world, 'aws', facts);
    expect((await mirror(world, 'b', 'azure')).failed).toBe(0);
    const batchKeys = facts.filter(({ key, isHint }) => !isHint && key.includes('/batches/'));
    for (const { key, bytes } of batchKeys)
      expect((await world.contents('azure')).get(key)).toBe(Buffer.from(bytes).toString());
    const hint = await world.state('azure').get(openKey('acme', batchId('b')));
    expect(hint?.bytes).toEqual((await world.state('aws').get(openKey('acme', batchId('b'))))?.bytes);
    expect(await mirror(world, 'b', 'azure')).toEqual({ copied: 0, failed: 0 });
  });

  test('that is closed everywhere else arrives without a hint', async () => {
    const world = new TwoSites();
    await seed(
      world,
      'aws',
      batchFacts({ name: 'b', isPublished: true }).filter(({ isHint }) => !isHint),
    );
    await syncJournals(world.core('azure'));
    expect(await world.journal('azure').head(publicationKey('acme', batchId('b')))).toBeDefined();
    expect((await world.state('azure').list('open/')).entries).toEqual([]);
  });

  test('F5: no acceptance arrives before the input that it names, and none at all without it', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b' });
    await seed(world, 'aws', facts);
    world.faultsOf('azure/journal').before = (op, key) => {
      if (op.startsWith('put') && key === fileContentKey('acme', fileId('b'))) throw new Error('too large for me');
    };
    expect((await mirror(world, 'b')).failed).toBe(1);
    const keys = [...(await world.contents('azure')).keys()];
    expect(keys.some((key) => key.startsWith(acceptancesPrefix('acme', batchId('b'))))).toBe(false);
    expect(keys).not.toContain(manifestKey('acme', batchId('b')));
    expect(keys).not.toContain(fileMetaKey('acme', fileId('b')));
  });

  test('F53: no publication arrives before the files that it names', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b', isPublished: true });
    await seed(world, 'aws', facts);
    world.faultsOf('azure/journal').before = (op, key) => {
      if (op.startsWith('put') && key.includes('/outputs/')) throw new Error('full');
    };
    expect((await mirror(world, 'b')).failed).toBe(1);
    expect(await world.journal('azure').head(publicationKey('acme', batchId('b')))).toBeUndefined();
    world.faultsOf('azure/journal').clear();
    expect((await mirror(world, 'b')).failed).toBe(0);
    expect(await world.journal('azure').head(publicationKey('acme', batchId('b')))).toBeDefined();
  });

  test('residency: of a bound batch everything arrives but its input, results and outputs', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b', boundTo: 'aws', isPublished: true });
    await seed(world, 'aws', facts);
    await mirror(world, 'b');
    await syncJournals(world.core('azure'));
    const azure = await world.contents('azure');
    expect(azure).toEqual(expected(facts, 'azure'));
    const payload = ['content', resultsPrefix('acme', batchId('b')), '/outputs/'];
    for (const key of azure.keys()) for (const part of payload) expect(key.includes(part) && key).toBe(false);
    const texts = [...azure.values()].join('\n');
    expect(texts).not.toContain('input of');
    expect(texts).not.toContain('output of');
  });

  test('results whose manifest nobody has are not copied: nobody can tell to whom they are bound', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b' }).filter(({ key }) => key.includes('/results/'));
    await seed(world, 'aws', facts);
    await syncJournals(world.core('aws'));
    expect(await world.keys('azure')).toEqual([]);
    expect(world.events('mirror.waiting')).toHaveLength(1);
  });

  test('F54: two acceptances of one request, one in each site, end in both, and the same one counts', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b' });
    const accepted = facts.find(({ key }) => key.includes('/acceptances/'))!;
    const upload = inputFile('again');
    const fact = JSON.parse(Buffer.from(accepted.bytes).toString());
    const uuid = '0'.repeat(32);
    const second = {
      key: accepted.key.replace(fact.uuid, uuid),
      bytes: Buffer.from(JSON.stringify({ ...fact, uuid, site: 'aws', fileId: fileId('again'), at: fact.at - 5 })),
    };
    await seed(world, 'aws', facts);
    await seed(world, 'azure', [
      ...upload,
      ...facts.filter((one) => one !== accepted && !one.key.includes(fileId('b'))),
      second,
    ]);
    await settle(world);
    for (const site of sites) {
      const view = await viewBatch(world.core(site), 'acme', batchId('b'));
      expect(view?.acceptance).toMatchObject({ uuid, fileId: fileId('again') });
      expect(await dangling(world, site, facts)).toBeUndefined();
    }
    expect(await world.contents('aws')).toEqual(await world.contents('azure'));
  });

  test('F55: a partial result and a fuller one of the same lines are two facts, and both arrive', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b' });
    const result = facts.find(({ key }) => key.includes('/results/'))!;
    const fuller = {
      ...result,
      key: result.key.replace(/-[0-9a-f]{32}-/, `-${'e'.repeat(32)}-`),
      bytes: Buffer.from('fuller'),
    };
    await seed(world, 'aws', facts);
    await seed(world, 'azure', [...facts.filter((one) => one !== result), fuller]);
    await settle(world);
    for (const site of sites) {
      expect((await world.contents(site)).get(fuller.key)).toBe('fuller');
      expect(await world.journal(site).head(result.key)).toBeDefined();
    }
  });

  test('F17: what a later version wrote under names of its own is left to those who know it', async () => {
    const world = new TwoSites();
    const facts = batchFacts({ name: 'b' });
    const later = { key: `t/acme/batches/${batchId('b')}/tomorrow/x.json`, bytes: Buffer.from('{"v":2}') };
    await seed(world, 'aws', [...facts, later]);
    await settle(world);
    expect(await world.journal('azure').head(later.key)).toBeUndefined();
    expect(await world.journal('azure').head(manifestKey('acme', batchId('b')))).toBeDefined();
  });

  test('deleted files of other tenants are told apart by name', async () => {
    const world = new TwoSites();
    await seed(world, 'aws', [...inputFile('a'), ...inputFile('a', 'acme-2'), tombstoneOf('a')]);
    await settle(world);
    const azure = await world.contents('azure');
    expect([...azure.keys()]).toEqual(
      [
        fileDeletedKey('acme', fileId('a')),
        fileContentKey('acme-2', fileId('a')),
        fileMetaKey('acme-2', fileId('a')),
      ].sort(),
    );
  });
});

async function* brokenOff(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let pieces = 0;
  for await (const piece of body) {
    if (++pieces > 3) return;
    yield piece;
  }
}
