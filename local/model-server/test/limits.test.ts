import { describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { decideAdmission, drawDelayMs, FULL_BUDGET, refillBudget, retryAfterHeaders } from '../admission.ts';
import { DEFAULT_BEHAVIOUR, type ModelBehaviour, seededRandom } from '../index.ts';
import { drawLognormal } from '../random.ts';
import { start, TestClock } from './support.ts';

const behaviour = (patch: Partial<ModelBehaviour>): ModelBehaviour => ({ ...DEFAULT_BEHAVIOUR, ...patch });
const ask = (client: OpenAI, model = 'm') =>
  client.chat.completions.create({ model, messages: [{ role: 'user', content: 'x' }] });
const refusal = async (call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> => {
  const error = await call.then(
    () => null,
    (caught: unknown) => caught,
  );
  if (error instanceof OpenAI.APIError) return error;
  throw new Error('the call was not refused');
};

describe('requests per minute', () => {
  test('beyond it 429, with the time until there is room; that long later the next call passes', async () => {
    const clock = new TestClock();
    const { client } = await start({ clock, behaviour: { m: { requestsPerMinute: 2 } } });
    const first = await ask(client).withResponse();
    expect(Object.fromEntries(first.response.headers)).toMatchObject({
      'x-ratelimit-limit-requests': '2',
      'x-ratelimit-remaining-requests': '1',
      'x-ratelimit-reset-requests': '30s',
    });
    await ask(client);
    const error = await refusal(ask(client));
    expect(error).toMatchObject({ status: 429, type: 'requests', code: 'rate_limit_exceeded' });
    expect(error.headers?.get('retry-after')).toBe('30');
    expect(error.headers?.get('x-ratelimit-remaining-requests')).toBe('0');
    clock.move(29_999);
    await refusal(ask(client));
    clock.move(1);
    await ask(client);
  });

  test('one model at its limit leaves the others alone', async () => {
    const { client } = await start({ clock: new TestClock(), behaviour: { '*': { requestsPerMinute: 1 } } });
    await ask(client, 'a');
    await refusal(ask(client, 'a'));
    await ask(client, 'b');
  });
});

describe('tokens per minute', () => {
  test('input and the most that may be generated count; a call above the limit never fits', () => {
    const limited = behaviour({ tokensPerMinute: 1_000 });
    const first = decideAdmission({ budget: FULL_BUDGET, inFlight: 0 }, limited, 700, 0);
    expect(first).toMatchObject({ admitted: true, budget: { tokens: 300 } });
    const second = decideAdmission({ budget: first.budget, inFlight: 1 }, limited, 600, 0);
    expect(second).toMatchObject({ admitted: false, limit: 'tokens', waitMs: 18_000, budget: { tokens: 300 } });
    expect(decideAdmission({ budget: first.budget, inFlight: 1 }, limited, 600, 18_000)).toMatchObject({
      admitted: true,
    });
    const never = decideAdmission({ budget: FULL_BUDGET, inFlight: 0 }, limited, 1_001, 0);
    expect(never).toMatchObject({ admitted: false, limit: 'tokens', waitMs: null });
  });

  test('a budget never holds more than a minute, and lowering a limit takes hold at once', () => {
    const budget = refillBudget(FULL_BUDGET, behaviour({ requestsPerMinute: 60 }), 5);
    expect(budget.requests).toBe(60);
    expect(refillBudget(budget, behaviour({ requestsPerMinute: 6 }), 5).requests).toBe(6);
    expect(refillBudget({ ...budget, requests: 0 }, behaviour({ requestsPerMinute: 60 }), 1_005).requests).toBe(1);
  });
});

describe('concurrency', () => {
  test('one call beyond it gets 429 at once, and room is back when one ends', async () => {
    const clock = new TestClock();
    const { client, server } = await start({ clock, behaviour: { m: { concurrencyMax: 2, latency: { ms: 100 } } } });
    const running = [ask(client), ask(client)];
    await clock.untilSleeping(2);
    expect(await refusal(ask(client))).toMatchObject({ status: 429, type: 'concurrency' });
    clock.move(100);
    await Promise.all(running);
    const next = ask(client);
    await clock.untilSleeping(1);
    clock.move(100);
    await next;
    expect(server.counters()).toMatchObject({ inFlight: 0, totals: { outcomes: { answered: 3, 429: 1 } } });
  });
});

describe('Retry-After', () => {
  const now = Date.parse('2026-03-01T00:00:00.250Z');
  const year = 365 * 86_400_000;
  test.each([
    ['seconds', null, { 'retry-after': '3' }],
    ['milliseconds', null, { 'retry-after-ms': '2500' }],
    ['date', null, { 'retry-after': 'Sun, 01 Mar 2026 00:00:03 GMT' }],
    ['none', null, {}],
    ['seconds', year, { 'retry-after': '31536000' }],
    ['seconds', -5_000, { 'retry-after': '-5' }],
    ['date', -year, { 'retry-after': 'Sat, 01 Mar 2025 00:00:01 GMT' }],
  ] as const)('%s with %p ms set is %j when 2.5 s are to be waited', (form, ms, headers) => {
    expect(retryAfterHeaders(behaviour({ retryAfter: { form, ms } }), 2_500, now)).toEqual(headers);
  });

  test('a 503 carries it as well, other server errors do not', async () => {
    const { client, server } = await start({
      behaviour: { m: { faults: { server_error: 1 }, serverErrorStatus: 503 } },
    });
    expect((await refusal(ask(client))).headers?.get('retry-after')).toBe('1');
    server.setBehaviour('m', { serverErrorStatus: 502 });
    expect((await refusal(ask(client))).headers?.get('retry-after')).toBeNull();
  });
});

describe('latency', () => {
  test('lognormal: half the draws are below p50, one in a hundred above p99', () => {
    const random = seededRandom(7);
    const draws = Array.from({ length: 20_000 }, () => drawLognormal(random, 100, 1_000)).sort((a, b) => a - b);
    expect(draws[10_000]).toBeGreaterThan(95);
    expect(draws[10_000]).toBeLessThan(105);
    expect(draws[19_800]).toBeGreaterThan(850);
    expect(draws[19_800]).toBeLessThan(1_150);
  });

  test('p50 equal to p99 is a fixed time', () => {
    const fixed = behaviour({ latency: { p50Ms: 40, p99Ms: 40 } });
    expect(drawDelayMs(fixed, { input: 1, output: 1 }, seededRandom(1))).toBe(40);
  });
});
