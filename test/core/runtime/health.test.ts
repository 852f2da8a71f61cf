import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { freshGet, observeDeps } from '../../../runtime/health.ts';
import type { HoldfastConfig } from '../../../shared/config/index.ts';
import { plainBackend, plainModel } from '../../../shared/config/models-schema.ts';
import { noConnectors } from '../../support/models.ts';

describe('looks over the network', () => {
  let server: Server;
  let base: string;
  let status = 200;
  const asked: { url: string; connection: unknown; body: string }[] = [];

  beforeEach(async () => {
    asked.length = 0;
    server = createServer(async (request, response) => {
      let body = '';
      for await (const piece of request) body += piece;
      asked.push({ url: request.url!, connection: request.socket, body });
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  const config = () =>
    ({
      health: { references: [base], canaries: true, canary: null },
      sites: { aws: { cloud: 'aws', api: `${base}/v1` }, azure: { cloud: 'azure', api: null } },
      models: {
        '*': {
          ...plainModel,
          aws: plainBackend('aws', `${base}/v1`, null),
        },
      },
    }) as unknown as HoldfastConfig;
  const { signal } = new AbortController();

  test('the front door is asked at /healthz, each time over a connection of its own', async () => {
    status = 200;
    const deps = observeDeps(config(), 'aws', 'aws', noConnectors);
    await deps.fetchHealth!('aws', signal);
    await deps.fetchHealth!('aws', signal);
    expect(asked.map(({ url }) => url)).toEqual(['/healthz', '/healthz']);
    expect(asked[0]!.connection).not.toBe(asked[1]!.connection);
    expect(deps.fetchHealth!('azure', signal)).toBeUndefined();
  });

  test('a front door that answers 503 is not well, a neutral place that does is there', async () => {
    status = 503;
    const deps = observeDeps(config(), 'aws', 'aws', noConnectors);
    await expect(deps.fetchHealth!('aws', signal)).rejects.toMatchObject({ code: 'server_error' });
    await deps.reachReference(base, signal);
  });

  test('nobody there is refused', async () => {
    const gone = base;
    await new Promise((resolve) => server.close(resolve));
    await expect(freshGet(gone, signal)).rejects.toMatchObject({ code: 'refused' });
  });

  test.each([
    [200, undefined],
    [429, 'throttled'],
    [401, 'credentials'],
    [400, 'rejected'],
    [500, 'server_error'],
  ])('a model that answers %i is told as %s', async (answer, code) => {
    status = answer;
    const deps = observeDeps(config(), 'aws', 'aws', noConnectors);
    const look = deps.probeModel!('aws', { alias: 'm', endpoint: '/v1/chat/completions' }, signal);
    if (code === undefined) await look;
    else await expect(look).rejects.toMatchObject({ code });
    // No limit of tokens: no name of one is known to all models.
    expect(Object.keys(JSON.parse(asked[0]!.body)).sort()).toEqual(['messages', 'model']);
  });

  test('no canary is run where no alias is served by every cloud', () => {
    expect(observeDeps(config(), 'aws', 'aws', noConnectors).canary).toBeUndefined();
    const both = config();
    Object.assign(both.models['*']!, { azure: plainBackend('azure', base, null) });
    expect(observeDeps(both, 'aws', 'aws', noConnectors).canary?.model).toBe('canary');
  });
});
