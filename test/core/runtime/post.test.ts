import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { systemLookup, systemPost } from '../../../runtime/post.ts';

let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
});

async function listen(answer: RequestListener): Promise<number> {
  server = createServer(answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

const call = (url: string, addresses: string[], signal = new AbortController().signal) =>
  systemPost({ url: new URL(url), addresses, headers: { 'webhook-id': 'evt_1' }, body: '{"a":"é"}', signal });

describe('a post', () => {
  test('goes to the address that was judged, under the name it was given', async () => {
    const seen: Promise<[IncomingMessage, string]> = new Promise((resolve) => {
      listen(async (request, response) => {
        const body = (await Array.fromAsync(request)).join('');
        response.end();
        resolve([request, body]);
      }).then((port) => call(`http://hooks.invalid:${port}/x?y=1`, ['127.0.0.1']));
    });
    const [request, body] = await seen;
    expect(request).toMatchObject({ method: 'POST', url: '/x?y=1' });
    expect(request.headers).toMatchObject({ 'webhook-id': 'evt_1', 'content-length': '10' });
    expect(request.headers.host).toMatch(/^hooks\.invalid:\d+$/);
    expect(body).toBe('{"a":"é"}');
  });

  test.each([200, 302, 500])('gives the status %i and follows nothing', async (status) => {
    const port = await listen((request, response) => {
      request.resume();
      response.writeHead(status, { location: '/elsewhere' }).end();
    });
    expect(await call(`http://127.0.0.1:${port}/`, ['127.0.0.1'])).toBe(status);
  });

  test('does not wait for the end of an answer that never ends', async () => {
    const port = await listen((_, response) => response.writeHead(204).flushHeaders());
    expect(await call(`http://127.0.0.1:${port}/`, ['127.0.0.1'])).toBe(204);
  });

  test('ends with its signal', async () => {
    const ended = new AbortController();
    const port = await listen(() => ended.abort());
    await expect(call(`http://127.0.0.1:${port}/`, ['127.0.0.1'], ended.signal)).rejects.toThrow(/abort/i);
  });
});

test('a name is resolved to every address it has', async () => {
  expect(await systemLookup('127.0.0.1')).toEqual(['127.0.0.1']);
});
