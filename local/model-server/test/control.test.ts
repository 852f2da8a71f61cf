import { describe, expect, test } from '@jest/globals';
import { hashLine, type ModelServer, type ModelServerCounters, startModelServer } from '../index.ts';
import { start, TestClock } from './support.ts';

const control = async (server: ModelServer, method: string, path: string, body?: unknown) => {
  const init = body === undefined ? { method } : { method, body: JSON.stringify(body) };
  const response = await fetch(`${server.origin}${path}`, init);
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
};

describe('behaviour while running', () => {
  test('the latest change wins, for one model and for all', async () => {
    const { server } = await start({ behaviour: { '*': { dimensions: 8 }, m: { dimensions: 16, inputsMax: 3 } } });
    const of = async (model: string) => (await control(server, 'GET', `/control/behaviour/${model}`)).body;
    expect(await of('m')).toMatchObject({ dimensions: 16, inputsMax: 3 });
    expect(await of('other')).toMatchObject({ dimensions: 8, inputsMax: 2_048 });
    const put = await control(server, 'PUT', '/control/behaviour/*', { dimensions: 32 });
    expect(put).toMatchObject({ status: 200, body: { dimensions: 32 } });
    expect(await of('m')).toMatchObject({ dimensions: 32, inputsMax: 3 });
    await control(server, 'PUT', '/control/behaviour/m', { dimensions: 64 });
    expect(await of('m')).toMatchObject({ dimensions: 64 });
    expect(await of('other')).toMatchObject({ dimensions: 32 });
    await control(server, 'DELETE', '/control/behaviour/m');
    expect(await of('m')).toMatchObject({ dimensions: 32 });
    expect(await control(server, 'DELETE', '/control/behaviour/*')).toMatchObject({ body: { dimensions: 8 } });
    expect(await of('m')).toMatchObject({ dimensions: 16, inputsMax: 3 });
  });

  test('the same by method: setBehaviour and resetBehaviour', async () => {
    const { server, client } = await start();
    const dimensions = async () =>
      (await client.embeddings.create({ model: 'a/b', input: 'x' })).data[0]?.embedding.length;
    server.setBehaviour('a/b', { dimensions: 2 });
    expect(await dimensions()).toBe(2);
    expect((await control(server, 'GET', '/control/behaviour/a%2Fb')).body).toMatchObject({ dimensions: 2 });
    server.resetBehaviour('a/b');
    expect(await dimensions()).toBe(256);
  });

  test('a change with a time to live ends by itself', async () => {
    const clock = new TestClock();
    const { server, client } = await start({ clock });
    const faults = { server_error: 1 };
    await control(server, 'PUT', '/control/behaviour/*?ttl_ms=60000', { faults });
    const ask = () => client.embeddings.create({ model: 'm', input: 'x' });
    clock.move(59_999);
    await expect(ask()).rejects.toMatchObject({ status: 500 });
    clock.move(1);
    await ask();
    expect(await control(server, 'GET', '/control/behaviour')).toMatchObject({ body: { settings: [] } });
  });

  test('setting the same member ten thousand times keeps one setting', async () => {
    const { server } = await start();
    for (let time = 1; time <= 10_000; time++) server.setBehaviour('m', { inputsMax: time });
    const { body } = await control(server, 'GET', '/control/behaviour');
    expect(body.settings).toEqual([{ model: 'm', patch: { inputsMax: 10_000 }, until: null }]);
  });

  test.each([
    [{ faults: { server_error: 2 } }, 'behaviour.faults.server_error'],
    [{ faults: { server_error: 0.6, hang: 0.6 } }, 'behaviour.faults'],
    [{ faults: { none_such: 1 } }, 'behaviour.faults'],
    [{ latncy: { ms: 1 } }, 'behaviour'],
    [{ latency: { ms: -1 } }, 'behaviour.latency'],
    [{ latency: { p50Ms: 10, p99Ms: 5 } }, 'behaviour.latency'],
    [{ dimensions: 0 }, 'behaviour.dimensions'],
    [{ retryAfter: { form: 'week', ms: 1 } }, 'behaviour.retryAfter.form'],
    [[], 'behaviour'],
  ])('%j is refused and names %s', async (patch, key) => {
    const { server } = await start();
    const refused = await control(server, 'PUT', '/control/behaviour/m', patch);
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_behaviour' } } });
    expect((refused.body.error as { param: string }).param).toMatch(new RegExp(`^${key}`));
    expect(() => server.setBehaviour('m', patch as object)).toThrow(/^behaviour\.m/);
    const atStart = startModelServer({ name: 'aws', behaviour: { m: patch as object } });
    await expect(atStart).rejects.toMatchObject({
      code: 'config_invalid',
      key: expect.stringMatching(/^behaviour\.m/),
    });
  });

  test('a body that is not JSON and a time to live that is no number are refused', async () => {
    const { server } = await start();
    const put = (query: string, body: string) =>
      fetch(`${server.origin}/control/behaviour/m${query}`, { method: 'PUT', body });
    expect((await put('', '{')).status).toBe(400);
    expect((await put('?ttl_ms=soon', '{}')).status).toBe(400);
    expect((await put('?ttl_ms=-1', '{}')).status).toBe(400);
  });
});

describe('counters', () => {
  const read = async (server: ModelServer, query = '') =>
    (await control(server, 'GET', `/control/counters${query}`)).body as unknown as ModelServerCounters;

  test('calls, lines, tokens and outcomes, per model and endpoint, and each line by its hash', async () => {
    const { server, client } = await start();
    const messages = [
      { role: 'system' as const, content: 'Be brief.' },
      { role: 'user' as const, content: 'Why?' },
    ];
    await client.embeddings.create({ model: 'e', input: ['one', 'two', 'one'] });
    const answer = await client.chat.completions.create({ model: 'm', messages });
    await client.chat.completions.create({ model: 'm', messages: [] }).catch(() => null);
    const counters = await read(server);
    expect(counters).toMatchObject({
      name: 'aws',
      inFlight: 0,
      totals: { calls: 3, lines: 4, computedLines: 4, outcomes: { answered: 2, 400: 1 } },
      models: {
        e: { '/v1/embeddings': { calls: 1, lines: 3, inputTokens: 3, outputTokens: 0 } },
        m: { '/v1/chat/completions': { calls: 2, lines: 1, outputTokens: answer.usage?.completion_tokens } },
      },
      inputsUncounted: 0,
      inputsRepeated: 1,
      log: [{ model: 'e', outcome: 'answered', lines: 3 }, { model: 'm' }, { model: 'm', outcome: '400', lines: 0 }],
    });
    expect(counters.inputs).toEqual({
      [hashLine('one')]: { received: 2, computed: 2 },
      [hashLine('two')]: { received: 1, computed: 1 },
      [hashLine('Be brief.\nWhy?')]: { received: 1, computed: 1 },
    });
    expect(server.counters()).toEqual(counters);
    expect((await read(server, '?inputs=none')).inputs).toEqual({});
  });

  test('after a reset everything is 0, and a call from before it is not counted when it ends', async () => {
    const clock = new TestClock();
    const { server, client } = await start({ clock, behaviour: { m: { latency: { ms: 10 } } } });
    const call = client.embeddings.create({ model: 'm', input: 'x' });
    await clock.untilSleeping(1);
    expect((await control(server, 'POST', '/control/counters/reset')).status).toBe(200);
    clock.move(10);
    await call;
    expect(server.counters()).toMatchObject({ totals: { calls: 0, outcomes: {} }, inputs: {}, models: {}, log: [] });
    expect(server.counters().inFlight).toBe(0);
  });

  test('memory is bounded: 200,000 lines and 1,000 calls are kept, what is beyond is counted as such', async () => {
    const { server, client } = await start();
    const send = (from: number, count: number) =>
      client.embeddings.create({
        model: 'e',
        input: Array.from({ length: count }, (_, index) => `${from + index}`),
        dimensions: 1,
      });
    for (let from = 0; from < 200_000; from += 2_000) await send(from, 2_000);
    await send(199_999, 3);
    for (let call = 0; call < 1_500; call++) await send(0, 1);
    const counters = server.counters();
    expect(Object.keys(counters.inputs)).toHaveLength(200_000);
    expect(counters.inputsUncounted).toBe(2);
    expect(counters.inputs[hashLine('199999')]).toEqual({ received: 2, computed: 2 });
    expect(counters.inputs[hashLine('0')]).toEqual({ received: 1_501, computed: 1_501 });
    expect(counters.log).toHaveLength(1_000);
  });

  test('model names beyond the 1,000th are counted together', async () => {
    const { server, client } = await start();
    for (let name = 0; name < 1_005; name++) await client.embeddings.create({ model: `m${name}`, input: 'x' });
    const { models, totals } = server.counters();
    expect(Object.keys(models)).toHaveLength(1_001);
    expect(models['(other)']?.['/v1/embeddings']?.calls).toBe(5);
    expect(totals.calls).toBe(1_005);
  });
});

test('healthz names the cloud', async () => {
  const { server } = await start({ name: 'azure' });
  expect(await control(server, 'GET', '/healthz')).toEqual({ status: 200, body: { status: 'ok', name: 'azure' } });
});

test('a port that is taken is refused by name', async () => {
  const { server } = await start();
  const second = startModelServer({ name: 'aws', port: server.port });
  await expect(second).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining(`${server.port}`),
  });
});
