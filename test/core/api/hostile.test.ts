import { brotliCompressSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { repeatedKey } from '../../../shared/api/body.ts';
import {
  batchBody,
  bearer,
  call,
  createBatch,
  createWorld,
  fileForm,
  inputText,
  upload,
  type World,
} from './support.ts';

/** Everything either journal holds, keys apart. */
async function records(world: World): Promise<string[]> {
  return [...(await world.keys('aws', 't/')), ...(await world.keys('azure', 't/'))];
}

async function post(
  world: World,
  secret: string,
  path: string,
  body: string | Uint8Array | ReadableStream,
  headers: Record<string, string>,
) {
  const response = await world.api('aws').request(path, {
    method: 'POST',
    headers: { ...bearer(secret), ...headers },
    body,
    duplex: 'half',
  } as RequestInit);
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they get
  return { status: response.status, body: (await response.json()) as any };
}

const json = { 'content-type': 'application/json' };

describe('every refusal', () => {
  test('has the OpenAI error shape with all four fields and a request id, for unknown URLs and methods, too', async () => {
    const world = createWorld();
    const secret = await world.key();
    for (const [method, path, status] of [
      ['GET', '/', 404],
      ['GET', '/v1/models', 404],
      ['PUT', '/v1/files', 405],
      ['DELETE', '/v1/batches/x', 405],
      ['GET', '/v1/batches/x/cancel', 405],
      ['PATCH', '/ops/v1/health', 405],
      ['GET', '/v1/batches/x', 404],
    ] as const) {
      const answer = await call(world.api('aws'), secret, method, path);
      expect([method, path, answer.status]).toEqual([method, path, status]);
      expect(answer.body).toEqual({
        error: {
          message: expect.any(String),
          type: 'invalid_request_error',
          param: path.endsWith('/x') && method === 'GET' ? 'id' : null,
          code: expect.any(String),
        },
      });
      expect(answer.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
      if (status === 405) expect(answer.headers.get('allow')).toMatch(/^(GET|POST|DELETE)/);
    }
  });

  test('an unforeseen error is a 500 that shows nothing of it', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws');
    await call(api, secret, 'GET', '/v1/files');
    world.hands.aws.journal.faults.before = () => {
      throw new TypeError('connection string AccountKey=hunter2');
    };
    const answer = await call(api, secret, 'DELETE', `/v1/files/file-${'0'.repeat(27)}`);
    expect(answer.status).toBe(500);
    expect(JSON.stringify(answer.body)).not.toContain('hunter2');
    expect(answer.body.error).toMatchObject({ type: 'server_error', code: 'internal_error', param: null });
  });

  test('CORS headers go out on refusals, to allowed origins only', async () => {
    const world = createWorld();
    const api = world.api('aws', { cors: { origins: ['http://127.0.0.1:4000'] } });
    const asked = async (origin: string) => {
      const response = await api.request('/v1/batches', { headers: { origin } });
      return [response.status, response.headers.get('access-control-allow-origin')];
    };
    expect(await asked('http://127.0.0.1:4000')).toEqual([401, 'http://127.0.0.1:4000']);
    expect(await asked('http://evil.example')).toEqual([401, null]);
    const preflight = await api.request('/v1/batches', {
      method: 'OPTIONS',
      headers: {
        origin: 'http://127.0.0.1:4000',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-headers')).toContain('authorization');
    const plain = await world.api('aws').request('/v1/batches', { headers: { origin: 'http://127.0.0.1:4000' } });
    expect(plain.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('hostile bodies', () => {
  const file = `file-${'0'.repeat(27)}`;
  const withMetadata = (metadata: string) =>
    `{"input_file_id":"${file}","endpoint":"/v1/responses","completion_window":"24h","metadata":${metadata}}`;
  test.each<[string, string, string]>([
    ['5,000 nested arrays', '['.repeat(5_000) + ']'.repeat(5_000), 'invalid_json'],
    ['5,000 nested arrays in a field', withMetadata('['.repeat(5_000) + ']'.repeat(5_000)), 'invalid_json'],
    ['__proto__', withMetadata('{"__proto__":{"x":"y"}}'), 'invalid_json'],
    ['constructor.prototype', withMetadata('{"constructor":{"prototype":{}}}'), 'invalid_value'],
    ['a duplicate key', `{"endpoint":"/v1/responses","endpoint":"/v1/embeddings"}`, 'duplicate_key'],
    ['a duplicate key, escaped', withMetadata('{"a":"1","\\u0061":"2"}'), 'duplicate_key'],
    [
      '200,001 keys',
      withMetadata(`{${Array.from({ length: 70_000 }, (_, i) => `"${i}":""`).join(',')}}`),
      'invalid_value',
    ],
    ['a lone surrogate', withMetadata('{"a":"\\ud800"}'), 'invalid_value'],
    [
      'a number beyond 2^53 where a count is due',
      `{"input_file_id":"${file}","endpoint":"/v1/responses","completion_window":"24h","output_expires_after":{"anchor":"created_at","seconds":9007199254740993}}`,
      'invalid_value',
    ],
    [
      '1e999',
      `{"input_file_id":"${file}","endpoint":"/v1/responses","completion_window":"24h","output_expires_after":{"anchor":"created_at","seconds":1e999}}`,
      'invalid_value',
    ],
    [
      '-0',
      `{"input_file_id":"${file}","endpoint":"/v1/responses","completion_window":"24h","output_expires_after":{"anchor":"created_at","seconds":-0}}`,
      'invalid_value',
    ],
    ['a byte order mark', `\ufeff${JSON.stringify(batchBody(file))}`, 'invalid_json'],
    ['NUL between tokens', '{\u0000}', 'invalid_json'],
    ['half a text', '{"endpoint":', 'invalid_json'],
    ['nothing', '', 'invalid_json'],
    ['null', 'null', 'invalid_value'],
    ['an array', '[]', 'invalid_value'],
    [
      '17 pairs of metadata',
      withMetadata(JSON.stringify(Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'v'])))),
      'invalid_value',
    ],
    ['a metadata key of 65 characters', withMetadata(`{"${'k'.repeat(65)}":"v"}`), 'invalid_value'],
    ['a metadata value of 513 characters', withMetadata(`{"k":"${'v'.repeat(513)}"}`), 'invalid_value'],
    ['a metadata value that is a number', withMetadata('{"k":1}'), 'invalid_value'],
    ['an unknown parameter', `{"input_file_id":"${file}","color":"red"}`, 'missing_required_parameter'],
  ])('%s: a 400 and no record', async (_, text, code) => {
    const world = createWorld();
    const secret = await world.key();
    const answer = await post(world, secret, '/v1/batches', text, json);
    expect([answer.status, answer.body.error.code]).toEqual([400, code]);
    expect(await records(world)).toEqual([]);
  });

  test.each([
    ['input_file_id', { input_file_id: undefined }, 'missing_required_parameter'],
    ['endpoint', { endpoint: '/v1/moderations' }, 'invalid_value'],
    ['completion_window', { completion_window: '1h' }, 'invalid_value'],
    ['color', { color: 'red' }, 'unknown_parameter'],
    ['metadata.k', { metadata: { k: 5 } }, 'invalid_value'],
  ])('a wrong %s is named with its rule', async (param, more, code) => {
    const world = createWorld();
    const answer = await createBatch(world.api('aws'), await world.key(), file, { more });
    expect(answer.body.error).toMatchObject({ param, code });
    expect(answer.body.error.message).toContain(param);
  });

  test('a message shows a short wrong value, and nothing that could be payload', async () => {
    const world = createWorld();
    const secret = await world.key();
    const short = await createBatch(world.api('aws'), secret, file, { more: { completion_window: '1h' } });
    expect(short.body.error.message).toContain("'1h'");
    const long = await createBatch(world.api('aws'), secret, file, {
      more: { completion_window: 'my secret plan, in full' },
    });
    expect(JSON.stringify(long.body)).not.toContain('secret');
  });

  test('a body that never ends is a 413 after a megabyte, not read to the end', async () => {
    const world = createWorld();
    const secret = await world.key();
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        sent += 64 * 1024;
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
      },
    });
    const answer = await post(world, secret, '/v1/batches', body, json);
    expect([answer.status, answer.body.error.code]).toEqual([413, 'request_too_large']);
    expect(sent).toBeLessThan(2 * 1024 * 1024);
  });

  test('compressed bodies are a 415, however small', async () => {
    const world = createWorld();
    const secret = await world.key();
    const begun = { bytes: 5, filename: 'in.jsonl', mime_type: 'x', purpose: 'batch' };
    const { body: begin } = await call(world.api('aws'), secret, 'POST', '/v1/uploads', begun);
    const form = 'multipart/form-data; boundary=b';
    const bomb = brotliCompressSync(Buffer.alloc(16 * 1024 * 1024));
    for (const [path, type] of [
      ['/v1/files', form],
      [`/v1/uploads/${begin.id}/parts`, form],
      ['/v1/uploads', 'application/json'],
      ['/v1/batches', 'application/json'],
    ] as const)
      for (const encoding of ['br', 'gzip', 'identity, gzip', 'BR']) {
        const headers = { 'content-type': type, 'content-encoding': encoding };
        const answer = await post(world, secret, path, /gzip/.test(encoding) ? gzipSync('{}') : bomb, headers);
        expect([path, encoding, answer.status]).toEqual([path, encoding, 415]);
      }
    expect(await records(world)).toEqual([]);
  });

  test('another media type is a 415', async () => {
    const world = createWorld();
    const secret = await world.key();
    expect((await post(world, secret, '/v1/batches', '{}', { 'content-type': 'text/plain' })).status).toBe(415);
    expect(
      (await post(world, secret, '/v1/files', 'purpose=batch', { 'content-type': 'application/x-www-form-urlencoded' }))
        .status,
    ).toBe(415);
    expect((await post(world, secret, '/v1/files', '{}', json)).status).toBe(415);
  });

  test.each<[string, string, string]>([
    ['no boundary', 'multipart/form-data', 'x'],
    ['an empty boundary', 'multipart/form-data; boundary=', 'x'],
    ['another boundary', 'multipart/form-data; boundary=a', '--b\r\n\r\n\r\n--b--\r\n'],
    ['nothing between the boundaries', 'multipart/form-data; boundary=b', '--b--\r\n'],
    ['a part without headers', 'multipart/form-data; boundary=b', '--b\r\n\r\nx\r\n--b--\r\n'],
    ['headers without end', 'multipart/form-data; boundary=b', `--b\r\nx: ${'y'.repeat(100_000)}`],
    [
      'a thousand fields',
      'multipart/form-data; boundary=b',
      `${Array.from({ length: 1000 }, (_, i) => `--b\r\ncontent-disposition: form-data; name="f${i}"\r\n\r\nx\r\n`).join('')}--b--\r\n`,
    ],
    [
      'two files',
      'multipart/form-data; boundary=b',
      `${'--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\nx\r\n'.repeat(2)}--b--\r\n`,
    ],
    [
      'purpose twice',
      'multipart/form-data; boundary=b',
      `${'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'.repeat(2)}--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\nx\r\n--b--\r\n`,
    ],
    [
      'a field named __proto__',
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="__proto__"\r\n\r\nx\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\nx\r\n--b--\r\n',
    ],
    [
      'a file in another field',
      'multipart/form-data; boundary=b',
      '--b\r\ncontent-disposition: form-data; name="doc"; filename="a.jsonl"\r\n\r\nx\r\n--b--\r\n',
    ],
    [
      'a field of a megabyte',
      'multipart/form-data; boundary=b',
      `--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n${'x'.repeat(1_000_000)}\r\n--b--\r\n`,
    ],
  ])('a form with %s is a 4xx and no record', async (_, type, text) => {
    const world = createWorld();
    const secret = await world.key();
    const answer = await post(world, secret, '/v1/files', text, { 'content-type': type });
    expect([400, 415]).toContain(answer.status);
    expect(answer.body.error.type).toBe('invalid_request_error');
    expect(await records(world)).toEqual([]);
  });
});

describe('hostile names and ids', () => {
  test.each([
    ['../../etc/passwd.jsonl', 'passwd.jsonl'],
    ['..\\..\\windows.jsonl', 'windows.jsonl'],
    ['/absolute/key.jsonl', 'key.jsonl'],
    ['%2e%2e%2fx.jsonl', '%2e%2e%2fx.jsonl'],
    ['<img src=x onerror=alert(1)>.jsonl', '<img src=x onerror=alert(1)>.jsonl'],
    ['ｆｉｌｅ.jsonl', 'ｆｉｌｅ.jsonl'],
  ])('a file named %s is shown as %s, and no key holds the name', async (name, shown) => {
    const world = createWorld();
    const secret = await world.key();
    const answer = await call(world.api('aws'), secret, 'POST', '/v1/files', fileForm(inputText(1), name));
    expect([answer.status, answer.body.filename]).toEqual([200, shown]);
    expect(answer.headers.get('content-type')).toContain('application/json');
    for (const key of await records(world))
      expect(key).toMatch(/^t\/acme\/files\/file-[0-9a-f]{27}\/(content|meta\.json)$/);
  });

  test.each([
    ['a terminal escape', '\u001b[31mred.jsonl'],
    ['a NUL', 'a\u0000.jsonl'],
    ['a right-to-left override', 'a\u202elnosj.exe.jsonl'],
    ['a line separator', 'a\u2028b.jsonl'],
    ['1,024 bytes', `${'n'.repeat(1018)}.jsonl`],
    ['no name but the ending of a path', 'dir/'],
    ['two dots', '..'],
  ])('a file name with %s is a 400 and no record', async (_, name) => {
    const world = createWorld();
    const secret = await world.key();
    const body = `--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b\r\ncontent-disposition: form-data; name="file"; filename="${name}"\r\n\r\nx\r\n--b--\r\n`;
    const answer = await post(world, secret, '/v1/files', body, { 'content-type': 'multipart/form-data; boundary=b' });
    expect(answer.status).toBe(400);
    expect(await records(world)).toEqual([]);
  });

  test('ids that climb, are absolute, overlong or look alike are 404 and reach no store key', async () => {
    const world = createWorld();
    const secret = await world.key();
    const api = world.api('aws');
    await call(api, secret, 'GET', '/v1/files');
    const seen: string[] = [];
    for (const site of ['aws', 'azure'] as const)
      world.hands[site].journal.faults.before = (_op, key) => {
        seen.push(key);
      };
    for (const id of [
      '..%2f..%2fkeys',
      '%2e%2e',
      '%2e%2e%2f%2e%2e',
      '%00',
      '%0d%0aset-cookie:x',
      `batch_${'0'.repeat(1024)}`,
      `batch_${'０'.repeat(32)}`,
      'file-%2e',
      '%ff',
    ])
      for (const path of [
        `/v1/files/${id}`,
        `/v1/files/${id}/content`,
        `/v1/batches/${id}`,
        `/ops/v1/explain/${id}/x`,
      ]) {
        const answer = await call(api, secret, 'GET', path);
        expect([path, answer.status]).toEqual([path, 404]);
        expect(answer.headers.get('set-cookie')).toBeNull();
      }
    expect(seen).toEqual([]);
  });

  test("another tenant's file as input is a 404 that says no more than one that never was", async () => {
    const world = createWorld();
    const theirs = await upload(world.api('aws'), await world.key({ tenant: 'umbrella' }));
    const secret = await world.key();
    const answers = [
      await createBatch(world.api('aws'), secret, theirs),
      await createBatch(world.api('aws'), secret, `file-${'0'.repeat(27)}`),
    ];
    for (const { status, body } of answers)
      expect([status, body.error.code, body.error.param]).toEqual([404, 'not_found', 'input_file_id']);
    expect(answers[0]!.body.error.message.replace(theirs, '')).toBe(
      answers[1]!.body.error.message.replace(`file-${'0'.repeat(27)}`, ''),
    );
  });

  test('HTML in metadata comes back as it was, as JSON that no browser sniffs', async () => {
    const world = createWorld();
    const secret = await world.key();
    const metadata = { '<b>k</b>': '<script>alert(1)</script>', 'nul\u0000': '\u2028', '=cmd()': '\'"' };
    const { status, body } = await createBatch(world.api('aws'), secret, await upload(world.api('aws'), secret), {
      more: { metadata },
    });
    expect([status, body.metadata]).toEqual([200, metadata]);
    const read = await call(world.api('azure'), secret, 'GET', `/v1/batches/${body.id}`);
    expect(read.body.metadata).toEqual(metadata);
    expect(read.headers.get('content-type')).toMatch(/^application\/json/);
    expect(read.headers.get('x-content-type-options')).toBe('nosniff');
  });

  test('nothing of a hostile path gets into a log as a line of its own', async () => {
    const world = createWorld();
    const secret = await world.key();
    await call(world.api('aws'), secret, 'GET', `/v1/files/${'%0a'.repeat(10)}${'x'.repeat(3000)}`);
    const logged = world.logged.filter(({ event }) => event === 'request.answered').at(-1)!;
    expect(String(logged.fields.path).length).toBeLessThanOrEqual(200);
    expect(JSON.stringify(logged)).not.toContain(secret);
  });
});

describe('finding a repeated key', () => {
  test.each([
    ['{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}', undefined],
    ['{"a":"a\\":","b":"{\\"b\\":1}"}', undefined],
    ['{"a":{"x":1,"x":2}}', 'x'],
    ['[{"a":1},{"a":1,"a":2}]', 'a'],
    ['{"":1,"":2}', ''],
    ['{"a" : 1, "a"\n:2}', 'a'],
  ])('%s: %j', (text, key) => {
    expect(repeatedKey(text)).toBe(key);
  });

  test('a megabyte of one string does not overflow', () => {
    expect(repeatedKey(JSON.stringify({ a: '\\"'.repeat(500_000) }))).toBeUndefined();
  });
});
