import { describe, expect, test } from '@jest/globals';
import {
  getAnywhere,
  listEverywhere,
  payloadSites,
  putEverywhere,
  putOwnFirst,
  streamAnywhere,
} from '../../../shared/journal/replicas.ts';
import { TwoSites } from './two-sites.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));
const text = (found: { bytes: Uint8Array } | undefined) => found && Buffer.from(found.bytes).toString();

describe('writing to several sites', () => {
  test('tells which sites hold it now, one that held it before included, and which do not', async () => {
    const world = new TwoSites();
    await world.journal('aws').putIfAbsent('k', bytes('x'));
    expect(await putEverywhere(world.core('aws'), 'k', bytes('x'))).toMatchObject({ failed: [] });
    world.dark('azure');
    const outcome = await putEverywhere(world.core('aws'), 'k2', bytes('x'));
    expect(outcome).toMatchObject({ written: ['aws'], failed: [{ site: 'azure' }] });
  });

  test('own first: throws if the own store does not take it, and only logs if the peer does not', async () => {
    const world = new TwoSites();
    world.dark('azure');
    expect((await putOwnFirst(world.core('aws'), 'k', bytes('x'))).status).toBe('created');
    expect(world.events('mirror.failed')).toEqual([expect.objectContaining({ key: 'k', site: 'azure' })]);
    await expect(putOwnFirst(world.core('azure'), 'k', bytes('x'))).rejects.toMatchObject({
      name: 'SiteUnavailableError',
    });
  });

  test('own first, bound to the peer: written there or thrown, never here', async () => {
    const world = new TwoSites();
    const core = world.core('aws');
    await putOwnFirst(core, 'k', bytes('x'), payloadSites(core, 'azure'));
    expect(await world.keys('aws')).toEqual([]);
    expect(text(await world.journal('azure').get('k'))).toBe('x');
    world.dark('azure');
    await expect(putOwnFirst(core, 'k2', bytes('x'), ['azure'])).rejects.toMatchObject({
      name: 'SiteUnavailableError',
    });
  });
});

describe('reading from anywhere', () => {
  test('takes the own copy first and the peer only where it must', async () => {
    const world = new TwoSites();
    await world.journal('aws').putIfAbsent('k', bytes('x'));
    await world.journal('azure').putIfAbsent('only there', bytes('y'));
    world.dark('azure');
    expect(text(await getAnywhere(world.core('aws'), 'k'))).toBe('x');
    world.dark('azure', false);
    expect(text(await getAnywhere(world.core('aws'), 'only there', { range: { offset: 0, length: 1 } }))).toBe('y');
    const stream = await streamAnywhere(world.core('aws'), 'only there');
    expect(stream?.bytes).toBe(1);
  });

  test('says nothing of a key while a site that might have it is dark', async () => {
    const world = new TwoSites();
    world.dark('azure');
    await expect(getAnywhere(world.core('aws'), 'k')).rejects.toMatchObject({ name: 'SiteUnavailableError' });
    world.dark('azure', false);
    expect(await getAnywhere(world.core('aws'), 'k')).toBeUndefined();
  });

  test('gives a peer that never answers up after peerTimeoutMs', async () => {
    const world = new TwoSites();
    const core = world.core('aws');
    const hanging = {
      ...core.sites.get('azure')!,
      journal: { ...core.sites.get('azure')!.journal, get: () => new Promise<never>(() => {}) },
    };
    const sleeps: number[] = [];
    const clock = {
      now: () => 0,
      sleep: (ms: number) => {
        sleeps.push(ms);
        return Promise.resolve();
      },
    };
    const sites = new Map([
      ['aws', core.sites.get('aws')!],
      ['azure', hanging],
    ]);
    await expect(getAnywhere({ ...core, clock, sites }, 'k')).rejects.toMatchObject({ code: 'timeout' });
    // And one more turn, for what lies in a socket by then.
    expect(sleeps).toEqual([core.settings.peerTimeoutMs, 0]);
  });
});

describe('listing everywhere', () => {
  test('merges the lists in key order, tells who holds what, and marks sizes that differ', async () => {
    const world = new TwoSites();
    await world.journal('aws').putIfAbsent('p/b', bytes('1'));
    await world.journal('aws').putIfAbsent('p/c', bytes('1'));
    await world.journal('azure').putIfAbsent('p/a', bytes('1'));
    await world.journal('azure').putIfAbsent('p/c', bytes('22'));
    const { keys, unseen } = await listEverywhere(world.core('aws'), 'p/');
    expect(unseen).toEqual([]);
    expect(keys.map(({ key, sites }) => [key, sites.toSorted()])).toEqual([
      ['p/a', ['azure']],
      ['p/b', ['aws']],
      ['p/c', ['aws', 'azure']],
    ]);
    expect(keys.map(({ differsIn }) => differsIn !== undefined)).toEqual([false, false, true]);
  });

  test('names a peer that did not answer, and throws where the own journal does not', async () => {
    const world = new TwoSites();
    world.dark('azure');
    expect((await listEverywhere(world.core('aws'), '')).unseen).toEqual(['azure']);
    await expect(listEverywhere(world.core('azure'), '')).rejects.toMatchObject({ name: 'SiteUnavailableError' });
  });
});
