import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type ModelServer, startModelServer } from '../../../local/model-server/index.ts';
import { backendsOf } from '../../../runtime/backends.ts';
import { modelChecker } from '../../../runtime/check-model.ts';
import { resolveConfig } from '../../../shared/config/index.ts';
import { noConnectors } from '../../support/models.ts';
import { startScriptedServer } from '../../support/scripted-server.ts';
import { environment, source } from '../config/support.ts';

let server: ModelServer;
beforeEach(async () => {
  server = await startModelServer({ name: 'aws', models: ['chat-1'] });
});
afterEach(() => server.close());

const config = (models: object) => resolveConfig({ ...source(), models }, environment);

describe('checking a model', () => {
  test('one that answers: by what model, on which endpoint', async () => {
    const check = modelChecker(config({ m: { aws: { url: server.url, model: 'chat-1' } } }), noConnectors);
    expect(await check('m', undefined)).toMatchObject({
      alias: 'm',
      site: 'aws',
      backend: 'aws',
      endpoint: '/v1/chat/completions',
      answers: true,
      detail: 'chat-1',
    });
    expect(await check('m', '/v1/embeddings')).toMatchObject({ endpoint: '/v1/embeddings', answers: true });
  });

  test('one that embeds alone is found on the endpoint that it has', async () => {
    const embedder = await startScriptedServer(({ path }) =>
      path === '/v1/embeddings'
        ? { body: { object: 'list', model: 'e-1', data: [{ index: 0, embedding: [1] }] } }
        : { status: 404, body: { error: { message: 'no such route' } } },
    );
    try {
      const check = modelChecker(config({ e: { aws: { url: `${embedder.origin}/v1` } } }), noConnectors);
      expect(await check('e', undefined)).toMatchObject({ endpoint: '/v1/embeddings', answers: true, detail: 'e-1' });
    } finally {
      await embedder.close();
    }
  });

  test('one that is not there, and one that nobody reaches, say why', async () => {
    const check = modelChecker(
      config({
        gone: { aws: { url: server.url, model: 'no-such' } },
        dark: { aws: { url: 'http://127.0.0.1:9/v1' } },
        sdk: { aws: { kind: 'bedrock', region: 'us-east-1' } },
        elsewhere: { azure: { url: server.url } },
      }),
      noConnectors,
    );
    expect(await check('gone', undefined)).toMatchObject({
      answers: false,
      detail: expect.stringMatching(/^status 404: /),
    });
    expect(await check('dark', undefined)).toMatchObject({
      answers: false,
      detail: expect.stringMatching(/^unreachable: /),
    });
    expect(await check('sdk', undefined)).toMatchObject({
      answers: false,
      detail: 'unreachable: not made: no Bedrock here',
    });
    expect(await check('elsewhere', undefined)).toBeUndefined();
  });
});

test('two aliases of one server share its backend, and so what is learned of it; limits are each alias’s own', () => {
  const url = 'http://a/v1';
  const servedBy = backendsOf(
    config({
      a: { aws: { url, model: 'a-1', limits: { requestsPerMinute: 60 } } },
      b: { aws: { url, model: 'b-1' } },
      c: { aws: { url, model: 'c-1', apiKeyEnv: 'MODEL_KEY' } },
    }),
    noConnectors,
  );
  const [a, b, c] = ['a', 'b', 'c'].map((alias) => servedBy('aws', alias)!);
  expect(a!.backend).toBe(b!.backend);
  expect(a!.backend).not.toBe(c!.backend);
  expect([a!.limits, b!.limits]).toEqual([{ requestsPerMinute: 60 }, {}]);
  expect(a!.model).toBe('a-1');
});
