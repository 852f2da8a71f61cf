import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type AwsSite, connectAwsSite } from '../../../functions-aws/adapters/site.ts';
import { patternBytes, readAll, utf8 } from '../../../test/conformance/support.ts';
import { type AwsEmulator, type AwsEmulatorOptions, startAwsEmulator } from '../index.ts';

const MiB = 1024 * 1024;
const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
const options = {
  buckets: ['state', { name: 'journal', versioned: true }],
  queues: [{ name: 'work', visibilityTimeoutS: 30, maxReceiveCount: 2, dlq: 'work-dlq' }],
} satisfies AwsEmulatorOptions;

const connect = (endpoint: string): AwsSite => {
  const url = (name: string) => `${endpoint}/000000000000/${name}`;
  return connectAwsSite({
    id: 'aws',
    region: 'us-east-1',
    endpoint,
    credentials,
    journalBucket: 'journal',
    journalVersioned: true,
    stateBucket: 'state',
    intakeQueueUrl: url('work'),
    workQueueUrl: url('work'),
    intakeDlqUrl: url('work-dlq'),
    workDlqUrl: url('work-dlq'),
    leaseMs: 30_000,
  });
};

async function* chunks(bytes: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes; offset += MiB) yield patternBytes(offset, Math.min(MiB, bytes - offset));
}

/** Signed well enough for an emulator that verifies no signature. */
const signed = { authorization: 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request' };

describe('the AWS emulator', () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-aws-'));
  let emulator: AwsEmulator;
  let site: AwsSite;
  beforeAll(async () => {
    emulator = await startAwsEmulator({ ...options, dataDir });
    site = connect(emulator.endpoint);
  });
  afterAll(async () => {
    await site.close();
    await emulator.close();
    rmSync(dataDir, { recursive: true, force: true });
  });

  describe('answers conditions as S3 does', () => {
    const put = (key: string, body: string, headers: Record<string, string>) =>
      fetch(`${emulator.endpoint}/state/${key}`, { method: 'PUT', body, headers: { ...signed, ...headers } });

    test('a second create is 412 PreconditionFailed', async () => {
      expect((await put('c/1', 'a', { 'if-none-match': '*' })).status).toBe(200);
      const second = await put('c/1', 'b', { 'if-none-match': '*' });
      expect(second.status).toBe(412);
      expect(await second.text()).toContain('<Code>PreconditionFailed</Code>');
    });

    test('If-Match is 412 for another ETag, 404 NoSuchKey for a missing key, and 200 for the right one', async () => {
      const etag = (await put('c/2', 'a', {})).headers.get('etag') ?? '';
      expect((await put('c/2', 'b', { 'if-match': '"0123"' })).status).toBe(412);
      const missing = await put('c/2-missing', 'b', { 'if-match': etag });
      expect(missing.status).toBe(404);
      expect(await missing.text()).toContain('<Code>NoSuchKey</Code>');
      expect((await put('c/2', 'b', { 'if-match': etag })).status).toBe(200);
    });

    test('a completed upload of parts is 412 where the key was created meanwhile, and its parts stay abortable', async () => {
      const racing = async function* () {
        yield* chunks(17 * MiB);
        await site.state.putIfAbsent('c/3', utf8('first'));
      };
      expect(await site.state.putStreamIfAbsent('c/3', racing())).toEqual({ status: 'exists' });
      expect((await site.state.get('c/3'))?.bytes).toEqual(utf8('first'));
      expect(emulator.openUploads()).toBe(0);
    });
  });

  describe('presigned addresses', () => {
    const grant = { expiresInMs: 60_000 };

    test('take an upload of the announced size and give it back', async () => {
      const { url, method, headers } = await site.presigners.state.uploadTo('staging/a', { bytes: 5, ...grant });
      expect((await fetch(url, { method, headers, body: 'hello' })).status).toBe(200);
      const get = await site.presigners.state.downloadFrom('staging/a', {
        ...grant,
        fileName: 'out"put\n.jsonl',
        contentType: 'application/x-ndjson',
      });
      const reply = await fetch(get);
      expect(await reply.text()).toBe('hello');
      expect(reply.headers.get('content-disposition')).toBe('attachment; filename="out_put_.jsonl"');
      expect(reply.headers.get('content-type')).toBe('application/x-ndjson');
    });

    test('with a bearer token beside them are refused: only one auth mechanism is allowed', async () => {
      const url = await site.presigners.state.downloadFrom('staging/a', grant);
      const reply = await fetch(url, { headers: { authorization: 'Bearer hf_local_operator' } });
      expect(reply.status).toBe(400);
      expect(await reply.text()).toContain('Only one auth mechanism allowed');
    });

    test('are refused when their time is over', async () => {
      const url = new URL(await site.presigners.state.downloadFrom('staging/a', grant));
      url.searchParams.set('X-Amz-Date', '20260101T000000Z');
      const reply = await fetch(url);
      expect(reply.status).toBe(403);
      expect(await reply.text()).toContain('Request has expired');
    });

    test('are what it takes: an unsigned request is 403', async () => {
      expect((await fetch(`${emulator.endpoint}/state/staging/a`)).status).toBe(403);
    });
  });

  test('an upload that breaks off in the middle leaves no object and no file', async () => {
    const files = join(dataDir, 'objects');
    const before = readdirSync(files).length;
    const broken = request(`${emulator.endpoint}/state/torn`, {
      method: 'PUT',
      headers: { ...signed, 'content-length': String(10 * MiB) },
    });
    broken.on('error', () => {});
    await new Promise((resolve) => broken.write(patternBytes(0, 4 * MiB), resolve));
    broken.destroy();
    await new Promise((resolve) => broken.once('close', resolve));
    expect(await site.state.head('torn')).toBeUndefined();
    // The emulator learns of it when the socket's end reaches it.
    while (readdirSync(files).length > before) await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test('a body in signed frames with trailers, as SDKs stream it, arrives without them', async () => {
    const client = new S3Client({
      endpoint: emulator.endpoint,
      region: 'us-east-1',
      credentials,
      forcePathStyle: true,
    });
    const bytes = patternBytes(0, 300_000);
    await client.send(
      new PutObjectCommand({
        Bucket: 'state',
        Key: 'framed',
        Body: Readable.from([bytes.subarray(0, 1), bytes.subarray(1, 70_000), bytes.subarray(70_000)]),
        ContentLength: bytes.byteLength,
        ChecksumAlgorithm: 'CRC32',
      }),
    );
    client.destroy();
    expect(Buffer.compare((await site.state.get('framed'))?.bytes ?? utf8(''), bytes)).toBe(0);
  });

  test('delete on a versioned bucket leaves no version behind, and a create after it succeeds', async () => {
    const versions = async () => {
      const reply = await fetch(`${emulator.endpoint}/journal?versions&prefix=v/`, { headers: signed });
      return [...(await reply.text()).matchAll(/<(Version|DeleteMarker)>/g)].length;
    };
    await site.journal.putIfAbsent('v/a', utf8('1'));
    await fetch(`${emulator.endpoint}/journal/v/a`, { method: 'DELETE', headers: signed });
    expect(await site.journal.head('v/a')).toBeUndefined();
    expect(await versions()).toBe(2);
    expect((await site.journal.putIfAbsent('v/a', utf8('2'))).status).toBe('created');
    await site.journal.putIfAbsent('v/a2', utf8('beside'));
    await site.journal.delete('v/a');
    expect(await versions()).toBe(1);
    expect((await site.journal.get('v/a2'))?.bytes).toEqual(utf8('beside'));
  });

  test('calls are counted by operation, and messages seen without being received', async () => {
    const before = emulator.calls.SendMessageBatch ?? 0;
    await site.work.send([
      { id: 'a', body: 'look' },
      { id: 'b', body: 'later', delayMs: 60_000 },
    ]);
    expect(emulator.calls.SendMessageBatch).toBe(before + 1);
    expect(emulator.inspectQueue('work')).toMatchObject({
      ready: [{ body: 'look', receiveCount: 0 }],
      delayed: [{ body: 'later' }],
      inFlight: [],
    });
    emulator.purgeQueue('work');
    expect(await site.work.depth()).toMatchObject({ visible: 0, delayed: 0 });
  });

  test('a dead letter carries its reason, and keeps its body', async () => {
    await site.work.send([{ id: 'a', body: 'unreadable' }]);
    const [message] = await site.work.receive({ waitMs: 1000 });
    await site.work.deadLetter(message!, 'not_json', 'at byte 0 \u0000');
    expect(emulator.inspectQueue('work-dlq').ready).toMatchObject([
      {
        body: 'unreadable',
        attributes: { reason: 'not_json', description: 'at byte 0 \ufffd', sourceMessageId: message!.id },
      },
    ]);
  });

  test('an existing queue that is created again keeps its messages', async () => {
    await site.work.send([{ id: 'a', body: 'kept' }]);
    emulator.createQueue(options.queues[0]!);
    const [message] = await site.work.receive({ waitMs: 1000 });
    expect(message?.body).toBe('kept');
    await site.work.complete(message!);
  });
});

describe('the AWS emulator, killed with kill -9 and started again', () => {
  let dataDir: string;
  let child: ChildProcess | undefined;
  const start = async (): Promise<AwsSite> => {
    const main = join(import.meta.dirname, '../main.ts');
    child = spawn(process.execPath, [main, JSON.stringify({ ...options, dataDir })], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(createInterface({ input: child.stdout! }), 'line');
    return connect(JSON.parse(String(line)).url);
  };
  const kill = async (site: AwsSite) => {
    await site.close();
    child!.kill('SIGKILL');
    await once(child!, 'exit');
  };
  beforeAll(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'holdfast-aws-'));
  });
  afterEach(() => {
    child?.kill('SIGKILL');
  });
  afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

  test('has what it answered for: objects of any size, ETags, messages, leases and receive counts', async () => {
    let site = await start();
    const small = await site.state.putIfAbsent('small', utf8('small'));
    await site.journal.putStreamIfAbsent('large', chunks(17 * MiB + 5));
    await site.work.send([
      { id: 'ready', body: 'ready' },
      { id: 'late', body: 'late', delayMs: 600_000 },
    ]);
    const [back] = await site.work.receive({ waitMs: 1000 });
    expect(await site.work.giveBack(back!)).toBe(true);
    // A body that was being received must not be found again.
    const open = Promise.withResolvers<void>();
    const endless = async function* () {
      yield* chunks(20 * MiB);
      open.resolve();
      await new Promise(() => {});
    };
    const abandoned = site.state.putStreamIfAbsent('abandoned', endless()).catch(() => {});
    await open.promise;
    await kill(site);
    void abandoned;

    site = await start();
    expect(await site.state.get('small')).toEqual({
      bytes: utf8('small'),
      etag: small.status === 'created' && small.etag,
    });
    const large = await site.journal.getStream('large', { range: { offset: 16 * MiB, length: 10 * MiB } });
    expect(Buffer.compare(await readAll(large?.body ?? []), patternBytes(16 * MiB, MiB + 5))).toBe(0);
    expect(await site.state.head('abandoned')).toBeUndefined();
    expect(await site.work.depth()).toEqual({ visible: 1, inFlight: 0, delayed: 1, deadLettered: 0 });
    const [again] = await site.work.receive({ waitMs: 1000 });
    expect(again).toMatchObject({ body: 'ready', deliveryCount: 2 });
    await kill(site);

    site = await start();
    expect(await site.work.depth()).toEqual({ visible: 0, inFlight: 1, delayed: 1, deadLettered: 0 });
    await kill(site);
    // Five parts of `large`, and what `abandoned` had uploaded of its five: its lifecycle would remove that.
    expect(readdirSync(join(dataDir, 'objects')).length).toBeLessThanOrEqual(10);
  });
});
