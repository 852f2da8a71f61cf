import { connect } from 'node:net';
import { type ServerType, serve } from '@hono/node-server';
import { afterEach, describe, expect, test } from '@jest/globals';
import OpenAI, { toFile } from 'openai';
import { createWorld, inputText, start, upload, type World } from './support.ts';

const servers: ServerType[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    (server as unknown as { closeAllConnections(): void }).closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
});

async function listen(world: World, site: 'aws' | 'azure', options: Parameters<World['api']>[1] = {}): Promise<number> {
  const api = world.api(site, options);
  return new Promise((ready) => {
    servers.push(serve({ fetch: api.fetch, hostname: '127.0.0.1', port: 0 }, ({ port }) => ready(port)));
  });
}

async function clients() {
  const world = createWorld();
  const apiKey = await world.key();
  const client = (port: number) => new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey, maxRetries: 0 });
  return { world, apiKey, aws: client(await listen(world, 'aws')), azure: client(await listen(world, 'azure')) };
}

describe('the official openai client, unmodified', () => {
  test('uploads, lists, reads, downloads and deletes files', async () => {
    const { aws, azure } = await clients();
    const made = await aws.files.create({
      file: await toFile(Buffer.from(inputText(3)), 'in.jsonl'),
      purpose: 'batch',
      expires_after: { anchor: 'created_at', seconds: 7200 },
    });
    expect(made).toMatchObject({ object: 'file', bytes: inputText(3).length, expires_at: start / 1000 + 7200 });
    expect(await azure.files.retrieve(made.id)).toEqual(made);
    expect(await (await azure.files.content(made.id)).text()).toBe(inputText(3));
    const listed: string[] = [];
    for await (const file of azure.files.list({ limit: 1, purpose: 'batch', order: 'asc' })) listed.push(file.id);
    expect(listed).toEqual([made.id]);
    expect(await aws.files.delete(made.id)).toEqual({ id: made.id, object: 'file', deleted: true });
    await expect(azure.files.retrieve(made.id)).rejects.toMatchObject({ status: 404, code: 'not_found', param: 'id' });
  });

  test('creates, reads, pages through and cancels batches; a retry with its idempotency key is the same batch', async () => {
    const { aws, azure } = await clients();
    const file = await aws.files.create({
      file: await toFile(Buffer.from(inputText(3)), 'in.jsonl'),
      purpose: 'batch',
    });
    const request = { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' } as const;
    const made = await aws.batches.create(
      { ...request, metadata: { a: 'b' } },
      { headers: { 'Idempotency-Key': 'k' } },
    );
    expect(made).toMatchObject({ object: 'batch', status: 'validating', metadata: { a: 'b' } });
    const again = await azure.batches.create(
      { ...request, metadata: { a: 'b' } },
      { headers: { 'Idempotency-Key': 'k' } },
    );
    expect(again.id).toBe(made.id);
    for (let i = 0; i < 4; i++) await azure.batches.create(request);
    const seen: string[] = [];
    for await (const batch of aws.batches.list({ limit: 2 })) seen.push(batch.id);
    expect(seen).toHaveLength(5);
    expect(seen).toContain(made.id);
    expect((await azure.batches.cancel(made.id)).status).toBe('cancelling');
    expect((await aws.batches.retrieve(made.id)).status).toBe('cancelling');
  });

  test('uploads in parts', async () => {
    const { aws } = await clients();
    const text = inputText(6);
    const begun = await aws.uploads.create({
      bytes: text.length,
      filename: 'in.jsonl',
      mime_type: 'application/jsonl',
      purpose: 'batch',
    });
    const parts = [];
    for (const piece of [text.slice(0, 100), text.slice(100)])
      parts.push(await aws.uploads.parts.create(begun.id, { data: await toFile(Buffer.from(piece), 'part') }));
    const done = await aws.uploads.complete(begun.id, { part_ids: parts.map(({ id }) => id) });
    expect(done.status).toBe('completed');
    expect(await (await aws.files.content(done.file!.id)).text()).toBe(text);
  });

  test('understands our errors', async () => {
    const { aws } = await clients();
    await expect(aws.batches.retrieve('batch_x')).rejects.toMatchObject({ status: 404, type: 'invalid_request_error' });
    const wrong = new OpenAI({ baseURL: aws.baseURL, apiKey: 'hf_wrong', maxRetries: 0 });
    await expect(wrong.files.list()).rejects.toMatchObject({ status: 401, code: 'invalid_api_key' });
  });
});

describe('over a socket', () => {
  test('a body beyond the limit gets its 413 although nobody reads the body', async () => {
    const world = createWorld();
    const apiKey = await world.key();
    const port = await listen(world, 'aws', { bodyBytesMax: 100_000 });
    const client = new OpenAI({ baseURL: `http://127.0.0.1:${port}/v1`, apiKey, maxRetries: 0 });
    const file = await toFile(Buffer.alloc(5_000_000, 'x'), 'in.jsonl');
    await expect(client.files.create({ file, purpose: 'batch' })).rejects.toMatchObject({ status: 413 });
    expect(await world.keys('aws', 't/')).toEqual([]);
  });

  test('a client that hangs up in the middle of an upload leaves nothing behind, and the server goes on', async () => {
    const world = createWorld();
    const secret = await world.key();
    const port = await listen(world, 'aws');
    const answered = new Promise<void>((resolve) => {
      const { logged } = world;
      const push = logged.push.bind(logged);
      logged.push = (...entries) => {
        if (entries.some(({ event }) => event === 'request.answered')) resolve();
        return push(...entries);
      };
    });
    const socket = connect(port, '127.0.0.1');
    socket.write(
      `POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${secret}\r\ncontent-type: multipart/form-data; boundary=b\r\ncontent-length: 100000\r\n\r\n` +
        `--b\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n${'x'.repeat(5_000)}`,
    );
    await new Promise<void>((begun) => {
      world.hands.aws.journal.faults.before = (op) => {
        if (op === 'putStreamIfAbsent') begun();
      };
    });
    socket.destroy();
    await answered;
    expect(await world.keys('aws', 't/')).toEqual([]);
    expect(await upload(world.api('aws'), secret)).toMatch(/^file-/);
  });
});
