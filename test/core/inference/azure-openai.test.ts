import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { azureOpenAiBackend } from '../../../shared/inference/azure-openai.ts';
import { azureBaseUrl } from '../../../shared/inference/base-url.ts';
import { sortFault } from '../../../shared/inference/sort-fault.ts';
import { type ScriptedServer, startScriptedServer } from '../../support/scripted-server.ts';

/**
 * Shapes and errors as Azure documents them.
 * @source https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle (2026-11)
 * @source https://learn.microsoft.com/azure/foundry/openai/concepts/content-filter (2026-11)
 * @source https://learn.microsoft.com/azure/foundry/openai/quotas-limits (2026-11)
 */
const completion = {
  id: 'chatcmpl-1',
  object: 'chat.completion',
  created: 1,
  model: 'gpt-4.1-nano-2025-04-14',
  choices: [
    { index: 0, message: { role: 'assistant', content: 'hi' }, finish_reason: 'stop', content_filter_results: {} },
  ],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
};

let server: ScriptedServer;
beforeEach(async () => {
  server = await startScriptedServer(() => ({ body: completion, headers: { 'apim-request-id': 'apim-1' } }));
});
afterEach(() => server.close());

const backendWith = (credential: Parameters<typeof azureOpenAiBackend>[0]['credential']) =>
  azureOpenAiBackend({ name: 'azure', url: server.origin, credential, fetch, now: Date.now });
const call = (backend: ReturnType<typeof azureOpenAiBackend>) =>
  backend.call({
    endpoint: '/v1/chat/completions',
    body: { model: 'nano', messages: [] },
    signal: AbortSignal.timeout(5_000),
  });

test.each([
  ['https://r.openai.azure.com', 'https://r.openai.azure.com/openai/v1'],
  ['https://r.openai.azure.com/openai/', 'https://r.openai.azure.com/openai/v1'],
  ['https://r.openai.azure.com/openai/v1/', 'https://r.openai.azure.com/openai/v1'],
  ['https://gateway.example/models/v1', 'https://gateway.example/models/v1'],
])('%s is called at %s', (url, base) => {
  expect(azureBaseUrl(url)).toBe(base);
});

test('a key goes in its own header, to the v1 path, without an api-version', async () => {
  const reply = await call(backendWith({ apiKey: 'k-1' }));
  expect(reply).toMatchObject({ kind: 'answered', status: 200, requestId: 'apim-1' });
  const [{ path, headers, body }] = server.arrived as [(typeof server.arrived)[number]];
  expect(path).toBe('/openai/v1/chat/completions');
  expect(headers['api-key']).toBe('k-1');
  expect(headers.authorization).toBeUndefined();
  expect(body).toEqual({ model: 'nano', messages: [] });
});

describe('with Entra tokens', () => {
  test('one token serves many calls, as bearer', async () => {
    let given = 0;
    const tokens = async () => ({ token: `t-${++given}`, expiresAt: Date.now() + 3_600_000 });
    const backend = backendWith({ tokens });
    await Promise.all([call(backend), call(backend), call(backend)]);
    expect(server.arrived.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer t-1',
      'Bearer t-1',
      'Bearer t-1',
    ]);
    expect(server.arrived[0]!.headers['api-key']).toBeUndefined();
  });

  test('a token that is refused is the site and not the line, and the next call has a fresh one', async () => {
    let given = 0;
    const tokens = async () => ({ token: `t-${++given}`, expiresAt: Date.now() + 3_600_000 });
    server.answer = ({ headers }) =>
      headers.authorization === 'Bearer t-1'
        ? { status: 401, body: { error: { code: '401', message: 'Token has been revoked.' } } }
        : { body: completion };
    const backend = backendWith({ tokens });
    expect(sortFault(await call(backend))).toBe('site');
    expect(sortFault(await call(backend))).toBe('good');
  });

  test('nobody gives a token: the site, and nothing is sent', async () => {
    const reply = await call(backendWith({ tokens: () => Promise.reject(new Error('no identity')) }));
    expect(reply).toEqual({ kind: 'unreachable', detail: 'credentials: no identity' });
    expect(sortFault(reply)).toBe('site');
    expect(server.arrived).toHaveLength(0);
  });
});

test.each<[string, number, unknown, Record<string, string>, string]>([
  [
    'the content filter',
    400,
    { error: { message: 'filtered', type: null, param: 'prompt', code: 'content_filter', status: 400 } },
    {},
    'line',
  ],
  [
    'a wrong key',
    401,
    { error: { code: '401', message: 'Access denied due to invalid subscription key.' } },
    {},
    'site',
  ],
  ['a missing role', 403, { error: { code: 'PermissionDenied', message: 'Principal lacks access.' } }, {}, 'site'],
  ['no such deployment', 404, { error: { code: 'DeploymentNotFound', message: 'not there' } }, {}, 'backend'],
  [
    'a quota',
    429,
    { error: { code: '429', message: 'Please retry after 7 seconds.' } },
    { 'retry-after': '7' },
    'backend',
  ],
  ['an overload', 503, { error: { code: '503', message: 'busy' } }, {}, 'backend'],
  ['a gateway that waited', 408, { error: { code: 'Timeout', message: 'The operation was timeout.' } }, {}, 'backend'],
])('%s (%i) is sorted', async (_, status, body, headers, sort) => {
  server.answer = () => ({ status, body, headers });
  const reply = await call(backendWith({ apiKey: 'k' }));
  expect(sortFault(reply)).toBe(sort);
  if (status === 429) expect(reply).toMatchObject({ retryAfterMs: 7_000 });
});
