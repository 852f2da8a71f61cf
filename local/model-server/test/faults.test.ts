import { describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import type { FaultKind } from '../index.ts';
import { post, start, TestClock, until } from './support.ts';

const ask = (client: OpenAI, content = 'One sentence. Another one?', model = 'm') =>
  client.chat.completions.create({ model, messages: [{ role: 'user', content }] });
const embed = (client: OpenAI, input: string[]) => client.embeddings.create({ model: 'm', input, dimensions: 4 });
const faulty = (kind: FaultKind) => ({ behaviour: { '*': { faults: { [kind]: 1 } } } });

describe('faults that refuse', () => {
  test.each([
    ['rate_limited', {}, OpenAI.RateLimitError, 429],
    ['server_error', {}, OpenAI.InternalServerError, 500],
    ['server_error', { serverErrorStatus: 503 }, OpenAI.InternalServerError, 503],
    ['client_error', {}, OpenAI.BadRequestError, 400],
    ['client_error', { clientErrorStatus: 403 }, OpenAI.PermissionDeniedError, 403],
    ['unauthorized', {}, OpenAI.AuthenticationError, 401],
  ] as const)('%s %j is %p for the openai client, and nothing is computed', async (kind, more, kindOfError, status) => {
    const { client, server } = await start({ behaviour: { m: { faults: { [kind]: 1 }, ...more } } });
    const error = await ask(client).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(kindOfError);
    expect(error).toMatchObject({ status, error: { message: expect.any(String), type: expect.any(String) } });
    expect(server.counters().totals).toMatchObject({ calls: 1, computedLines: 0, outcomes: { [status]: 1 } });
  });

  test('hang accepts the call and never answers; it ends when the caller gives up', async () => {
    const { client, server } = await start(faulty('hang'));
    const hanging = new AbortController();
    const call = client.chat.completions.create(
      { model: 'm', messages: [{ role: 'user', content: 'x' }] },
      { signal: hanging.signal },
    );
    await until(() => server.counters().inFlight === 1);
    hanging.abort();
    await expect(call).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
    await until(() => server.counters().totals.outcomes.hang === 1);
    expect(server.counters()).toMatchObject({ inFlight: 0, totals: { computedLines: 0 } });
  });

  test('reset closes the connection without an answer', async () => {
    const { client } = await start(faulty('reset'));
    await expect(ask(client)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
  });

  test('closing the server ends calls that hang or wait', async () => {
    const { client, server } = await start({
      behaviour: { hung: { faults: { hang: 1 } }, slow: { latency: { ms: 3_600_000 } } },
    });
    const calls = ['hung', 'slow'].map((model) => ask(client, 'x', model).catch((error: unknown) => error));
    await until(() => server.counters().inFlight === 2);
    await server.close();
    await server.close();
    for (const error of await Promise.all(calls)) expect(error).toBeInstanceOf(OpenAI.APIConnectionError);
  });
});

describe('shares', () => {
  test('each fault takes its share of calls, one fault per call, the same for the same seed', async () => {
    const behaviour = { m: { faults: { server_error: 0.2, rate_limited: 0.1, client_error: 0.1 } } };
    const outcomes = async () => {
      const { server } = await start({ behaviour });
      for (let call = 0; call < 500; call++) {
        await (await post(server, '/embeddings', '{"model":"m","input":"x","dimensions":2}')).arrayBuffer();
      }
      return server.counters().totals.outcomes;
    };
    const first = await outcomes();
    expect(await outcomes()).toEqual(first);
    expect(first['500']).toBeGreaterThan(60);
    expect(first['500']).toBeLessThan(140);
    expect(first['429']).toBeGreaterThan(20);
    expect(first['400']).toBeLessThan(90);
    expect(Object.values(first).reduce((sum, each) => sum + each)).toBe(500);
  });
});

describe('faults that spoil the answer', () => {
  const raw = async (kind: FaultKind, path = '/embeddings') => {
    const { server } = await start(faulty(kind));
    const body = path === '/embeddings' ? { input: ['a', 'b', 'c'], dimensions: 4 } : chatBody;
    const response = await post(server, path, JSON.stringify({ model: 'm', ...body }));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    return { server, response };
  };
  const chatBody = { messages: [{ role: 'user', content: 'x' }] };
  type Embeddings = OpenAI.CreateEmbeddingResponse;

  test('not_json: a page of HTML with status 200', async () => {
    const { response, server } = await raw('not_json');
    expect(await response.text()).toMatch(/^<html>/);
    expect(server.counters().totals).toMatchObject({ computedLines: 3, inputTokens: 0, outcomes: { not_json: 1 } });
  });

  test('wrong_shape: JSON, but no list and no choices', async () => {
    const { response } = await raw('wrong_shape');
    expect(((await response.json()) as Embeddings).data).toBe('none');
  });

  test('fewer_embeddings: the last one is missing; a chat completion has no choices', async () => {
    const { response } = await raw('fewer_embeddings');
    expect(((await response.json()) as Embeddings).data.map((each) => each.index)).toEqual([0, 1]);
    const chat = await raw('fewer_embeddings', '/chat/completions');
    expect(((await chat.response.json()) as OpenAI.ChatCompletion).choices).toEqual([]);
  });

  test('reordered_embeddings: last first, each under its true index', async () => {
    const { response } = await raw('reordered_embeddings');
    const spoilt = (await response.json()) as Embeddings;
    expect(spoilt.data.map((each) => each.index)).toEqual([2, 1, 0]);
    const { client } = await start();
    const good = await client.embeddings.create({
      model: 'm',
      input: ['a', 'b', 'c'],
      dimensions: 4,
      encoding_format: 'float',
    });
    expect(spoilt.data.toReversed()).toEqual(good.data);
  });

  test('other_model: a good answer that names another model', async () => {
    const { response } = await raw('other_model');
    expect(await response.json()).toMatchObject({ model: 'm-other', data: [{}, {}, {}] });
  });

  test('error_in_200: an error object with status 200', async () => {
    const { response } = await raw('error_in_200');
    expect(await response.json()).toMatchObject({ error: { code: 'model_overloaded' } });
  });

  test('truncated: the connection closes in the middle of the promised body', async () => {
    const { response } = await raw('truncated');
    await expect(response.text()).rejects.toThrow();
  });

  test('huge_body: as many bytes as set, good JSON at their end', async () => {
    const { client, server } = await start({ behaviour: { m: { faults: { huge_body: 1 }, hugeBytes: 10_000_000 } } });
    const response = await post(server, '/embeddings', '{"model":"m","input":"x"}');
    expect(response.headers.get('content-length')).toBe('10000000');
    expect((await response.bytes()).length).toBe(10_000_000);
    expect((await embed(client, ['x'])).data).toHaveLength(1);
  });

  test('endless_stream: goes on until the caller stops reading', async () => {
    const { response, server } = await raw('endless_stream');
    let bytes = 0;
    for await (const piece of response.body ?? []) {
      bytes += piece.length;
      if (bytes > 1_000_000) break;
    }
    await until(() => server.counters().inFlight === 0);
    expect(server.counters().totals.outcomes).toEqual({ endless_stream: 1 });
  });
});

describe('markers in the text', () => {
  test('[[status:400]] refuses the call that contains it, and no other', async () => {
    const { client, server } = await start();
    await expect(embed(client, ['good', 'bad [[status:400]]', 'good too'])).rejects.toMatchObject({
      status: 400,
      code: 'marked_input',
    });
    expect((await embed(client, ['good', 'good too'])).data).toHaveLength(2);
    await expect(ask(client, 'x [[status:503]]')).rejects.toMatchObject({ status: 503 });
    expect(Object.values(server.counters().inputs)).toContainEqual({ received: 2, computed: 1 });
  });

  test('[[crash]] closes the connection; [[fault:KIND]] gives any fault; anything else in brackets is text', async () => {
    const { client } = await start();
    for (const text of ['x [[crash]]', 'x [[fault:reset]]']) {
      await expect(ask(client, text)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    }
    expect((await ask(client, 'x [[fault:other_model]]')).model).toBe('m-other');
    for (const text of ['[[fault:none_such]]', '[[status:200]]', '[[', '[[[[status]]']) {
      expect((await ask(client, text)).model).toBe('m');
    }
  });

  test('a marker in a system message counts too', async () => {
    const { client } = await start();
    const call = client.chat.completions.create({
      model: 'm',
      messages: [
        { role: 'system', content: '[[status:422]]' },
        { role: 'user', content: 'x' },
      ],
    });
    await expect(call).rejects.toMatchObject({ status: 422 });
  });

  test('an outage is an outage for marked lines too', async () => {
    const { client } = await start({ behaviour: { m: { faults: { server_error: 1 } } } });
    await expect(ask(client, '[[status:400]]')).rejects.toMatchObject({ status: 500 });
  });
});

describe('time', () => {
  test('an answer takes the latency, the reading and the generating', async () => {
    const clock = new TestClock();
    const latency = { ms: 250 };
    const behaviour = { m: { latency, tokensPerSecond: 10, inputTokensPerSecond: 1_000, varyAnswers: false } };
    const { client, server } = await start({ clock, behaviour });
    const call = ask(client, 'three little words');
    await clock.untilSleeping(1);
    // 250 ms, 3 + 7 tokens read at 1,000 a second, 3 written at 10 a second.
    clock.move(250 + 10 + 299);
    expect(clock.sleeping).toBe(1);
    clock.move(1);
    expect((await call).usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 3 });
    expect(server.counters().log).toMatchObject([{ outcome: 'answered', ms: 560 }]);
  });

  test('a caller who leaves while the model works ends the call as abandoned, computed all the same', async () => {
    const clock = new TestClock();
    const { client, server } = await start({ clock, behaviour: { m: { latency: { ms: 1_000 } } } });
    const leaving = new AbortController();
    const call = client.embeddings.create({ model: 'm', input: 'x' }, { signal: leaving.signal });
    await clock.untilSleeping(1);
    leaving.abort();
    await expect(call).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
    await clock.untilSleeping(0);
    await until(() => server.counters().inFlight === 0);
    expect(server.counters().totals).toMatchObject({ computedLines: 1, outcomes: { abandoned: 1 } });
  });
});
