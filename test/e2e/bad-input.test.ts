import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { brotliCompressSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type OpenAI from 'openai';
import { canaryTenant } from '../../shared/health/canary-batch.ts';
import { openPrefix } from '../../shared/journal/keys.ts';
import { listAll } from '../../shared/ports/object-store.ts';
import { chatLine } from './files.ts';
import { bootMs, startClouds, type TestClouds, until } from './support.ts';

const clouds = ['aws', 'azure'] as const;
type Cloud = (typeof clouds)[number];

let world: TestClouds;
/** A submitter of another tenant. */
let strangerKey: string;
/** A file and a batch of the tenant that all others ask with. */
let known: { file: string; batch: string };

beforeAll(async () => {
  world = await startClouds();
  const made = await ask('aws', '/ops/v1/keys', json({ tenant: 'stranger', role: 'submitter' }));
  strangerKey = made.body.secret;
  const client = world.client('aws');
  const file = await client.files.create({ file: new File([chatLine('known', 'm')], 'known.jsonl'), purpose: 'batch' });
  const batch = await client.batches.create({ input_file_id: file.id, ...chat });
  known = { file: file.id, batch: batch.id };
  expect((await ended('aws', batch.id)).status).toBe('completed');
  await untilNothingIsOpen();
}, bootMs);

afterAll(() => world?.stop(), 30_000);

const chat = { endpoint: '/v1/chat/completions', completion_window: '24h' } as const;

/** An answer that is no 2xx, and how it is to be told from others. */
interface Refusal {
  name: string;
  send: (cloud: Cloud) => Promise<Answer>;
  status: number;
  code: string;
  param?: string | null;
}

const refusals: Refusal[] = [
  {
    name: 'a wrong purpose, after the file',
    send: (cloud) =>
      ask(
        cloud,
        '/v1/files',
        form([
          ['file', upload],
          ['purpose', 'fine-tune'],
        ]),
      ),
    status: 400,
    code: 'invalid_value',
    param: 'purpose',
  },
  {
    name: 'no purpose',
    send: (cloud) => ask(cloud, '/v1/files', form([['file', upload]])),
    status: 400,
    code: 'missing_required_parameter',
    param: 'purpose',
  },
  {
    name: 'a form without a file',
    send: (cloud) => ask(cloud, '/v1/files', form([['purpose', 'batch']])),
    status: 400,
    code: 'missing_required_parameter',
    param: 'file',
  },
  {
    name: 'a form that ends before its last boundary',
    send: (cloud) => ask(cloud, '/v1/files', { method: 'POST', headers: formType, body: tornForm }),
    status: 400,
    code: 'invalid_form',
  },
  {
    name: 'a missing key',
    send: (cloud) => ask(cloud, '/v1/files', {}, null),
    status: 401,
    code: 'missing_api_key',
  },
  {
    name: 'an upload with a missing key',
    send: (cloud) =>
      ask(
        cloud,
        '/v1/files',
        form([
          ['purpose', 'batch'],
          ['file', upload],
        ]),
        null,
      ),
    status: 401,
    code: 'missing_api_key',
  },
  {
    name: 'a wrong key',
    send: (cloud) => ask(cloud, '/v1/files', {}, 'hf_nobody'),
    status: 401,
    code: 'invalid_api_key',
  },
  {
    name: 'a key in the address',
    send: (cloud) => ask(cloud, '/v1/files?api_key=hf_local_operator'),
    status: 401,
    code: 'key_in_url',
  },
  {
    name: 'a key in the address alone',
    send: (cloud) => ask(cloud, '/v1/files?key=hf_local_operator', {}, null),
    status: 401,
    code: 'key_in_url',
  },
  {
    name: 'an upload with Content-Encoding br',
    send: (cloud) =>
      ask(
        cloud,
        '/v1/files',
        encoded(
          form([
            ['purpose', 'batch'],
            ['file', upload],
          ]),
        ),
      ),
    status: 415,
    code: 'unsupported_content_encoding',
  },
  {
    name: 'a brotli bomb of 64 MiB as JSON',
    send: (cloud) => ask(cloud, '/v1/batches', { ...encoded(json({})), body: brotliBomb }),
    status: 415,
    code: 'unsupported_content_encoding',
  },
  {
    name: 'a brotli bomb of 64 MiB as a form',
    send: (cloud) => ask(cloud, '/v1/files', { method: 'POST', headers: { ...formType, ...br }, body: brotliBomb }),
    status: 415,
    code: 'unsupported_content_encoding',
  },
  {
    name: 'a JSON body of 2 MB',
    send: (cloud) =>
      ask(cloud, '/v1/batches', json({ ...batchOf(known.file), metadata: { a: 'x'.repeat(2_000_000) } })),
    status: 413,
    code: 'request_too_large',
  },
  {
    name: 'a JSON body nested 5,000 deep',
    send: (cloud) => ask(cloud, '/v1/batches', { ...json({}), body: `${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}` }),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: 'a body that is not JSON',
    send: (cloud) => ask(cloud, '/v1/batches', { ...json({}), body: '{"endpoint":' }),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: 'a JSON body that is not UTF-8',
    send: (cloud) => ask(cloud, '/v1/batches', { ...json({}), body: Buffer.from([0x22, 0xff, 0xfe, 0x22]) }),
    status: 400,
    code: 'invalid_json',
  },
  {
    name: 'an endpoint that is not served',
    send: (cloud) => ask(cloud, '/v1/batches', json({ ...batchOf(known.file), endpoint: '/v1/videos' })),
    status: 400,
    code: 'invalid_value',
    param: 'endpoint',
  },
  {
    name: 'an input file that never was',
    send: (cloud) => ask(cloud, '/v1/batches', json(batchOf('../../keys/x'))),
    status: 404,
    code: 'not_found',
    param: 'input_file_id',
  },
  {
    name: "another tenant's file as input",
    send: (cloud) => ask(cloud, '/v1/batches', json(batchOf(known.file)), strangerKey),
    status: 404,
    code: 'not_found',
    param: 'input_file_id',
  },
  ...[
    ['GET', '/v1/files/FILE'],
    ['GET', '/v1/files/FILE/content'],
    ['DELETE', '/v1/files/FILE'],
    ['GET', '/v1/batches/BATCH'],
    ['POST', '/v1/batches/BATCH/cancel'],
    ['GET', '/ops/v1/explain/BATCH/known'],
  ].map(([method, path]) => ({
    name: `another tenant's id: ${method} ${path}`,
    send: (cloud: Cloud) => {
      const target = path!.replace('FILE', known.file).replace('BATCH', known.batch);
      return ask(cloud, target, { method: method! }, strangerKey);
    },
    status: 404,
    code: 'not_found',
    param: 'id',
  })),
  ...[
    '..%2f..%2fkeys',
    '%2e%2e%2f%2e%2e%2fcontrol%2f1.json',
    'file-..%2F..%2Fmeta',
    '%00',
    '%EF%BC%8E%EF%BC%8E',
    'a'.repeat(1_024),
  ].flatMap((id) =>
    ['/v1/files/ID', '/v1/files/ID/content', '/v1/batches/ID', '/ops/v1/explain/ID/x'].map((path) => ({
      name: `an id that leads elsewhere: GET ${path.replace('ID', id.slice(0, 40))}`,
      send: (cloud: Cloud) => ask(cloud, path.replace('ID', id)),
      status: 404,
      code: 'not_found',
      param: 'id',
    })),
  ),
  {
    name: 'an address above all ids',
    send: (cloud) => ask(cloud, '/v1/files/../../etc/passwd'),
    status: 404,
    code: 'unknown_url',
  },
  {
    name: 'a submitter who makes keys',
    send: (cloud) => ask(cloud, '/ops/v1/keys', json({ tenant: 'local', role: 'operator' }), strangerKey),
    status: 403,
    code: 'insufficient_role',
  },
];

describe('refused at the door, alike on both clouds, and nothing is left of it', () => {
  let before: string[];
  let listed: string[];
  beforeAll(async () => {
    listed = await everyList();
  });
  beforeEach(async () => {
    before = await everyKey();
  });
  afterEach(async () => {
    let now = await everyKey();
    const isAsBefore = async () => {
      now = await everyKey();
      return now.join() === before.join() ? true : undefined;
    };
    await until(isAsBefore, 'stores as before', 20_000).catch(() => {});
    const came = now.filter((key) => !before.includes(key));
    const went = before.filter((key) => !now.includes(key));
    expect({ came, went }).toEqual({ came: [], went: [] });
  });

  test.each(refusals)('$name is a $status $code', async ({ send, status, code, param = null }) => {
    const [aws, azure] = await Promise.all(clouds.map(send));
    const { body } = aws!;
    expect(body).toEqual({ error: { message: expect.any(String), type: expect.any(String), param, code } });
    expect(aws!.status).toBe(status);
    expect(azure).toEqual(aws);
  });

  test.each(clouds)('%s: an upload that is cut off in its middle', async (cloud) => {
    const { port } = new URL(world.clouds[cloud]!.api);
    const head = [
      'POST /v1/files HTTP/1.1',
      'host: 127.0.0.1',
      `authorization: Bearer ${world.clouds.key}`,
      `content-type: ${formType['content-type']}`,
      'content-length: 4000000',
      '',
      '',
    ].join('\r\n');
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), '127.0.0.1', () => {
        socket.write(head);
        socket.write(Buffer.concat([tornForm, Buffer.alloc(1_000_000, 'a')]), () => socket.end());
      });
      let answer = '';
      socket.setEncoding('latin1').on('data', (text: string) => {
        answer += text;
      });
      socket.once('close', () => (/^HTTP\/1.1 2/.test(answer) ? reject(new Error(answer)) : resolve()));
      socket.on('error', () => {});
    });
  });

  test('the lists of files and batches are what they were before', async () => {
    expect(await everyList()).toEqual(listed);
  });
});

/** A file that is taken by upload and refused by its plan. */
interface BadFile {
  name: string;
  content: () => Buffer;
  errors: object[];
}

const good = (id: string) => chatLine(id, 'm');
const edited = (id: string, change: object) => JSON.stringify({ ...JSON.parse(good(id)), ...change });
const lines = (...all: (string | Buffer)[]) =>
  Buffer.concat(all.flatMap((line) => [Buffer.from(line as string), Buffer.from('\n')]));

const badFiles: BadFile[] = [
  { name: 'an empty file', content: () => Buffer.alloc(0), errors: [{ code: 'empty_file', line: null, param: null }] },
  {
    name: 'a byte order mark',
    content: () => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), lines(good('a'), good('b'))]),
    errors: [{ code: 'invalid_json_line', line: 1, param: null }],
  },
  {
    name: '50,001 lines',
    content: () => lines(...Array.from({ length: 50_001 }, (_, i) => good(`${i}`))),
    errors: [{ code: 'too_many_tasks', line: null, param: null }],
  },
  {
    name: 'a custom_id that stands twice',
    content: () => lines(good('a'), good('b'), good('a')),
    errors: [{ code: 'duplicate_custom_id', line: 3, param: 'custom_id' }],
  },
  {
    name: 'a line that is not JSON, and one that is empty',
    content: () => lines(good('a'), 'custom_id=b', '', good('c')),
    errors: [
      { code: 'invalid_json_line', line: 2, param: null },
      { code: 'invalid_json_line', line: 3, param: null },
    ],
  },
  {
    name: 'a wrong url',
    content: () => lines(good('a'), edited('b', { url: '/v1/embeddings' })),
    errors: [{ code: 'url_mismatch', line: 2, param: 'url' }],
  },
  {
    name: 'a second model',
    content: () => lines(good('a'), chatLine('b', 'another')),
    errors: [{ code: 'model_mismatch', line: 2, param: 'body.model' }],
  },
  {
    name: 'stream: true',
    content: () => lines(good('a').replace('"m"', '"m","stream":true'), good('b')),
    errors: [{ code: 'invalid_request', line: 1, param: 'body.stream' }],
  },
  {
    name: 'JSON nested 100 deep',
    content: () => lines(good('a'), good('b').replace('"m"', `"m","deep":${'['.repeat(100)}${']'.repeat(100)}`)),
    errors: [{ code: 'invalid_request', line: 2, param: null }],
  },
  {
    name: 'a line of 5 MB',
    content: () => lines(good('a'), chatLine('b', 'm', 'x'.repeat(5_000_000)), good('c')),
    errors: [{ code: 'invalid_request', line: 2, param: null }],
  },
  {
    name: 'bytes that are not UTF-8',
    content: () => lines(good('a'), Buffer.from(good('b').replace('Say', 'S\u00e4y'), 'latin1')),
    errors: [{ code: 'invalid_json_line', line: 2, param: null }],
  },
  {
    name: 'a key that would change prototypes',
    content: () => lines(good('a'), good('b').replace('"m"', '"m","__proto__":{"x":1}')),
    errors: [{ code: 'invalid_request', line: 2, param: null }],
  },
];

describe('a file that breaks a rule ends as a failed batch, alike on both clouds', () => {
  test.each(badFiles)(
    '$name',
    async ({ content, errors }) => {
      const bytes = content();
      const [aws, azure] = await Promise.all(
        clouds.map(async (cloud) => {
          const batch = await ended(cloud, await submit(cloud, bytes));
          const { status, request_counts, output_file_id, error_file_id } = batch;
          return { status, errors: batch.errors, request_counts, output_file_id, error_file_id };
        }),
      );
      expect(aws).toEqual({
        status: 'failed',
        errors: { object: 'list', data: errors.map((error) => ({ ...error, message: expect.any(String) })) },
        request_counts: { total: 0, completed: 0, failed: 0 },
        output_file_id: null,
        error_file_id: null,
      });
      expect(azure).toEqual(aws);
    },
    120_000,
  );
});

describe('what is unusual and right is taken', () => {
  test.each([
    ['lines that end in CRLF', `${good('a')}\r\n${good('b')}\r\n`],
    ['a last line without its end', `${good('a')}\n${good('b')}`],
    ['empty lines at the end', `${good('a')}\n${good('b')}\n\n\r\n`],
    ['a line separator of Unicode within a line', lines(chatLine('a', 'm', 'one\u2028two'), good('b'))],
  ])(
    '%s',
    async (_, content) => {
      const ends = await Promise.all(
        clouds.map(async (cloud) => {
          const { status, request_counts } = await ended(cloud, await submit(cloud, Buffer.from(content as string)));
          return { status, request_counts };
        }),
      );
      const completed = { status: 'completed', request_counts: { total: 2, completed: 2, failed: 0 } };
      expect(ends).toEqual([completed, completed]);
    },
    120_000,
  );
});

test('after all of it no hint is open in either store, and both clouds work', async () => {
  await untilNothingIsOpen();
  for (const cloud of clouds)
    expect((await ended(cloud, await submit(cloud, lines(good('last'))))).status).toBe('completed');
  await untilNothingIsOpen();
  for (const { id, state } of world.core.sites.values())
    expect({ id, uploads: (await keysIn(state, 'staging/')).filter((key) => /\/(parts\/|whole$)/.test(key)) }).toEqual({
      id,
      uploads: [],
    });
}, 120_000);

/** What a client sees, but for what differs from call to call. */
interface Answer {
  status: number;
  type: string | undefined;
  challenge: string | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: whatever was answered
  body: any;
}

interface Sending {
  method?: string;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

/** Sends a path as it stands, without making it shorter as `fetch` does. */
function ask(
  cloud: Cloud,
  path: string,
  sending: Sending = {},
  key: string | null = world.clouds.key,
): Promise<Answer> {
  const { port } = new URL(world.clouds[cloud]!.api);
  const { method = 'GET', body = '' } = sending;
  const headers = {
    ...sending.headers,
    ...(key !== null && { authorization: `Bearer ${key}` }),
    ...(method !== 'GET' && { 'content-length': String(Buffer.byteLength(body)) }),
  };
  return new Promise((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, path, method, headers, agent: false }, async (response) => {
      const text = Buffer.concat(await response.toArray()).toString('utf8');
      const { 'content-type': type, 'www-authenticate': challenge } = response.headers;
      resolve({ status: response.statusCode!, type, challenge, body: text.startsWith('{') ? JSON.parse(text) : text });
    });
    request.once('error', reject);
    request.end(body);
  });
}

const br = { 'content-encoding': 'br' };
const formType = { 'content-type': 'multipart/form-data; boundary=edge' };
const upload = `${good('upload')}\n`;
const brotliBomb = brotliCompressSync(Buffer.alloc(64 * 1024 * 1024));
const tornForm = Buffer.from(
  '--edge\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n' +
    '--edge\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"custom_id":',
);

function form(fields: [string, string][]): Sending {
  const parts = fields.map(([name, value]) => {
    const filename = name === 'file' ? '; filename="a.jsonl"' : '';
    return `--edge\r\ncontent-disposition: form-data; name="${name}"${filename}\r\n\r\n${value}\r\n`;
  });
  return { method: 'POST', headers: formType, body: `${parts.join('')}--edge--\r\n` };
}

function json(value: object): Sending {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

function encoded(sending: Sending): Sending {
  return { ...sending, headers: { ...sending.headers, ...br }, body: brotliCompressSync(sending.body!) };
}

function batchOf(file: string): object {
  return { input_file_id: file, ...chat };
}

/** Uploads (in parts where one request of either cloud is too short) and submits; gives the batch's id. */
async function submit(cloud: Cloud, bytes: Buffer): Promise<string> {
  const client = world.client(cloud);
  const file =
    bytes.length > 4_000_000
      ? await uploadInParts(client, bytes)
      : await client.files.create({
          file: new File([new Uint8Array(bytes)], 'bad.jsonl'),
          purpose: 'batch',
        });
  expect(file.bytes).toBe(bytes.length);
  return (await client.batches.create({ input_file_id: file.id, ...chat })).id;
}

async function uploadInParts(client: OpenAI, bytes: Buffer): Promise<OpenAI.FileObject> {
  const about = {
    bytes: bytes.length,
    filename: 'bad.jsonl',
    mime_type: 'application/jsonl',
    purpose: 'batch',
  } as const;
  const { id } = await client.uploads.create(about);
  const part_ids: string[] = [];
  for (let at = 0; at < bytes.length; at += 4_000_000) {
    const data = new File([new Uint8Array(bytes.subarray(at, at + 4_000_000))], 'part');
    part_ids.push((await client.uploads.parts.create(id, { data })).id);
  }
  return (await client.uploads.complete(id, { part_ids })).file!;
}

function ended(cloud: Cloud, id: string): Promise<OpenAI.Batch> {
  return until(async () => {
    const batch = await world.client(cloud).batches.retrieve(id);
    return ['completed', 'failed', 'expired', 'cancelled'].includes(batch.status) ? batch : undefined;
  }, `${id} to end`);
}

type Listed = Parameters<typeof listAll>[0];

/** But for those of the monitors' canaries, which come by themselves. */
async function keysIn(store: Listed, prefix: string): Promise<string[]> {
  const keys = (await Array.fromAsync(listAll(store, prefix))).map(({ key }) => key);
  return keys.filter((key) => !key.split('/').includes(canaryTenant));
}

/** Every fact of any tenant, every key and every hint, in both clouds. */
async function everyKey(): Promise<string[]> {
  const all = [...world.core.sites.values()].map(async ({ id, journal, state }) => {
    const found = [
      keysIn(journal, 't/'),
      keysIn(journal, 'keys/'),
      keysIn(state, openPrefix),
      keysIn(state, 'staging/'),
    ];
    return (await Promise.all(found)).flat().map((key) => `${id}: ${key}`);
  });
  return (await Promise.all(all)).flat().sort();
}

/** What each cloud lists. */
async function everyList(): Promise<string[]> {
  const all = clouds.map(async (cloud) => {
    const { files, batches } = world.client(cloud);
    const objects = [...(await Array.fromAsync(files.list())), ...(await Array.fromAsync(batches.list()))];
    return objects.map(({ id }) => `${cloud}: ${id}`);
  });
  return (await Promise.all(all)).flat();
}

async function untilNothingIsOpen(): Promise<void> {
  await until(async () => {
    const open = await Promise.all([...world.core.sites.values()].map(({ state }) => keysIn(state, openPrefix)));
    return open.flat().length === 0 ? true : undefined;
  }, 'every hint to be closed');
}
