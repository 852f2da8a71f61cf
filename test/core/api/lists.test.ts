import { describe, expect, test } from '@jest/globals';
import { type Acceptance, type FileMeta, factBytes, type Manifest } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import {
  acceptanceKey,
  fileContentKey,
  fileDeletedKey,
  fileMetaKey,
  manifestKey,
  newFileId,
  recentKey,
} from '../../../shared/journal/keys.ts';
import { call, createBatch, createWorld, start, upload, type World } from './support.ts';

const day = 24 * 3_600_000;

/** Puts the facts of `count` accepted batches into both journals, one a second up to now; gives the ids, newest first. */
async function history(world: World, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const batch = `batch_${sha256(`batch ${i}`).slice(0, 32)}`;
    const at = start - 1000 * i;
    const manifest: Manifest = {
      v: 1,
      kind: 'manifest',
      batch,
      tenant: 'acme',
      endpoint: '/v1/embeddings',
      inputSha256: sha256('in'),
      inputBytes: 2,
      windowMs: day,
      metadata: null,
      outputExpiresAfterMs: null,
      boundTo: null,
    };
    const acceptance: Acceptance = {
      v: 1,
      kind: 'acceptance',
      batch,
      tenant: 'acme',
      at,
      site: 'aws',
      epoch: 1,
      uuid: sha256(`${i}`).slice(0, 32),
      home: 'aws',
      fileId: newFileId(at, sha256('in')),
      receipt: 'dual',
      keyId: 'k',
    };
    for (const site of ['aws', 'azure'] as const) {
      const { inner } = world.hands[site].journal;
      await inner.putIfAbsent(manifestKey('acme', batch), factBytes(manifest));
      await inner.putIfAbsent(recentKey('acme', at, batch), new Uint8Array());
      await inner.putIfAbsent(acceptanceKey('acme', batch, acceptance), factBytes(acceptance));
    }
    ids.push(batch);
  }
  return ids;
}

/** Puts `count` files into both journals, one a minute up to now; every `gap`th was deleted. Ids, newest first. */
async function fileHistory(world: World, count: number, gap = Number.POSITIVE_INFINITY): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const createdAt = start - 60_000 * i;
    const id = newFileId(createdAt, sha256(`${i}`));
    const meta: FileMeta = {
      v: 1,
      kind: 'file',
      id,
      tenant: 'acme',
      contentKey: fileContentKey('acme', id),
      bytes: 1,
      sha256: sha256('x'),
      filename: `${i}.jsonl`,
      purpose: 'batch',
      createdAt,
      expiresAt: createdAt + 30 * day,
      boundTo: null,
    };
    for (const site of ['aws', 'azure'] as const) {
      const { inner } = world.hands[site].journal;
      if (i % gap === gap - 1) {
        await inner.putIfAbsent(fileDeletedKey('acme', id), Buffer.from('{}'));
        continue;
      }
      await inner.putIfAbsent(meta.contentKey, Buffer.from('x'));
      await inner.putIfAbsent(fileMetaKey('acme', id), factBytes(meta));
    }
    if (i % gap !== gap - 1) ids.push(id);
  }
  return ids;
}

function callsOf(world: World): number {
  const hands = Object.values(world.hands).flatMap((hand) => [hand.journal.inner, hand.state.inner]);
  return hands.reduce((sum, { calls }) => sum + Object.values(calls).reduce((a, b) => a + b, 0), 0);
}

const idsOf = (body: { data: { id: string }[] }) => body.data.map(({ id }) => id);

describe('listing batches', () => {
  test('a page of 20 costs the same number of store calls of 10², 1,000 and 20,000 batches', async () => {
    const costs: number[] = [];
    for (const count of [100, 1_000, 20_000]) {
      const world = createWorld();
      const secret = await world.key();
      const ids = await history(world, count);
      const api = world.api('aws');
      // Everything after the first request is paid by the list alone.
      await call(api, secret, 'GET', '/v1/batches?limit=1');
      const before = callsOf(world);
      const { body } = await call(api, secret, 'GET', `/v1/batches?after=${ids[49]}`);
      costs.push(callsOf(world) - before);
      expect(idsOf(body)).toEqual(ids.slice(50, 70));
      expect(body).toMatchObject({ object: 'list', first_id: ids[50], last_id: ids[69], has_more: true });
    }
    expect(new Set(costs).size).toBe(1);
    expect(costs[0]).toBeLessThan(200);
  });

  test('the cursor walks all of them once, newest first', async () => {
    const world = createWorld();
    const secret = await world.key();
    const ids = await history(world, 45);
    const seen: string[] = [];
    for (let after = ''; ; ) {
      const { body } = await call(world.api('azure'), secret, 'GET', `/v1/batches?limit=20${after}`);
      seen.push(...idsOf(body));
      if (!body.has_more) break;
      after = `&after=${body.last_id}`;
    }
    expect(seen).toEqual(ids);
  });

  test('ten batches are one page of ten, and a page of exactly all has no more', async () => {
    const world = createWorld();
    const secret = await world.key();
    await history(world, 10);
    for (const limit of [10, 20]) {
      const { body } = await call(world.api('aws'), secret, 'GET', `/v1/batches?limit=${limit}`);
      expect([body.data.length, body.has_more]).toEqual([10, false]);
    }
  });

  test('an empty list has null cursors', async () => {
    const world = createWorld();
    const { body } = await call(world.api('aws'), await world.key(), 'GET', '/v1/batches');
    expect(body).toEqual({ object: 'list', data: [], first_id: null, last_id: null, has_more: false });
  });

  test('a batch accepted by two intakes at once is listed once, where its earliest acceptance says', async () => {
    const world = createWorld();
    const secret = await world.key();
    const [only] = await history(world, 1);
    await world.hands.aws.journal.inner.putIfAbsent(recentKey('acme', start + 500, only!), new Uint8Array());
    const { body } = await call(world.api('aws'), secret, 'GET', '/v1/batches');
    expect(idsOf(body)).toEqual([only]);
  });

  test('what an intake left without an acceptance is not listed, and does not end the page', async () => {
    const world = createWorld();
    const secret = await world.key();
    const ids = await history(world, 5);
    for (let i = 0; i < 5; i++)
      await world.hands.aws.journal.inner.putIfAbsent(
        recentKey('acme', start + i, `batch_${sha256(`dead ${i}`).slice(0, 32)}`),
        new Uint8Array(),
      );
    const { body } = await call(world.api('aws'), secret, 'GET', '/v1/batches?limit=3');
    expect([idsOf(body), body.has_more]).toEqual([ids.slice(0, 3), true]);
  });

  test('a batch that only the other cloud knows is listed, and the list works with the other dark', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('azure'), secret);
    world.hands.aws.dark(true);
    const api = world.api('azure', {}, { intake: 'available' });
    const { body: batch } = await createBatch(api, secret, id);
    expect(batch).toMatchObject({ holdfast: { receipt: 'single' } });
    world.hands.aws.dark(false);
    expect(idsOf((await call(world.api('aws'), secret, 'GET', '/v1/batches')).body)).toEqual([batch.id]);
    world.hands.aws.dark(true);
    expect(idsOf((await call(world.api('azure'), secret, 'GET', '/v1/batches')).body)).toEqual([batch.id]);
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['limit=ten', 'limit'],
    ['color=red', 'color'],
  ])('?%s is a 400 that names the parameter', async (query, param) => {
    const world = createWorld();
    const answer = await call(world.api('aws'), await world.key(), 'GET', `/v1/batches?${query}`);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
  });

  test('a cursor that is no batch of the tenant is a 404', async () => {
    const world = createWorld();
    const [id] = await history(world, 1);
    const other = await world.key({ tenant: 'umbrella' });
    for (const after of [id, `batch_${'0'.repeat(32)}`, '../../x']) {
      const answer = await call(world.api('aws'), other, 'GET', `/v1/batches?after=${after}`);
      expect([after, answer.status, answer.body.error.param]).toEqual([after, 404, 'after']);
    }
  });
});

describe('listing files', () => {
  test.each(['desc', 'asc'] as const)(
    'order %s walks all of 2,500 files once, deleted ones left out',
    async (order) => {
      const world = createWorld();
      const secret = await world.key();
      const ids = await fileHistory(world, 2_500, 3);
      const seen: string[] = [];
      for (let after = ''; ; ) {
        const { body } = await call(world.api('aws'), secret, 'GET', `/v1/files?order=${order}&limit=700${after}`);
        seen.push(...idsOf(body));
        if (!body.has_more) break;
        after = `&after=${body.last_id}`;
      }
      expect(seen).toEqual(order === 'desc' ? ids : ids.toReversed());
    },
  );

  test.each(['desc', 'asc'])(
    'order %s: a page of 20 costs a bounded number of calls of 100, 1,000 and 20,000 files',
    async (order) => {
      const costs: number[] = [];
      for (const count of [100, 1_000, 20_000]) {
        const world = createWorld();
        const secret = await world.key();
        await fileHistory(world, count);
        const api = world.api('aws');
        await call(api, secret, 'GET', '/v1/batches?limit=1');
        const before = callsOf(world);
        const { body } = await call(api, secret, 'GET', `/v1/files?limit=20&order=${order}`);
        costs.push(callsOf(world) - before);
        expect(body.data).toHaveLength(20);
        expect(body.has_more).toBe(true);
      }
      expect(Math.max(...costs)).toBeLessThan(100);
    },
  );

  test('a history of tombstones older than any file can be is not walked', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    for (let i = 0; i < 5_000; i++)
      await world.hands.aws.journal.inner.putIfAbsent(
        fileDeletedKey('acme', newFileId(start - 40 * day - i, sha256(`${i}`))),
        Buffer.from('{}'),
      );
    const api = world.api('aws');
    await call(api, secret, 'GET', '/v1/batches?limit=1');
    const before = callsOf(world);
    expect(idsOf((await call(api, secret, 'GET', '/v1/files')).body)).toEqual([id]);
    expect(callsOf(world) - before).toBeLessThan(6);
  });
});
