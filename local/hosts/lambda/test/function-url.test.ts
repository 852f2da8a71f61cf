import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { silentLog } from '../../../../shared/ports/log.ts';
import { buildFixture } from '../../../../test/fixtures/functions/build.ts';
import { startDirector } from '../../../../test/fixtures/functions/director.ts';
import { createFunctionUrl } from '../function-url.ts';
import { createPool, type FunctionPool } from '../pool.ts';

interface HttpEvent {
  rawPath: string;
  rawQueryString: string;
  headers: Record<string, string>;
  queryStringParameters?: Record<string, string>;
  cookies?: string[];
  body?: string;
  isBase64Encoded: boolean;
  requestContext: { http: { method: string } };
}

let fixture: Awaited<ReturnType<typeof buildFixture>>;
let director: Awaited<ReturnType<typeof startDirector<{ event: HttpEvent }>>>;
let pool: FunctionPool;
let server: Server;
let base: string;
let direction: object = {};
let last: HttpEvent | undefined;

beforeAll(async () => {
  fixture = await buildFixture('lambda');
  director = await startDirector(({ event }) => {
    last = event;
    return direction;
  });
  const spec = {
    name: 'api',
    bundle: fixture.bundle,
    handler: 'handler',
    timeoutMs: 20_000,
    memoryMb: 512,
    concurrencyMax: 2,
    environment: { DIRECTOR_URL: director.url },
    eventSources: [],
    url: true,
  };
  pool = createPool(spec, 'us-east-1', silentLog);
  server = createFunctionUrl(pool, silentLog);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await pool.close();
  await director.close();
  await fixture.remove();
});

async function call(returns: object, path: string, init?: RequestInit): Promise<Response> {
  direction = returns;
  last = undefined;
  return fetch(base + path, init);
}

test('a request arrives in payload format 2.0, its path as it was encoded', async () => {
  const reply = await call({ returns: { statusCode: 201, body: 'made' } }, '/v1/a%2Fb?x=1&x=2&y=%20', {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'X-Mixed': 'Yes', cookie: 'a=1; b=2' },
    body: '{"ä":1}',
  });
  expect(last).toMatchObject({
    version: '2.0',
    rawPath: '/v1/a%2Fb',
    rawQueryString: 'x=1&x=2&y=%20',
    queryStringParameters: { x: '1,2', y: ' ' },
    cookies: ['a=1', 'b=2'],
    headers: { 'x-mixed': 'Yes' },
    requestContext: { http: { method: 'POST' } },
    body: '{"ä":1}',
    isBase64Encoded: false,
  });
  expect([reply.status, await reply.text()]).toEqual([201, 'made']);
});

test('a body that is no text comes and goes in base64, byte for byte', async () => {
  const bytes = Buffer.from([0, 255, 128, 10]);
  const sent = {
    statusCode: 200,
    headers: { 'content-type': 'application/octet-stream' },
    body: bytes.toString('base64'),
  };
  const reply = await call({ returns: { ...sent, isBase64Encoded: true } }, '/', { method: 'PUT', body: bytes });
  expect([last!.isBase64Encoded, last!.body]).toEqual([true, bytes.toString('base64')]);
  expect(Buffer.from(await reply.arrayBuffer())).toEqual(bytes);
});

test('headers and cookies of the handler are sent, a redirect is left to the client', async () => {
  const returns = { statusCode: 302, headers: { Location: '/there' }, cookies: ['a=1', 'b=2'] };
  const reply = await call({ returns }, '/', { redirect: 'manual' });
  expect(reply.headers.get('location')).toBe('/there');
  expect(reply.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
});

test('a value without a status code is a 200 that carries it as JSON', async () => {
  const reply = await call({ returns: { hello: 1 } }, '/');
  expect([reply.status, await reply.json()]).toEqual([200, { hello: 1 }]);
});

test.each([
  ['throws', { throws: 'no' }],
  ['answers more than 6 MB', { does: 'fill' }],
  ['gives a status that is none', { returns: { statusCode: 'fine' } }],
])('a function that %s is a 502', async (_, returns) => {
  expect((await call(returns, '/')).status).toBe(502);
});

test('4.4 MB of file pass, 4.8 MB are a 413 that the function never sees: the event carries them in base64', async () => {
  const file = (bytes: number): RequestInit => ({
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=x' },
    body: new Uint8Array(bytes),
  });
  expect((await call({ returns: { statusCode: 200 } }, '/', file(4_400_000))).status).toBe(200);
  const refused = await call({ returns: { statusCode: 200 } }, '/', file(4_800_000));
  expect(refused.status).toBe(413);
  expect(await refused.json()).toEqual({
    Message: 'Request must be smaller than 6291456 bytes for the InvokeFunction operation',
    error: {
      message: expect.stringContaining('/v1/uploads'),
      type: 'invalid_request_error',
      param: null,
      code: 'request_too_large',
    },
  });
  expect(last).toBeUndefined();
});

test('a body of 40 MB is refused with the same 413, not with a broken connection', async () => {
  const refused = await call({}, '/', { method: 'POST', body: new Uint8Array(40_000_000) });
  expect(refused.status).toBe(413);
  expect(last).toBeUndefined();
});
