import { describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { failoverFetch, UnreachableError } from '../../../client/index.ts';

const a = 'https://a.example/v1';
const b = 'https://b.example/v1';

type Fate = number | 'refused' | 'broken' | 'silent';

/** A network where each host behaves as it is told; records who was asked. */
function network(fates: Record<string, Fate | Fate[]>, options: Parameters<typeof failoverFetch>[1] = {}) {
  const asked: string[] = [];
  const clock = { now: 0 };
  const fetchOnce: typeof fetch = async (input, init) => {
    const url = String(input);
    asked.push(`${init?.method ?? 'GET'} ${url}`);
    const told = fates[new URL(url).hostname.split('.')[0]!]!;
    const fate = Array.isArray(told) ? (told.shift() ?? 200) : told;
    if (typeof fate === 'number') return new Response(`from ${url}`, { status: fate });
    if (fate === 'silent')
      return new Promise((_, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)));
    const code = fate === 'refused' ? 'ECONNREFUSED' : 'ECONNRESET';
    throw new TypeError('fetch failed', { cause: Object.assign(new Error(code), { code }) });
  };
  const send = failoverFetch([a, b], { fetch: fetchOnce, now: () => clock.now, ...options });
  return { asked, clock, send, hosts: () => asked.map((one) => one.split('//')[1]![0]) };
}

const post = (headers: Record<string, string> = {}, body: RequestInit['body'] = '{}') => ({
  method: 'POST',
  headers,
  body,
});
const key = { 'Idempotency-Key': 'k' };

describe('failoverFetch', () => {
  test.each<[string, Fate, RequestInit, string[]]>([
    ['GET, refused', 'refused', {}, ['a', 'b']],
    ['GET, broken off', 'broken', {}, ['a', 'b']],
    ['GET, 502', 502, {}, ['a', 'b']],
    ['GET, 503', 503, {}, ['a', 'b']],
    ['GET, 504', 504, {}, ['a', 'b']],
    ['DELETE, broken off', 'broken', { method: 'DELETE' }, ['a', 'b']],
    ['POST with an Idempotency-Key, broken off', 'broken', post(key), ['a', 'b']],
    ['POST with an Idempotency-Key, 503', 503, post(key), ['a', 'b']],
    ['POST without one, refused: it never left', 'refused', post(), ['a', 'b']],
    ['GET, 500: an answer', 500, {}, ['a']],
    ['GET, 404: an answer', 404, {}, ['a']],
    ['GET, 429: an answer', 429, {}, ['a']],
    ['POST without one, 503: it may have been carried out', 503, post(), ['a']],
  ])('%s', async (_, fate, init, hosts) => {
    const net = network({ a: fate, b: 200 });
    const response = await net.send(`${a}/batches?limit=1`, init);
    expect(net.hosts()).toEqual(hosts);
    expect(net.asked.at(-1)).toBe(`${init.method ?? 'GET'} ${hosts.at(-1) === 'a' ? a : b}/batches?limit=1`);
    expect(response.status).toBe(hosts.length === 2 ? 200 : fate);
  });

  test('a POST without a key whose connection breaks is never sent twice', async () => {
    const net = network({ a: 'broken', b: 200 });
    await expect(net.send(`${a}/batches`, post())).rejects.toThrow('fetch failed');
    expect(net.hosts()).toEqual(['a']);
  });

  test('a body that is a stream is never sent twice, key or not', async () => {
    const net = network({ a: 'broken', b: 200 });
    await expect(net.send(`${a}/files`, post(key, new Blob(['x']).stream()))).rejects.toThrow('fetch failed');
    expect(net.hosts()).toEqual(['a']);
  });

  test('forms, blobs and bytes are sent again whole', async () => {
    for (const body of [new FormData(), new Blob(['x']), new Uint8Array(3), new URLSearchParams()]) {
      const net = network({ a: 'broken', b: 200 });
      expect((await net.send(`${a}/files`, post(key, body))).status).toBe(200);
    }
  });

  test('silence is given up for what may be sent twice', async () => {
    const net = network({ a: 'silent', b: 200 }, { answerMs: 5 });
    expect((await net.send(`${a}/batches`)).status).toBe(200);
    expect(net.hosts()).toEqual(['a', 'b']);
  });

  test('who answered is asked first for a while, then the preferred one again', async () => {
    const net = network({ a: ['refused', 200, 200], b: 200 }, { stickMs: 1000 });
    await net.send(`${a}/batches`);
    net.clock.now = 999;
    await net.send(`${a}/batches`);
    net.clock.now = 2100;
    await net.send(`${a}/batches`);
    expect(net.hosts()).toEqual(['a', 'b', 'b', 'a']);
  });

  test('after a break of what is not sent twice, the next request begins at the other cloud', async () => {
    const net = network({ a: 'broken', b: 200 });
    await net.send(`${a}/batches`, post()).catch(() => {});
    await net.send(`${a}/batches`, post());
    expect(net.hosts()).toEqual(['a', 'b']);
  });

  test('either base address fails over to the other', async () => {
    const net = network({ a: 'refused', b: 200 });
    expect(await (await net.send(`${b}/files`)).text()).toBe(`from ${b}/files`);
  });

  test('where nobody answers, every attempt is named', async () => {
    const net = network({ a: 'refused', b: 'broken' });
    const error = await net.send(`${a}/batches`).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(UnreachableError);
    expect((error as UnreachableError).attempts).toEqual([
      { base: a, reason: 'ECONNREFUSED', wasNeverSent: true },
      { base: b, reason: 'ECONNRESET', wasNeverSent: false },
    ]);
  });

  test('an unhappy answer is given rather than the silence after it', async () => {
    const net = network({ a: 503, b: 'refused' });
    expect((await net.send(`${a}/batches`)).status).toBe(503);
  });

  test('an abort by the caller ends it, and asks nobody else', async () => {
    const net = network({ a: 'silent', b: 200 });
    const abort = new AbortController();
    const sent = net.send(`${a}/batches`, { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(sent).rejects.toThrow('enough');
    expect(net.hosts()).toEqual(['a']);
  });

  test('addresses under neither base pass through untouched', async () => {
    const net = network({ a: 'refused', b: 200, elsewhere: 200 });
    await net.send('https://elsewhere.example/v1/batches');
    await net.send('https://b.example/v10/x');
    expect(net.asked).toEqual(['GET https://elsewhere.example/v1/batches', 'GET https://b.example/v10/x']);
  });

  test('a Request is taken as well as an address', async () => {
    const net = network({ a: 'refused', b: 200 });
    expect((await net.send(new Request(`${a}/batches`))).status).toBe(200);
  });

  test('switches are told', async () => {
    const switches: object[] = [];
    const net = network({ a: 'refused', b: 200 }, { onSwitch: (event) => switches.push(event) });
    await net.send(`${a}/batches`);
    expect(switches).toEqual([{ from: a, to: b, reason: 'ECONNREFUSED' }]);
  });

  test('the openai client works through it while the cloud of its baseURL is gone', async () => {
    const net = network({ a: 'refused', b: 200 });
    const answering: typeof fetch = async (input, init) => {
      const response = await net.send(input, init);
      expect(response.status).toBe(200);
      return Response.json({ object: 'list', data: [{ id: 'batch_1' }], has_more: false });
    };
    const client = new OpenAI({ baseURL: a, apiKey: 'k', fetch: answering, maxRetries: 0 });
    expect((await client.batches.list()).data.map(({ id }) => id)).toEqual(['batch_1']);
    expect(net.hosts()).toEqual(['a', 'b']);
  });
});
