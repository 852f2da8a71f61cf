import { describe, expect, test } from '@jest/globals';
import { createApi } from '../../../shared/api/index.ts';
import { factBytes } from '../../../shared/journal/facts.ts';
import { sha256 } from '../../../shared/journal/json.ts';
import { fileContentKey, fileMetaKey } from '../../../shared/journal/keys.ts';
import { outputFileMeta } from '../../../shared/journal/outputs.ts';
import { batchFileBytesMax } from '../../../shared/limits.ts';
import { takeExactly } from './big-form.ts';
import {
  bearer,
  call,
  controlEntry,
  createBatch,
  createWorld,
  fileForm,
  inputText,
  publicationOf,
  publish,
  start,
  upload,
} from './support.ts';

const day = 24 * 3_600_000;

describe('uploading a file', () => {
  test('puts content and meta into both journals before it answers, and answers with the File object', async () => {
    const world = createWorld();
    const secret = await world.key();
    const answer = await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(3), 'in.jsonl'));
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^file-[0-9a-f]{27}$/),
      object: 'file',
      bytes: inputText(3).length,
      created_at: start / 1000,
      expires_at: start / 1000 + 30 * 24 * 3600,
      filename: 'in.jsonl',
      purpose: 'batch',
      status: 'processed',
      status_details: null,
      holdfast: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
    });
    for (const site of ['aws', 'azure'] as const)
      expect(await world.keys(site, 't/')).toEqual([
        fileContentKey('acme', answer.body.id),
        fileMetaKey('acme', answer.body.id),
      ]);
  });

  test('is readable on the other cloud, byte for byte', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret, inputText(5));
    const response = await world.api('azure').request(`/v1/files/${id}/content`, { headers: bearer(secret) });
    expect(response.status).toBe(200);
    expect(await response.text()).toBe(inputText(5));
  });

  test('a field after the file counts like one before it', async () => {
    const world = createWorld();
    const form = new FormData();
    form.set('file', new File([inputText(1)], 'late.jsonl'));
    form.set('purpose', 'batch');
    form.set('expires_after[anchor]', 'created_at');
    form.set('expires_after[seconds]', '3600');
    const answer = await call(world.api('aws'), await world.key(), 'POST', '/v1/files', form);
    expect(answer.body).toMatchObject({ expires_at: start / 1000 + 3600, filename: 'late.jsonl' });
  });

  test.each([
    ['a wrong purpose', { purpose: 'fine-tune' }, 'in.jsonl', 'purpose'],
    [
      'an expiry below an hour',
      { 'expires_after[anchor]': 'created_at', 'expires_after[seconds]': '3599' },
      'in.jsonl',
      'expires_after[seconds]',
    ],
    ['half an expiry', { 'expires_after[seconds]': '7200' }, 'in.jsonl', 'expires_after'],
    ['an unknown field', { color: 'red' }, 'in.jsonl', 'color'],
    ['a name that is not .jsonl', {}, 'in.json', 'file'],
  ])('%s is a 400 that names the field, and leaves nothing behind', async (_, fields, name, param) => {
    const world = createWorld();
    const answer = await call(
      world.api('aws'),
      await world.key(),
      'POST',
      '/v1/files',
      fileForm(inputText(2), name, fields as Record<string, string>),
    );
    expect(answer.status).toBe(400);
    expect(answer.body.error).toMatchObject({ type: 'invalid_request_error', param });
    expect(await world.keys('aws', 't/')).toEqual([]);
    expect(await world.keys('azure', 't/')).toEqual([]);
  });

  test('a missing purpose is a 400 that names it', async () => {
    const world = createWorld();
    const form = new FormData();
    form.set('file', new File(['x'], 'in.jsonl'));
    const answer = await call(world.api('aws'), await world.key(), 'POST', '/v1/files', form);
    expect(answer.body.error).toMatchObject({ code: 'missing_required_parameter', param: 'purpose' });
  });

  test('an upload that is cut off is a 400 and leaves nothing behind', async () => {
    const world = createWorld();
    const whole = new Request('http://x/v1/files', { method: 'POST', body: fileForm('y'.repeat(300_000)) });
    const bytes = new Uint8Array(await whole.clone().arrayBuffer());
    for (const cut of [30, 200, 150_000, bytes.length - 6]) {
      const response = await world.api('aws').request('/v1/files', {
        method: 'POST',
        headers: { ...bearer(await world.key()), 'content-type': whole.headers.get('content-type')! },
        body: bytes.slice(0, cut),
      });
      expect([cut, response.status]).toEqual([cut, 400]);
      expect(await response.json()).toMatchObject({ error: { code: 'invalid_form' } });
    }
    expect(await world.keys('aws', 't/')).toEqual([]);
    expect(await world.keys('azure', 't/')).toEqual([]);
  });

  test('a client that breaks the connection leaves nothing behind', async () => {
    const world = createWorld();
    const whole = new Request('http://x/v1/files', { method: 'POST', body: fileForm('y'.repeat(300_000)) });
    const bytes = new Uint8Array(await whole.clone().arrayBuffer());
    let pulls = 0;
    const body = new ReadableStream({
      pull(controller) {
        if (pulls++ === 0) controller.enqueue(bytes.slice(0, 100_000));
        else controller.error(new Error('socket hang up'));
      },
    });
    const response = await world.api('aws').request('/v1/files', {
      method: 'POST',
      headers: { ...bearer(await world.key()), 'content-type': whole.headers.get('content-type')! },
      body,
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(400);
    expect(await world.keys('aws', 't/')).toEqual([]);
  });

  test('strict: a peer that refuses makes it a 503 with Retry-After, and nothing visible stays', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.hands.azure.dark(true);
    const answer = await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(2)));
    expect(answer.status).toBe(503);
    expect(answer.body.error.code).toBe('peer_unavailable');
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await world.keys('aws', 't/')).toEqual([]);
  });

  test('strict: a peer that never takes the bytes is given up after 20 s', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.hands.azure.journal.faults.set('putStreamIfAbsent', { delayMs: 3_600_000 });
    const answering = call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(2)));
    for (let i = 0; i < 20; i++) await world.clock.advance(5_000);
    expect((await answering).body.error.code).toBe('peer_unavailable');
    expect(await world.keys('aws', 't/')).toEqual([]);
  });

  test('available: a peer that refuses is left out, and the file is there', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.hands.azure.dark(true);
    const api = world.api('aws', {}, { intake: 'available' });
    const answer = await call(api, secret, 'POST', '/v1/files', fileForm(inputText(2)));
    expect(answer.status).toBe(200);
    expect(await world.keys('aws', 't/')).toHaveLength(2);
    expect(await world.keys('azure', 't/')).toEqual([]);
  });

  test('a fenced peer is not waited for', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.control.entry = controlEntry({ aws: 'active', azure: 'fenced' }, 2);
    world.hands.azure.dark(true);
    const answer = await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(2)));
    expect(answer.status).toBe(200);
  });

  test('a fenced site takes nothing and says where to go', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.control.entry = controlEntry({ aws: 'fenced', azure: 'active' }, 2);
    const answer = await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(2)));
    expect([answer.status, answer.body.error.code]).toEqual([503, 'site_fenced']);
  });

  test('a key bound to one cloud leaves its bytes there, and the other front door refuses them', async () => {
    const world = createWorld();
    const secret = await world.key({ boundTo: 'aws' });
    const id = await upload(world.api('aws'), secret);
    expect(await world.keys('aws', 't/')).toEqual([fileContentKey('acme', id), fileMetaKey('acme', id)]);
    expect(await world.keys('azure', 't/')).toEqual([fileMetaKey('acme', id)]);
    const elsewhere = await call(world.api('azure'), secret, 'POST', '/v1/files', fileForm(inputText(1)));
    expect([elsewhere.status, elsewhere.body.error.code]).toEqual([403, 'bound_elsewhere']);
    const content = await call(world.api('azure'), secret, 'GET', `/v1/files/${id}/content`);
    expect(content.status).toBe(403);
  });

  test('a body beyond the limit of the cloud is a 413 that names uploads, without being read', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws', { bodyBytesMax: 1000 });
    const answer = await call(api, secret, 'POST', '/v1/files', fileForm('z'.repeat(2000)));
    expect(answer.status).toBe(413);
    expect(answer.body.error.message).toContain('/v1/uploads');
    let pulled = 0;
    const body = new ReadableStream(
      {
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(100));
        },
      },
      { highWaterMark: 0 },
    );
    const announced = await api.request('/v1/files', {
      method: 'POST',
      headers: { ...bearer(secret), 'content-type': 'multipart/form-data; boundary=b', 'content-length': '2000' },
      body,
      duplex: 'half',
    } as RequestInit);
    expect([announced.status, pulled]).toEqual([413, 0]);
  });

  test('200 MB pass through in bounded memory, at the pace of the slower store', async () => {
    const world = createWorld();
    const secret = await world.key();
    const core = world.core('aws');
    const peak = { ahead: 0 };
    const taken = { aws: 0, azure: 0 };
    const discarding = new Map(
      [...core.sites].map(([id, site]) => [
        id,
        {
          ...site,
          journal: {
            ...site.journal,
            putStreamIfAbsent: async (_key: string, body: AsyncIterable<Uint8Array>) => {
              for await (const piece of body) {
                taken[id as 'aws'] += piece.byteLength;
                peak.ahead = Math.max(peak.ahead, Math.abs(taken.aws - taken.azure));
                if (id === 'azure') await new Promise(setImmediate);
              }
              return { status: 'created' as const, etag: 'e' };
            },
          },
        },
      ]),
    );
    const api = createApi(
      { ...core, sites: discarding },
      { bodyBytesMax: 210 * 1024 * 1024, cors: { origins: [] }, version: '0' },
    );
    const before = process.memoryUsage();
    const response = await api.request('/v1/files', takeExactly(secret, batchFileBytesMax));
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ bytes: batchFileBytesMax });
    expect(taken).toEqual({ aws: batchFileBytesMax, azure: batchFileBytesMax });
    expect(peak.ahead).toBeLessThanOrEqual(2 * 1024 * 1024);
    expect(process.memoryUsage().arrayBuffers - before.arrayBuffers).toBeLessThan(100 * 1024 * 1024);
  });

  test('one byte beyond 200 MB is a 413 and leaves nothing behind', async () => {
    const world = createWorld();
    const secret = await world.key();
    const response = await world.api('aws').request('/v1/files', takeExactly(secret, batchFileBytesMax + 1));
    expect(response.status).toBe(413);
    expect(await world.keys('aws', 't/')).toEqual([]);
  });
});

describe('reading files', () => {
  test('another tenant sees neither file nor content, and cannot tell it from one that never was', async () => {
    const world = createWorld();
    const id = await upload(world.api('aws'), await world.key());
    const other = await world.key({ tenant: 'umbrella' });
    for (const path of [`/v1/files/${id}`, `/v1/files/${id}/content`, '/v1/files/file-000']) {
      const answer = await call(world.api('aws'), other, 'GET', path);
      expect([path, answer.status]).toEqual([path, 404]);
      expect(answer.body.error).toMatchObject({ code: 'not_found', param: 'id' });
    }
    expect((await call(world.api('aws'), other, 'DELETE', `/v1/files/${id}`)).status).toBe(404);
  });

  test('an expired file is gone from every door', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret);
    await world.clock.advance(30 * day);
    expect((await call(world.api('aws'), secret, 'GET', `/v1/files/${id}`)).status).toBe(404);
    expect((await call(world.api('aws'), secret, 'GET', '/v1/files')).body.data).toEqual([]);
    const batch = await createBatch(world.api('aws'), secret, id);
    expect([batch.status, batch.body.error.param]).toEqual([404, 'input_file_id']);
  });

  test('content is a download that no browser shows as a page', async () => {
    const world = createWorld();
    const secret = await world.key();
    const answer = await call(
      world.api('aws'),
      secret,
      'POST',
      '/v1/files',
      fileForm('<script>1</script>\n', 'naïve (x).jsonl'),
    );
    const response = await world.api('aws').request(`/v1/files/${answer.body.id}/content`, { headers: bearer(secret) });
    expect(response.headers.get('content-type')).toBe('application/octet-stream');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('content-disposition')).toBe(
      `attachment; filename="na_ve (x).jsonl"; filename*=UTF-8''na%C3%AFve%20%28x%29.jsonl`,
    );
  });

  test('an output file is an ordinary file of its own purpose', async () => {
    const world = createWorld();
    const secret = await world.key();
    const output = '{"id":"batch_req_1"}\n';
    const publication = publicationOf(`batch_${'1'.repeat(32)}`, {
      output: { sha256: sha256(output), bytes: output.length },
    });
    const meta = outputFileMeta(publication, { outputExpiresAfterMs: null }, 'output')!;
    for (const site of ['aws', 'azure'] as const) {
      await world.hands[site].journal.inner.putIfAbsent(meta.contentKey, Buffer.from(output));
      await world.hands[site].journal.inner.putIfAbsent(fileMetaKey('acme', meta.id), factBytes(meta));
    }
    await publish(world, publication);
    const shown = await call(world.api('azure'), secret, 'GET', `/v1/files/${meta.id}`);
    expect(shown.body).toMatchObject({ purpose: 'batch_output', filename: `${publication.batch}_output.jsonl` });
    const content = await world.api('azure').request(`/v1/files/${meta.id}/content`, { headers: bearer(secret) });
    expect(await content.text()).toBe(output);
    await upload(world.api('aws'), secret);
    const outputs = await call(world.api('aws'), secret, 'GET', '/v1/files?purpose=batch_output');
    expect(outputs.body.data.map(({ id }: { id: string }) => id)).toEqual([meta.id]);
    const inputs = await call(world.api('aws'), secret, 'GET', '/v1/files?purpose=batch');
    expect(inputs.body.data.map(({ purpose }: { purpose: string }) => purpose)).toEqual(['batch']);
  });

  test('content that the own journal lacks comes from the other', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret, inputText(4));
    await world.hands.aws.journal.inner.delete(fileContentKey('acme', id));
    const response = await world.api('aws').request(`/v1/files/${id}/content`, { headers: bearer(secret) });
    expect(await response.text()).toBe(inputText(4));
  });

  test('reading works with the own store dark, and with the other dark', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret, inputText(4));
    for (const dark of ['aws', 'azure'] as const) {
      world.hands[dark].dark(true);
      const api = world.api('aws');
      expect([dark, (await call(api, secret, 'GET', `/v1/files/${id}`)).status]).toEqual([dark, 200]);
      expect((await call(api, secret, 'GET', '/v1/files')).body.data).toHaveLength(1);
      const content = await api.request(`/v1/files/${id}/content`, { headers: bearer(secret) });
      expect(await content.text()).toBe(inputText(4));
      world.hands[dark].dark(false);
    }
  });

  test('beyond the response limit content is a redirect, and mirrored first where the own journal lacks it', async () => {
    const world = createWorld();
    const secret = await world.key();
    const id = await upload(world.api('aws'), secret, inputText(100));
    await world.hands.aws.journal.inner.delete(fileContentKey('acme', id));
    const presigner = {
      uploadTo: async () => ({ url: '', method: 'PUT' as const, headers: {} }),
      downloadFrom: async (key: string) => `https://store.example/${key}?signed`,
    };
    const api = world.api('aws', { responseBytesMax: 1000, presign: { state: presigner, journal: presigner } });
    const response = await api.request(`/v1/files/${id}/content`, { headers: bearer(secret) });
    expect(response.status).toBe(302);
    expect(response.headers.get('location')).toBe(`https://store.example/${fileContentKey('acme', id)}?signed`);
    const stored = await world.hands.aws.journal.inner.get(fileContentKey('acme', id));
    expect(Buffer.from(stored!.bytes).toString()).toBe(inputText(100));
  });
});
