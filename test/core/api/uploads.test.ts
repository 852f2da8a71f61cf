import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { sha256 } from '../../../shared/journal/json.ts';
import { fileContentKey, stagingKey } from '../../../shared/journal/keys.ts';
import { batchFileBytesMax } from '../../../shared/limits.ts';
import { interleave } from './interleave.ts';
import { type Answer, bearer, call, createBatch, createWorld, inputText, lcg, type World } from './support.ts';

type Api = ReturnType<World['api']>;

const begin = (api: Api, secret: string, bytes: number, more: Record<string, unknown> = {}) =>
  call(api, secret, 'POST', '/v1/uploads', {
    bytes,
    filename: 'in.jsonl',
    mime_type: 'application/jsonl',
    purpose: 'batch',
    ...more,
  });

async function part(api: Api, secret: string, upload: string, data: string): Promise<string> {
  const form = new FormData();
  form.set('data', new File([data], 'blob'));
  const answer = await call(api, secret, 'POST', `/v1/uploads/${upload}/parts`, form);
  expect(answer.body).toMatchObject({
    id: expect.stringMatching(/^part_[0-9a-f]{32}$/),
    object: 'upload.part',
    upload_id: upload,
  });
  return answer.body.id;
}

const complete = (api: Api, secret: string, upload: string, body: Record<string, unknown>) =>
  call(api, secret, 'POST', `/v1/uploads/${upload}/complete`, body);

const staged = async (world: World, upload: string) =>
  (await world.hands.aws.state.inner.list(stagingKey('acme', upload))).entries.map(({ key }) =>
    key.split('/').slice(3).join('/'),
  );

async function begun(text = inputText(10)) {
  const world = createWorld();
  const secret = await world.key();
  const api = world.api('aws');
  const { body } = await begin(api, secret, text.length);
  return { world, secret, api, upload: body.id as string, text };
}

describe('uploads in parts', () => {
  test('are joined in the order of part_ids into both journals, and the file is one like any other', async () => {
    const { world, secret, api, upload, text } = await begun();
    const ids: string[] = [];
    for (const [from, to] of [
      [300, undefined],
      [0, 120],
      [120, 300],
    ] as const)
      ids.push(await part(api, secret, upload, text.slice(from, to)));
    const md5 = createHash('md5').update(text).digest('hex');
    const done = await complete(api, secret, upload, { part_ids: [ids[1], ids[2], ids[0]], md5, sha256: sha256(text) });
    expect(done.body).toMatchObject({
      id: upload,
      object: 'upload',
      status: 'completed',
      bytes: text.length,
      filename: 'in.jsonl',
    });
    const file = done.body.file;
    expect(file).toMatchObject({ object: 'file', bytes: text.length, purpose: 'batch' });
    for (const site of ['aws', 'azure'] as const) {
      const stored = await world.hands[site].journal.inner.get(fileContentKey('acme', file.id));
      expect(Buffer.from(stored!.bytes).toString()).toBe(text);
    }
    expect((await createBatch(world.api('azure'), secret, file.id)).status).toBe(200);
    expect(await staged(world, upload)).toEqual(['ended.json', 'upload.json']);
  });

  test('completing again, also after the parts are gone, gives the same file', async () => {
    const { secret, api, upload, text } = await begun();
    const id = await part(api, secret, upload, text);
    const first = await complete(api, secret, upload, { part_ids: [id] });
    const again = await complete(api, secret, upload, { part_ids: [id] });
    expect([again.status, again.body]).toEqual([200, first.body]);
  });

  test('completing twice at once gives one file, in 50 interleavings, and leaves no other bytes behind', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const { world, secret, api, upload, text } = await begun();
      const id = await part(api, secret, upload, text);
      const settled = await interleave(world, lcg(seed), [
        () => complete(api, secret, upload, { part_ids: [id] }),
        () => complete(api, secret, upload, { part_ids: [id] }),
      ]);
      const answers = settled.map((one) => (one as PromiseFulfilledResult<Answer>).value);
      const files = answers.filter(({ status }) => status === 200).map(({ body }) => body.file.id);
      expect([seed, new Set(files).size]).toEqual([seed, 1]);
      // Whoever comes last may find the parts gone.
      expect([seed, answers.every(({ status }) => status === 200 || status === 400)]).toEqual([seed, true]);
      for (const site of ['aws', 'azure'] as const)
        expect([seed, (await world.keys(site, 't/acme/files/')).length]).toEqual([seed, 2]);
    }
  });

  test('a crash between the end of the upload and the meta is mended by completing again', async () => {
    const { world, secret, api, upload, text } = await begun();
    const id = await part(api, secret, upload, text);
    for (const site of ['aws', 'azure'] as const)
      world.hands[site].journal.faults.before = (_op, key) => {
        if (key.endsWith('/meta.json')) throw new Error('killed');
      };
    expect((await complete(api, secret, upload, { part_ids: [id] })).status).toBeGreaterThanOrEqual(500);
    for (const site of ['aws', 'azure'] as const) world.hands[site].journal.faults.before = undefined;
    const again = await complete(api, secret, upload, { part_ids: [id] });
    const content = await api.request(`/v1/files/${again.body.file.id}/content`, { headers: bearer(secret) });
    expect(await content.text()).toBe(text);
  });

  test.each([
    [
      'a part that was never sent',
      (id: string) => ({ part_ids: [id, `part_${'0'.repeat(32)}`] }),
      'part_not_found',
      'part_ids',
    ],
    ['a part twice', (id: string) => ({ part_ids: [id, id] }), 'invalid_value', 'part_ids'],
    ['fewer bytes than announced', () => ({ part_ids: [] }), 'bytes_mismatch', 'bytes'],
    ['another MD5', (id: string) => ({ part_ids: [id], md5: '0'.repeat(32) }), 'checksum_mismatch', 'md5'],
    ['another SHA-256', (id: string) => ({ part_ids: [id], sha256: '0'.repeat(64) }), 'checksum_mismatch', 'sha256'],
    ['a part id that climbs', () => ({ part_ids: ['../../x'] }), 'invalid_value', 'part_ids.0'],
  ])('%s is a 400 and leaves no file behind; the right completion still works', async (_, wanted, code, param) => {
    const { world, secret, api, upload, text } = await begun();
    const id = await part(api, secret, upload, text);
    const refused = await complete(api, secret, upload, wanted(id));
    expect([refused.status, refused.body.error.code, refused.body.error.param]).toEqual([400, code, param]);
    expect(await world.keys('aws', 't/')).toEqual([]);
    expect(await world.keys('azure', 't/')).toEqual([]);
    expect((await complete(api, secret, upload, { part_ids: [id] })).status).toBe(200);
  });

  test('a cancelled upload takes nothing more, and its bytes are gone', async () => {
    const { world, secret, api, upload, text } = await begun();
    const id = await part(api, secret, upload, text);
    const cancelled = await call(api, secret, 'POST', `/v1/uploads/${upload}/cancel`);
    expect([cancelled.status, cancelled.body.status]).toEqual([200, 'cancelled']);
    expect(await staged(world, upload)).toEqual(['ended.json', 'upload.json']);
    const late = await complete(api, secret, upload, { part_ids: [id] });
    expect([late.status, late.body.error.code]).toEqual([400, 'upload_cancelled']);
    expect((await call(api, secret, 'POST', `/v1/uploads/${upload}/cancel`)).status).toBe(200);
  });

  test('a completed upload cannot be cancelled, an expired one not be completed', async () => {
    const { world, secret, api, upload, text } = await begun();
    const id = await part(api, secret, upload, text);
    const other = (await begin(api, secret, 5)).body.id;
    await complete(api, secret, upload, { part_ids: [id] });
    expect((await call(api, secret, 'POST', `/v1/uploads/${upload}/cancel`)).body.error.code).toBe('upload_completed');
    await world.clock.advance(3_600_000);
    expect((await complete(api, secret, other, { part_ids: [] })).body.error.code).toBe('upload_expired');
  });

  test('an upload of another tenant, and one that never was, are 404', async () => {
    const { world, upload } = await begun();
    const other = await world.key({ tenant: 'umbrella' });
    for (const id of [upload, `upload_${'0'.repeat(32)}`, 'upload_..%2f..', 'x']) {
      const answer = await complete(world.api('aws'), other, id, { part_ids: [] });
      expect([id, answer.status]).toEqual([id, 404]);
    }
  });

  test.each([
    [{ bytes: batchFileBytesMax + 1 }, 'bytes'],
    [{ bytes: 0 }, 'bytes'],
    [{ bytes: 1.5 }, 'bytes'],
    [{ purpose: 'vision' }, 'purpose'],
    [{ filename: 'x.csv' }, 'filename'],
    [{ expires_after: { anchor: 'created_at', seconds: 1 } }, 'expires_after.seconds'],
  ])('beginning with %j is a 400 that names %s', async (more, param) => {
    const world = createWorld();
    const answer = await begin(world.api('aws'), await world.key(), 10, more);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
  });

  test('the file lives as long as the upload asked', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { body } = await begin(world.api('aws'), secret, 3, {
      expires_after: { anchor: 'created_at', seconds: 7200 },
    });
    const id = await part(world.api('aws'), secret, body.id, 'abc');
    const done = await complete(world.api('aws'), secret, body.id, { part_ids: [id] });
    expect(done.body.file.expires_at - done.body.file.created_at).toBe(7200);
  });
});

describe('presigned uploads', () => {
  const presigner = {
    uploadTo: async (key: string, grant: { bytes: number }) => ({
      url: `https://store.example/${key}`,
      method: 'PUT' as const,
      headers: { 'x-bytes': String(grant.bytes) },
    }),
    downloadFrom: async () => '',
  };

  test('give an address to PUT to, and complete copies only what has the announced length and hash', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws', { presign: { state: presigner, journal: presigner } });
    const text = inputText(20);
    const { body } = await begin(api, secret, text.length, { presigned: true });
    const { put } = body.holdfast;
    expect(put).toEqual({
      url: expect.stringContaining(stagingKey('acme', body.id)),
      method: 'PUT',
      headers: { 'x-bytes': String(text.length) },
    });
    const early = await complete(api, secret, body.id, { part_ids: [], sha256: sha256(text) });
    expect([early.status, early.body.error.code]).toEqual([400, 'part_not_found']);
    await world.hands.aws.state.inner.putIfAbsent(new URL(put.url).pathname.slice(1), Buffer.from(text));
    const unproven = await complete(api, secret, body.id, { part_ids: [] });
    expect([unproven.status, unproven.body.error.param]).toEqual([400, 'sha256']);
    const other = await complete(api, secret, body.id, { part_ids: [], sha256: sha256('other') });
    expect([other.status, other.body.error.code]).toEqual([400, 'checksum_mismatch']);
    expect(await world.keys('azure', 't/')).toEqual([]);
    const done = await complete(api, secret, body.id, { part_ids: [], sha256: sha256(text) });
    expect(done.status).toBe(200);
    const stored = await world.hands.azure.journal.inner.get(fileContentKey('acme', done.body.file.id));
    expect(Buffer.from(stored!.bytes).toString()).toBe(text);
  });

  test('take no parts, and are a 400 where the cloud has none', async () => {
    const world = createWorld();
    const secret = await world.key();
    expect((await begin(world.api('azure'), secret, 5, { presigned: true })).body.error.param).toBe('presigned');
    const api = world.api('aws', { presign: { state: presigner, journal: presigner } });
    const { body } = await begin(api, secret, 5, { presigned: true });
    const form = new FormData();
    form.set('data', new File(['x'], 'blob'));
    expect((await call(api, secret, 'POST', `/v1/uploads/${body.id}/parts`, form)).body.error.code).toBe(
      'upload_presigned',
    );
  });
});
