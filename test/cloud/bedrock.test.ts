import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { awsModels } from '../../functions-aws/adapters/models.ts';
import type { Backend } from '../../shared/inference/backend.ts';
import { bedrockBaseUrl, signingService } from '../../shared/inference/base-url.ts';
import { bedrockBackend } from '../../shared/inference/bedrock/backend.ts';
import { bedrockOpenAiBackend } from '../../shared/inference/bedrock/openai.ts';
import { sortFault } from '../../shared/inference/sort-fault.ts';
import type { Endpoint } from '../../shared/journal/facts.ts';
import type { JsonObject } from '../../shared/journal/json.ts';
import { answerBytesMax } from '../../shared/limits.ts';
import { type Arrived, type ScriptedServer, startScriptedServer } from '../support/scripted-server.ts';
import { checkSignature } from '../support/sigv4.ts';

/**
 * The unmodified SDK and the real signer against a server that answers as Bedrock documents.
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (2026-11)
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html (2026-11)
 */
const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI' };
const region = 'eu-west-1';

let server: ScriptedServer;
beforeEach(async () => {
  server = await startScriptedServer(() => ({ status: 500 }));
});
afterEach(() => server.close());

const asked = (backend: Backend, endpoint: Endpoint, body: JsonObject, signal = AbortSignal.timeout(10_000)) =>
  backend.call({ endpoint, body, signal });

/** As Bedrock writes an exception. */
const exception = (name: string, status: number, headers: Record<string, string> = {}) => ({
  status,
  headers: { 'x-amzn-errortype': `${name}:http://internal.amazon.com/coral/com.amazon.bedrock/`, ...headers },
  body: { message: `This is a ${name}.` },
});

describe('Bedrock through its SDK', () => {
  const connect = async (given: { apiKey?: string } = {}) => {
    const transport = await awsModels.bedrock({
      region,
      endpoint: server.origin,
      ...(given.apiKey ? given : { credentials }),
    });
    return bedrockBackend({
      name: 'aws',
      transport,
      now: () => 1_000,
      embeddingFormat: null,
      inputType: 'search_query',
    });
  };
  const nova = 'eu.amazon.nova-lite-v1:0';
  const chat = { model: nova, messages: [{ role: 'user', content: 'hi' }], max_tokens: 5 } satisfies JsonObject;
  const good = (request: Arrived) => {
    checkSignature(request, credentials.secretAccessKey);
    return {
      headers: { 'x-amzn-requestid': 'br-1' },
      body: {
        output: { message: { role: 'assistant', content: [{ text: 'Hello.' }] } },
        stopReason: 'end_turn',
        usage: { inputTokens: 3, outputTokens: 2, totalTokens: 12, cacheReadInputTokens: 7 },
        metrics: { latencyMs: 9 },
      },
    };
  };

  test('Converse: signed, in its own shape, and back in OpenAI’s', async () => {
    server.answer = good;
    const reply = await asked(await connect(), '/v1/chat/completions', chat);
    expect(reply).toMatchObject({
      kind: 'answered',
      status: 200,
      requestId: 'br-1',
      body: {
        id: 'chatcmpl-br-1',
        model: nova,
        choices: [{ message: { content: 'Hello.' }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 10, prompt_tokens_details: { cached_tokens: 7 } },
      },
    });
    const [request] = server.arrived as [Arrived];
    expect(request.path).toBe(`/model/${encodeURIComponent(nova)}/converse`);
    expect(checkSignature(request, credentials.secretAccessKey)).toMatchObject({ region, service: 'bedrock' });
    expect(request.body).toEqual({
      messages: [{ role: 'user', content: [{ text: 'hi' }] }],
      inferenceConfig: { maxTokens: 5 },
    });
  });

  test('Converse: an API key goes as bearer token, unsigned', async () => {
    server.answer = ({ headers }) => {
      expect(headers.authorization).toBe('Bearer key-1');
      return { body: { output: { message: { content: [{ text: 'x' }] } }, stopReason: 'end_turn', usage: {} } };
    };
    expect(await asked(await connect({ apiKey: 'key-1' }), '/v1/chat/completions', chat)).toMatchObject({
      status: 200,
    });
  });

  test('Converse: an image arrives as the bytes that were sent, a tool call comes back as JSON', async () => {
    const base64 = Buffer.from([0, 255, 128, 7]).toString('base64');
    server.answer = () => ({
      body: {
        output: { message: { content: [{ toolUse: { toolUseId: 't', name: 'see', input: { n: 1.5, deep: [{}] } } }] } },
        stopReason: 'tool_use',
        usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 },
      },
    });
    const reply = await asked(await connect(), '/v1/chat/completions', {
      ...chat,
      messages: [
        { role: 'user', content: [{ type: 'image_url', image_url: { url: `data:image/webp;base64,${base64}` } }] },
      ],
      tools: [{ type: 'function', function: { name: 'see', parameters: { type: 'object', properties: { n: {} } } } }],
    });
    const { messages, toolConfig } = server.arrived[0]!.body;
    expect(messages[0].content[0]).toEqual({ image: { format: 'webp', source: { bytes: base64 } } });
    expect(toolConfig.tools[0].toolSpec.inputSchema.json).toEqual({ type: 'object', properties: { n: {} } });
    expect(reply).toMatchObject({
      body: { choices: [{ message: { tool_calls: [{ function: { arguments: '{"n":1.5,"deep":[{}]}' } }] } }] },
    });
  });

  test('what cannot be said is refused before anything is sent', async () => {
    const reply = await asked(await connect(), '/v1/chat/completions', { ...chat, logit_bias: { 1: 1 } });
    expect(reply).toMatchObject({
      status: 400,
      body: { error: { param: 'logit_bias', type: 'invalid_request_error' } },
    });
    expect(sortFault(reply)).toBe('line');
    expect(await asked(await connect(), '/v1/responses', { model: nova, input: 'hi' })).toMatchObject({
      body: { error: { code: 'unsupported_endpoint' } },
    });
    expect(server.arrived).toHaveLength(0);
  });

  test.each<[string, number, string, number]>([
    ['ValidationException', 400, 'line', 400],
    ['AccessDeniedException', 403, 'site', 403],
    ['UnrecognizedClientException', 403, 'site', 403],
    ['ExpiredTokenException', 400, 'site', 403],
    ['ResourceNotFoundException', 404, 'backend', 404],
    ['ModelTimeoutException', 408, 'backend', 408],
    ['ModelErrorException', 424, 'backend', 424],
    ['ThrottlingException', 429, 'backend', 429],
    ['ModelNotReadyException', 429, 'backend', 429],
    // It comes as 400, and is nobody's line.
    ['ServiceQuotaExceededException', 400, 'backend', 429],
    ['InternalServerException', 500, 'backend', 500],
    ['ServiceUnavailableException', 503, 'backend', 503],
  ])('%s (%i) is sorted as %s, after one request', async (name, status, sort, shown) => {
    server.answer = () => exception(name, status, { 'retry-after': '3' });
    const reply = await asked(await connect(), '/v1/chat/completions', chat);
    expect(sortFault(reply)).toBe(sort);
    expect(reply).toMatchObject({ status: shown, retryAfterMs: 3_000, body: { error: { code: name } } });
    expect(server.arrived).toHaveLength(1);
  });

  test('an answer that is no JSON spends an attempt, a connection that ends does not', async () => {
    server.answer = () => ({ text: '<html>' });
    const backend = await connect();
    expect(sortFault(await asked(backend, '/v1/chat/completions', chat))).toBe('malformed');
    server.answer = () => ({ raw: (response) => response.destroy() });
    expect(sortFault(await asked(backend, '/v1/chat/completions', chat))).toBe('site');
  });

  test('an answer longer than we take is cut off, not collected', async () => {
    let sent = 0;
    server.answer = () => ({
      raw: (response) => {
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(1 << 20, 32))) sent += 1;
        };
        response.writeHead(200, { 'content-type': 'application/json' }).on('drain', more);
        more();
      },
    });
    const reply = await asked(await connect(), '/v1/chat/completions', chat);
    expect(reply).toEqual({ kind: 'malformed', status: 200, detail: `over ${answerBytesMax} bytes` });
    expect(sent).toBeLessThan(200);
  });

  test('time runs out: a timeout, and the request is gone', async () => {
    const gone = new Promise((resolve) => {
      server.answer = () => ({ raw: (response) => response.on('close', resolve) });
    });
    const cut = new AbortController();
    const reply = asked(await connect(), '/v1/chat/completions', chat, cut.signal);
    while (server.arrived.length === 0) await new Promise(setImmediate);
    cut.abort();
    expect(await reply).toEqual({ kind: 'timeout' });
    await gone;
  });

  test('Titan: a call for each text, the answers in their order, tokens added up', async () => {
    server.answer = ({ body }) => ({ body: { embedding: [Number(body.inputText)], inputTextTokenCount: 2 } });
    const input = Array.from({ length: 9 }, (_, i) => String(i));
    const reply = await asked(await connect(), '/v1/embeddings', {
      model: 'amazon.titan-embed-text-v2:0',
      input,
      dimensions: 256,
    });
    expect(server.arrived).toHaveLength(9);
    expect(server.arrived[0]!.path).toBe('/model/amazon.titan-embed-text-v2%3A0/invoke');
    expect(server.arrived.every(({ body }) => body.dimensions === 256)).toBe(true);
    expect(reply).toMatchObject({
      kind: 'answered',
      body: {
        data: input.map((text, index) => ({ index, embedding: [Number(text)] })),
        usage: { prompt_tokens: 18, total_tokens: 18 },
      },
    });
  });

  test('Titan: one text is throttled, so all are, and the rest is not asked for', async () => {
    server.answer = ({ body }) =>
      body.inputText === '2'
        ? exception('ThrottlingException', 429)
        : { body: { embedding: [1], inputTextTokenCount: 1 } };
    const input = Array.from({ length: 40 }, (_, i) => String(i));
    const reply = await asked(await connect(), '/v1/embeddings', { model: 'amazon.titan-embed-text-v2:0', input });
    expect(reply).toMatchObject({ status: 429, body: { error: { code: 'ThrottlingException' } } });
    expect(server.arrived.length).toBeLessThan(20);
  });

  test('Cohere: texts in one call, its purpose from the map, tokens from the header', async () => {
    server.answer = ({ body }) => ({
      headers: { 'x-amzn-bedrock-input-token-count': '11' },
      body: {
        embeddings: { float: body.texts.map((_: string, i: number) => [i]) },
        response_type: 'embeddings_by_type',
      },
    });
    const reply = await asked(await connect(), '/v1/embeddings', {
      model: 'cohere.embed-v4:0',
      input: ['a', 'b', 'c'],
      encoding_format: 'base64',
    });
    expect(server.arrived).toHaveLength(1);
    expect(server.arrived[0]!.body).toMatchObject({
      texts: ['a', 'b', 'c'],
      input_type: 'search_query',
      truncate: 'NONE',
    });
    expect(reply).toMatchObject({
      body: { data: [{ embedding: 'AAAAAA==' }, {}, {}], usage: { prompt_tokens: 11, total_tokens: 11 } },
    });
  });

  test('Cohere: fewer vectors than texts are no answer', async () => {
    server.answer = () => ({ body: { embeddings: { float: [[1]] } } });
    const reply = await asked(await connect(), '/v1/embeddings', { model: 'cohere.embed-v4:0', input: ['a', 'b'] });
    expect(sortFault(reply)).toBe('malformed');
  });
});

describe('Bedrock’s OpenAI endpoint', () => {
  const base = () => `${server.origin}/openai/v1`;
  const http = () => ({ name: 'aws', baseUrl: base(), fetch, now: Date.now });
  const response = { id: 'resp_1', object: 'response', model: 'openai.gpt-oss-120b', output: [], usage: {} };

  test('its address, and the service that a signature is for', () => {
    expect(bedrockBaseUrl(region)).toBe('https://bedrock-runtime.eu-west-1.amazonaws.com/openai/v1');
    expect(signingService(bedrockBaseUrl(region))).toBe('bedrock');
    expect(signingService('https://bedrock-mantle.us-east-1.api.aws/v1')).toBe('bedrock-mantle');
  });

  test.each<[Endpoint, string]>([
    ['/v1/chat/completions', '/openai/v1/chat/completions'],
    ['/v1/responses', '/openai/v1/responses'],
  ])('%s is signed so that AWS takes it', async (endpoint, path) => {
    server.answer = () => ({ body: response, headers: { 'x-amzn-requestid': 'br-2' } });
    const sign = await awsModels.awsSigner({ region, credentials: { ...credentials, sessionToken: 'session-1' } });
    const backend = bedrockOpenAiBackend({ ...http(), credential: { sign } });
    const reply = await asked(backend, endpoint, { model: 'openai.gpt-oss-120b', input: 'Grüße, 世界' });
    expect(reply).toMatchObject({ kind: 'answered', requestId: 'br-2' });
    const [request] = server.arrived as [Arrived];
    expect(request.path).toBe(path);
    expect(request.headers['x-amz-security-token']).toBe('session-1');
    const { keyId, service, signed } = checkSignature(request, credentials.secretAccessKey);
    expect({ keyId, service }).toEqual({ keyId: credentials.accessKeyId, service: 'bedrock' });
    expect(signed).toEqual(expect.arrayContaining(['host', 'x-amz-date', 'x-amz-security-token']));
  });

  test('a body that was changed on the way does not fit its signature', async () => {
    server.answer = () => ({ body: response });
    const sign = await awsModels.awsSigner({ region, credentials });
    await asked(bedrockOpenAiBackend({ ...http(), credential: { sign } }), '/v1/responses', { model: 'm', input: 'a' });
    const request = { ...server.arrived[0]!, text: server.arrived[0]!.text.replace('"a"', '"b"') };
    expect(() => checkSignature(request, credentials.secretAccessKey)).toThrow('does not hold');
  });

  test('an API key goes as bearer token', async () => {
    server.answer = () => ({ body: response });
    await asked(bedrockOpenAiBackend({ ...http(), credential: { apiKey: 'bk' } }), '/v1/responses', {
      model: 'm',
      input: 'a',
    });
    expect(server.arrived[0]!.headers.authorization).toBe('Bearer bk');
  });

  test('no AWS identity: the site, and nothing is sent', async () => {
    const sign = () => Promise.reject(new Error('Could not load credentials from any providers'));
    const reply = await asked(bedrockOpenAiBackend({ ...http(), credential: { sign } }), '/v1/responses', {
      model: 'm',
    });
    expect(reply).toEqual({
      kind: 'unreachable',
      detail: 'credentials: Could not load credentials from any providers',
    });
    expect(server.arrived).toHaveLength(0);
  });

  test('embeddings are refused by name', async () => {
    const reply = await asked(bedrockOpenAiBackend({ ...http(), credential: { apiKey: 'k' } }), '/v1/embeddings', {
      input: 'a',
    });
    expect(reply).toMatchObject({ status: 400, body: { error: { code: 'unsupported_endpoint' } } });
    expect(server.arrived).toHaveLength(0);
  });
});
