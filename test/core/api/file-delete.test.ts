import { describe, expect, test } from '@jest/globals';
import { fileContentKey, fileDeletedKey, fileMetaKey, openKey } from '../../../shared/journal/keys.ts';
import { interleave } from './interleave.ts';
import { call, createBatch, createWorld, inputText, lcg, publicationOf, publish, upload } from './support.ts';

const remove = (api: Parameters<typeof call>[0], secret: string, id: string) =>
  call(api, secret, 'DELETE', `/v1/files/${id}`);

describe('deleting a file', () => {
  test('leaves a tombstone in both journals and purges the bytes of both', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    const answer = await remove(world.api('azure'), secret, id);
    expect([answer.status, answer.body]).toEqual([200, { id, object: 'file', deleted: true }]);
    for (const site of ['aws', 'azure'] as const)
      expect(await world.keys(site, 't/')).toEqual([fileDeletedKey('acme', id)]);
    expect((await call(world.api('aws'), secret, 'GET', `/v1/files/${id}`)).status).toBe(404);
    expect((await createBatch(world.api('aws'), secret, id)).status).toBe(404);
  });

  test('again is answered alike, as after a lost reply', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    await remove(world.api('aws'), secret, id);
    expect((await remove(world.api('azure'), secret, id)).body).toEqual({ id, object: 'file', deleted: true });
  });

  test('a tombstone alone hides a file, also where anti-entropy brought its bytes back', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    const kept = await world.hands.aws.journal.inner.get(fileMetaKey('acme', id));
    await remove(world.api('aws'), secret, id);
    await world.hands.aws.journal.inner.putIfAbsent(fileMetaKey('acme', id), kept!.bytes);
    expect((await call(world.api('aws'), secret, 'GET', `/v1/files/${id}`)).status).toBe(404);
    expect((await call(world.api('aws'), secret, 'GET', '/v1/files')).body.data).toEqual([]);
    expect((await createBatch(world.api('aws'), secret, id)).status).toBe(404);
  });

  test('is a 409 without a tombstone while an open batch uses it, and works once the batch has ended', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    const { body: batch } = await createBatch(world.api('aws'), secret, id);
    const refused = await remove(world.api('azure'), secret, id);
    expect([refused.status, refused.body.error.code]).toEqual([409, 'file_in_use']);
    expect(refused.body.error.message).toContain(batch.id);
    expect(await world.keys('azure', fileDeletedKey('acme', id))).toEqual([]);
    await publish(world, publicationOf(batch.id));
    for (const site of ['aws', 'azure'] as const) await world.hands[site].state.inner.delete(openKey('acme', batch.id));
    expect((await remove(world.api('azure'), secret, id)).status).toBe(200);
  });

  test('is not refused for a batch that uses the same bytes under another id', async () => {
    const world = createWorld();
    const secret = await world.key();
    const [one, two] = [await upload(world.api('aws'), secret), await upload(world.api('aws'), secret)];
    await createBatch(world.api('aws'), secret, one);
    expect((await remove(world.api('aws'), secret, two)).status).toBe(200);
    expect((await remove(world.api('aws'), secret, one)).status).toBe(409);
  });

  test('is not refused for ever by an intake that died before it accepted', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    world.hands.aws.journal.faults.before = (op, key) => {
      if (op === 'putIfAbsent' && key.includes('/recent/')) throw new Error('killed');
    };
    expect((await createBatch(world.api('aws'), secret, id)).status).toBe(500);
    world.hands.aws.journal.faults.before = undefined;
    expect((await remove(world.api('aws'), secret, id)).status).toBe(409);
    await world.clock.advance(3_600_000);
    expect((await remove(world.api('aws'), secret, id)).status).toBe(200);
  });

  test('strict: a peer that does not answer makes it a 503, and the bytes stay', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    world.hands.azure.dark(true);
    expect((await remove(world.api('aws'), secret, id)).status).toBe(503);
    expect(await world.keys('aws', 't/')).toContain(fileContentKey('acme', id));
  });

  test('F56: deleted on one cloud while a batch that uses it is accepted on the other: an accepted batch keeps its input, in 400 interleavings', async () => {
    const outcomes = new Map<string, number>();
    for (let seed = 1; seed <= 400; seed++) {
      const world = createWorld();
      const secret = await world.key();
      const id = await upload(world.api('aws'), secret, inputText(1));
      const [accept, del] = await interleave(world, lcg(seed), [
        () => createBatch(world.api('aws'), secret, id, seed % 2 === 0 ? { key: 'k' } : {}),
        () => remove(world.api('azure'), secret, id),
      ]);
      const [batch, deletion] = [accept!, del!].map((one) => (one.status === 'fulfilled' ? one.value.status : 'threw'));
      outcomes.set(`${batch} ${deletion}`, (outcomes.get(`${batch} ${deletion}`) ?? 0) + 1);
      expect([seed, batch]).toEqual([seed, batch === 200 ? 200 : 404]);
      expect([seed, deletion]).toEqual([seed, deletion === 200 ? 200 : 409]);
      expect([seed, batch === 200 && deletion === 200]).toEqual([seed, false]);
      if (batch === 200)
        for (const site of ['aws', 'azure'] as const)
          expect([seed, await world.keys(site, fileContentKey('acme', id))]).toEqual([
            seed,
            [fileContentKey('acme', id)],
          ]);
    }
    // The schedules were worth something: either may win, and both may back off.
    expect([...outcomes.keys()].sort()).toEqual(['200 409', '404 200', '404 409']);
  });
});
