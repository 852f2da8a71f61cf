import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { post, start } from './support.ts';

const user = { role: 'user', content: 'x' };
const chat = (fields: object) => ({ model: 'm', messages: [user], ...fields });
const response = (fields: object) => ({ model: 'm', input: 'x', ...fields });
const embedding = (fields: object) => ({ model: 'm', input: 'x', ...fields });

describe('each wrong body gets the OpenAI error object', () => {
  test.each<[string, string, unknown, string | null, string]>([
    ['no JSON', '/chat/completions', '{"model":', null, 'invalid_json'],
    ['nothing', '/chat/completions', '', null, 'invalid_json'],
    ['an array', '/embeddings', [], 'body', 'invalid_type'],
    ['null', '/responses', null, 'body', 'invalid_type'],
    ['no model', '/chat/completions', { messages: [user] }, 'model', 'missing_required_parameter'],
    ['a model that is a number', '/embeddings', { model: 4, input: 'x' }, 'model', 'invalid_type'],
    ['an empty model', '/responses', { model: '', input: 'x' }, 'model', 'invalid_value'],
    ['a model of 257 characters', '/embeddings', embedding({ model: 'm'.repeat(257) }), 'model', 'invalid_value'],

    ['no messages', '/chat/completions', { model: 'm' }, 'messages', 'missing_required_parameter'],
    ['messages as text', '/chat/completions', chat({ messages: 'hi' }), 'messages', 'invalid_type'],
    ['no message at all', '/chat/completions', chat({ messages: [] }), 'messages', 'empty_array'],
    ['a message as text', '/chat/completions', chat({ messages: ['hi'] }), 'messages[0]', 'invalid_type'],
    [
      'no role',
      '/chat/completions',
      chat({ messages: [{ content: 'x' }] }),
      'messages[0].role',
      'missing_required_parameter',
    ],
    [
      'an unknown role',
      '/chat/completions',
      chat({ messages: [user, { role: 'boss', content: 'x' }] }),
      'messages[1].role',
      'invalid_value',
    ],
    [
      'no content',
      '/chat/completions',
      chat({ messages: [{ role: 'user' }] }),
      'messages[0].content',
      'missing_required_parameter',
    ],
    [
      'a number as content',
      '/chat/completions',
      chat({ messages: [{ role: 'user', content: 1 }] }),
      'messages[0].content',
      'invalid_type',
    ],
    [
      'a part of unknown type',
      '/chat/completions',
      chat({ messages: [{ role: 'user', content: [{ type: 'smell' }] }] }),
      'messages[0].content[0].type',
      'invalid_value',
    ],
    [
      'a text part without text',
      '/chat/completions',
      chat({ messages: [{ role: 'user', content: [{ type: 'text' }] }] }),
      'messages[0].content[0].text',
      'invalid_type',
    ],
    ['stream', '/chat/completions', chat({ stream: true }), 'stream', 'unsupported_value'],
    ['max_tokens 0', '/chat/completions', chat({ max_tokens: 0 }), 'max_tokens', 'integer_below_min_value'],
    ['max_tokens 1.5', '/chat/completions', chat({ max_tokens: 1.5 }), 'max_tokens', 'invalid_type'],
    ['temperature 3', '/chat/completions', chat({ temperature: 3 }), 'temperature', 'decimal_out_of_range'],
    ['five stops', '/chat/completions', chat({ stop: ['a', 'b', 'c', 'd', 'e'] }), 'stop', 'array_above_max_length'],
    ['a number as stop', '/chat/completions', chat({ stop: 3 }), 'stop', 'invalid_type'],
    ['n 1000', '/chat/completions', chat({ n: 1000 }), 'n', 'integer_above_max_value'],
    [
      'a JSON schema',
      '/chat/completions',
      chat({ response_format: { type: 'json_schema' } }),
      'response_format.type',
      'invalid_value',
    ],
    [
      'a prompt beyond the context',
      '/chat/completions',
      chat({ messages: [{ role: 'user', content: 'word '.repeat(128_001) }] }),
      'messages',
      'context_length_exceeded',
    ],

    ['no input', '/responses', { model: 'm' }, 'input', 'missing_required_parameter'],
    ['a number as input', '/responses', response({ input: 3 }), 'input', 'invalid_type'],
    ['an empty input', '/responses', response({ input: [] }), 'input', 'empty_array'],
    [
      '15 output tokens',
      '/responses',
      response({ max_output_tokens: 15 }),
      'max_output_tokens',
      'integer_below_min_value',
    ],
    ['background', '/responses', response({ background: true }), 'background', 'unsupported_value'],
    [
      'an earlier response',
      '/responses',
      response({ previous_response_id: 'r' }),
      'previous_response_id',
      'unsupported_value',
    ],
    ['instructions as array', '/responses', response({ instructions: [] }), 'instructions', 'invalid_type'],

    ['no input', '/embeddings', { model: 'm' }, 'input', 'missing_required_parameter'],
    ['an empty text', '/embeddings', embedding({ input: '' }), 'input', 'empty_string'],
    ['an empty text among others', '/embeddings', embedding({ input: ['a', ''] }), 'input[1]', 'empty_string'],
    ['an empty list', '/embeddings', embedding({ input: [] }), 'input', 'empty_array'],
    ['a null among texts', '/embeddings', embedding({ input: ['a', null] }), 'input[1]', 'invalid_type'],
    ['a token of -1', '/embeddings', embedding({ input: [[1, -1]] }), 'input[0][1]', 'invalid_type'],
    ['0 dimensions', '/embeddings', embedding({ dimensions: 0 }), 'dimensions', 'integer_below_min_value'],
    ['4,097 dimensions', '/embeddings', embedding({ dimensions: 4_097 }), 'dimensions', 'integer_above_max_value'],
    ['encoding hex', '/embeddings', embedding({ encoding_format: 'hex' }), 'encoding_format', 'invalid_value'],
  ])('%s to %s', async (_what, path, body, param, code) => {
    const { server } = await start();
    const answer = await post(server, path, typeof body === 'string' ? body : JSON.stringify(body));
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expect(answer.headers.get('x-request-id')).toMatch(/^req_/);
    const { error } = (await answer.json()) as { error: Record<string, unknown> };
    expect(error).toEqual({ message: expect.any(String), type: 'invalid_request_error', param, code });
    expect(server.counters().totals).toMatchObject({ calls: 1, lines: 0, outcomes: { 400: 1 } });
  });
});

describe('bodies no client sends', () => {
  test('bytes that are not UTF-8 are refused', async () => {
    const { server } = await start();
    const answer = await post(server, '/embeddings', new Uint8Array([0x22, 0xff, 0xfe, 0x22]));
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ error: { code: 'invalid_utf8' } });
  });

  test('5,000 nested arrays, __proto__ and duplicate keys harm nothing', async () => {
    const { server } = await start();
    const nested = `{"model":"m","input":${'['.repeat(5_000)}${']'.repeat(5_000)}}`;
    expect((await post(server, '/embeddings', nested)).status).toBe(400);
    const proto = '{"__proto__":{"model":"m"},"model":"m","model":"n","input":"x"}';
    expect(await (await post(server, '/embeddings', proto)).json()).toMatchObject({ model: 'n' });
  });

  test('objects where words belong are refused, however they are made', async () => {
    const { server } = await start();
    const hostile = '{"toString":1,"valueOf":1}';
    const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
    for (const [path, body] of [
      ['/chat/completions', `{"model":"m","messages":[{"role":${hostile},"content":"x"}]}`],
      ['/chat/completions', `{"model":"m","messages":[{"role":"user","content":[{"type":${deep}}]}]}`],
      [
        '/chat/completions',
        `{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":${deep}}}`,
      ],
      ['/responses', `{"model":"m","input":"x","metadata":{"a":${deep}}}`],
      ['/responses', `{"model":"m","input":"x","text":{"format":${hostile}}}`],
      ['/embeddings', `{"model":"m","input":"x","encoding_format":${hostile}}`],
    ] as const) {
      expect((await post(server, path, body)).status).toBe(400);
    }
  });

  test('text that is nothing but white space, dots or brackets is answered without delay', async () => {
    const { client } = await start({ behaviour: { '*': { contextTokensMax: 2 ** 30 } } });
    for (const piece of [' ', '.', '. ', '\n', '[[', 'a?b', '\u3002']) {
      const content = piece.repeat(400_000 / piece.length);
      const answer = await client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content }] });
      expect(answer.choices).toHaveLength(1);
    }
  }, 20_000);

  test('a caller who hangs up in the middle of the body leaves nothing behind', async () => {
    const { server, client } = await start();
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.write('POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model":');
    socket.end();
    await once(socket.resume(), 'close');
    await client.embeddings.create({ model: 'm', input: 'x' });
    expect(server.counters()).toMatchObject({
      inFlight: 0,
      totals: { calls: 2, outcomes: { answered: 1, abandoned: 1 } },
    });
  });

  test('a body beyond the limit is 413 for the openai client, also when its length is not announced', async () => {
    const { server, client } = await start({ bodyBytesMax: 1_000_000 });
    const input = 'x'.repeat(20_000_000);
    const refused = client.embeddings.create({ model: 'm', input });
    await expect(refused).rejects.toMatchObject({ status: 413, code: 'request_too_large' });
    const chunked = await fetch(`${server.url}/embeddings`, {
      method: 'POST',
      body: new Blob([JSON.stringify({ model: 'm', input })]).stream(),
      duplex: 'half',
    });
    expect(chunked.status).toBe(413);
    await client.embeddings.create({ model: 'm', input: 'small' });
  });

  test('an unknown path and a wrong method are 404 in the OpenAI shape', async () => {
    const { server, client } = await start();
    await expect(client.images.generate({ prompt: 'x' })).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    const get = await fetch(`${server.url}/embeddings`);
    expect(get.status).toBe(404);
    expect(await get.json()).toMatchObject({ error: { message: 'Invalid URL (GET /v1/embeddings)', code: null } });
  });
});
