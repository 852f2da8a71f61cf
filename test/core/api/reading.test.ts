import { describe, expect, test } from '@jest/globals';
import {
  type Answer,
  call,
  controlEntry,
  createBatch,
  createWorld,
  fileForm,
  inputText,
  upload,
  type World,
} from './support.ts';

/** Moves the clock in steps of 100 ms until the answer is there; gives it and how long it took. */
async function timed(world: World, asking: Promise<Answer>): Promise<{ answer: Answer; ms: number }> {
  const from = world.clock.now();
  let answer: Answer | undefined;
  void asking.then((one) => {
    answer = one;
  });
  for (let i = 0; i < 1000 && answer === undefined; i++) await world.clock.advance(100);
  return { answer: await asking, ms: world.clock.now() - from };
}

describe('without the witness', () => {
  test('no answer is another (I13): a wrong key is a 401, a missing file or batch a 404, an acceptance dual', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.hands.witness.dark(true);
    const api = world.api('aws');
    const asked = async (key: string, path: string) => (await call(api, key, 'GET', path)).status;
    expect(await asked('hf_wrong', '/v1/files')).toBe(401);
    expect(await asked(secret, `/v1/files/file-${'0'.repeat(27)}`)).toBe(404);
    expect(await asked(secret, `/v1/batches/batch_${'0'.repeat(32)}`)).toBe(404);
    const { body } = await createBatch(api, secret, await upload(api, secret));
    expect(body.holdfast.receipt).toBe('dual');
    const health = await call(api, secret, 'GET', '/ops/v1/health');
    expect(health.body.stores.filter(({ answers }: { answers: boolean }) => !answers)).toHaveLength(2);
  });
});

describe('with one site fenced', () => {
  test.each(['dark', 'hanging'])('nothing is another with it %s (I13)', async (how) => {
    const world = createWorld();
    const secret = await world.key();
    world.control.entry = controlEntry({ aws: 'active', azure: 'fenced' }, 2);
    const asked = async () => {
      const api = world.api('aws');
      const get = async (key: string, path: string) => (await timed(world, call(api, key, 'GET', path))).answer.status;
      const { answer: file } = await timed(world, call(api, secret, 'POST', '/v1/files', fileForm(inputText(2))));
      const { answer: batch } = await timed(
        world,
        createBatch(api, secret, file.body.id, { key: `k ${file.body.id}` }),
      );
      return [
        await get('hf_wrong', '/v1/files'),
        await get(secret, '/v1/files'),
        await get(secret, `/v1/files/file-${'0'.repeat(27)}`),
        await get(secret, `/v1/batches/batch_${'0'.repeat(32)}`),
        batch.body.holdfast.receipt,
        await get(secret, `/v1/batches/${batch.body.id}`),
        (await timed(world, call(api, secret, 'POST', `/v1/batches/${batch.body.id}/cancel`))).answer.status,
        (await timed(world, createBatch(api, secret, `file-${'0'.repeat(27)}`))).answer.status,
        (await timed(world, call(api, secret, 'DELETE', `/v1/files/${file.body.id}`))).answer.status,
      ];
    };
    const before = await asked();
    if (how === 'dark') world.hands.azure.dark(true);
    else
      for (const part of ['journal', 'state'] as const)
        world.hands.azure[part].faults.set('all', { delayMs: 3_600_000 });
    expect(await asked()).toEqual(before);
    expect(before).toEqual([401, 200, 404, 404, 'single', 200, 200, 404, 409]);
  });
});

describe('reading while the other cloud hangs', () => {
  test('costs one peer time-out, and none for the ten seconds after', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws');
    const file = await upload(api, secret);
    for (let i = 0; i < 30; i++) await createBatch(api, secret, file);
    for (const part of ['journal', 'state'] as const) world.hands.azure[part].faults.set('all', { delayMs: 3_600_000 });
    const first = await timed(world, call(api, secret, 'GET', '/v1/batches'));
    expect([first.answer.status, first.answer.body.data.length]).toEqual([200, 20]);
    expect(first.ms).toBeLessThanOrEqual(6_000);
    const second = await timed(world, call(api, secret, 'GET', '/v1/batches?limit=30'));
    expect([second.answer.body.data.length, second.ms]).toEqual([30, 100]);
    await world.clock.advance(10_000);
    const later = await timed(world, call(api, secret, 'GET', `/v1/batches/${first.answer.body.first_id}`));
    expect([later.answer.status, later.ms <= 6_000]).toEqual([200, true]);
  });

  test('a pause of reads is none for intake: the next acceptance asks the peer itself', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws');
    const file = await upload(api, secret);
    world.hands.azure.journal.faults.set('all', { delayMs: 3_600_000 });
    await timed(world, call(api, secret, 'GET', '/v1/batches'));
    world.hands.azure.journal.faults.clear('all');
    expect((await createBatch(api, secret, file)).status).toBe(200);
  });

  test('a batch that nobody here knows is a 503 while a site is dark, and a 404 when all have answered', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = `batch_${'0'.repeat(32)}`;
    world.hands.azure.dark(true);
    expect((await call(world.api('aws'), secret, 'GET', `/v1/batches/${id}`)).status).toBe(503);
    world.hands.azure.dark(false);
    expect((await call(world.api('aws'), secret, 'GET', `/v1/batches/${id}`)).status).toBe(404);
  });
});
