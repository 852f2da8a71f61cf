import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import { type ModelServer, startModelServer } from '../../../local/model-server/index.ts';
import type { BreakerNote } from '../../../shared/batching/breaker.ts';
import type { BatchingCore, LineRequest } from '../../../shared/batching/core.ts';
import { createBatchingCore } from '../../../shared/batching/engine.ts';
import type { Backend, BackendReply } from '../../../shared/inference/backend.ts';
import { openAiBackend } from '../../../shared/inference/openai.ts';
import type { Endpoint, ResultRow } from '../../../shared/journal/facts.ts';
import type { JsonObject } from '../../../shared/journal/json.ts';
import type { Clock } from '../../../shared/ports/clock.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import { seeded } from '../../support/world.ts';

const realClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    }),
};

const line = (index: number, body: JsonObject): LineRequest => ({
  line: index,
  customId: `line-${index}`,
  body: { model: 'm', ...body },
  bytes: 100,
});
const chat = (index: number, text = `The boat is called Number ${index}. It is red.`) =>
  line(index, { messages: [{ role: 'user', content: text }] });
const embed = (index: number, input: JsonObject[string] = `text number ${index}`) => line(index, { input });
const kinds = (rows: ResultRow[]) => rows.map((row) => (row.outcome === 'answered' ? row.status : row.outcome));

function coreOver(backend: Backend, clock: Clock = realClock): BatchingCore {
  let draws = 0;
  return createBatchingCore({
    site: 'aws',
    cloud: 'aws',
    route: (alias) => (alias === 'm' ? { backend, model: 'm-1' } : undefined),
    clock,
    random: seeded(1),
    ids: { uuid: () => String(draws++).padStart(32, '0') },
    log: silentLog,
  });
}

/** Tells other processes what it finds of its backend, into `notes`. */
function notingCore(backend: Backend, clock: Clock, notes: BreakerNote[]): BatchingCore {
  return createBatchingCore({
    site: 'azure',
    cloud: 'azure',
    route: () => ({ backend, model: 'm-1' }),
    clock,
    random: seeded(1),
    ids: { uuid: () => '0'.repeat(32) },
    log: silentLog,
    breakers: { read: async () => [], write: async (note) => void notes.push(note) },
  });
}

describe('over a real model server', () => {
  let server: ModelServer;
  let core: BatchingCore;
  beforeEach(async () => {
    server = await startModelServer({ name: 'aws' });
    core = coreOver(openAiBackend({ name: 'local', baseUrl: server.url, fetch: globalThis.fetch, now: Date.now }));
  });
  afterEach(() => server.close());
  const run = (endpoint: Endpoint, lines: LineRequest[], ms = 20_000) =>
    core.run({ endpoint, model: 'm', lines, deadline: Date.now() + ms });
  const calls = () => Object.values(server.counters().inputs).reduce((sum, { computed }) => sum + computed, 0);

  test('chat lines come back in their order, each with its answer, its usage and who served it', async () => {
    const rows = await run(
      '/v1/chat/completions',
      Array.from({ length: 40 }, (_, i) => chat(i)),
    );
    expect(rows.map(({ customId }) => customId)).toEqual(Array.from({ length: 40 }, (_, i) => `line-${i}`));
    for (const row of rows) {
      expect(row).toMatchObject({
        outcome: 'answered',
        status: 200,
        servedBy: { site: 'aws', cloud: 'aws', backend: 'local' },
      });
      expect(row.outcome === 'answered' && row.usage.inputTokens).toBeGreaterThan(0);
    }
  });

  test('embeddings of several runs share one call, and each line gets its own vectors, counted from 0', async () => {
    const lines = [...Array.from({ length: 30 }, (_, i) => embed(i)), embed(30, ['two', 'inputs'])];
    const halves = await Promise.all([
      run('/v1/embeddings', lines.slice(0, 15)),
      run('/v1/embeddings', lines.slice(15)),
    ]);
    const rows = halves.flat();
    expect(kinds(rows)).toEqual(Array(31).fill(200));
    const alone = await run('/v1/embeddings', [embed(7)]);
    const vectors = (row: ResultRow) => (row.outcome === 'answered' ? (row.body as { data: JsonObject[] }).data : []);
    expect(vectors(rows[7]!)).toEqual(vectors(alone[0]!));
    expect(vectors(rows[30]!).map(({ index }) => index)).toEqual([0, 1]);
    const requestIds = new Set(rows.map((row) => (row.outcome === 'answered' ? row.requestId : '')));
    expect(requestIds.size).toBe(1);
  });

  test('reordered embeddings are put in order; fewer than asked for are no answer', async () => {
    server.setBehaviour('*', { faults: { reordered_embeddings: 1 } });
    const [one, two] = await run('/v1/embeddings', [embed(0, 'apples and pears'), embed(1, 'ships at sea')]);
    server.resetBehaviour('*');
    const [straight] = await run('/v1/embeddings', [embed(0, 'apples and pears')]);
    const data = (row?: ResultRow) =>
      row?.outcome === 'answered' ? (row.body as { data: JsonObject[] }).data : undefined;
    expect(data(one)).toEqual(data(straight));
    expect(data(two)).not.toEqual(data(straight));
    server.setBehaviour('*', { faults: { fewer_embeddings: 1 } });
    const rows = await run('/v1/embeddings', [embed(0, ['a', 'b']), embed(1, ['c', 'd'])]);
    // Canaries fare no better: it is no line's fault, and spends no attempt.
    expect(rows.map((row) => row.outcome === 'retry' && row.counts)).toEqual([false, false]);
  });

  test('one line that the model refuses in a packed call is found by halving; its neighbours are answered', async () => {
    const lines = Array.from({ length: 16 }, (_, i) => embed(i, i === 11 ? 'bad [[status:400]]' : `text ${i}`));
    const rows = await run('/v1/embeddings', lines);
    expect(kinds(rows)).toEqual(Array.from({ length: 16 }, (_, i) => (i === 11 ? 400 : 200)));
  });

  test('one line that is refused is asked again and then answered with the refusal', async () => {
    const rows = await run('/v1/chat/completions', [chat(0), chat(1, 'bad [[status:400]] text.'), chat(2)]);
    expect(kinds(rows)).toEqual([200, 400, 200]);
  });

  test('F14 a provider that refuses 40 % of all calls fails no line: what is not served comes again', async () => {
    server.setBehaviour('*', { faults: { client_error: 0.4 } });
    const rows = await run(
      '/v1/chat/completions',
      Array.from({ length: 60 }, (_, i) => chat(i)),
    );
    expect(kinds(rows).filter((kind) => kind === 400)).toEqual([]);
    for (const row of rows) if (row.outcome === 'retry') expect(row.counts).toBe(false);
  });

  test('F14 a provider that refuses everything fails no line, its canary included', async () => {
    server.setBehaviour('*', { faults: { client_error: 1 } });
    const rows = await run(
      '/v1/chat/completions',
      Array.from({ length: 20 }, (_, i) => chat(i)),
    );
    expect(rows.every((row) => row.outcome === 'retry' && row.cause === 'backend' && !row.counts)).toBe(true);
  });

  test('many lines that are really wrong are refused, since the canary is served', async () => {
    const rows = await run(
      '/v1/chat/completions',
      Array.from({ length: 20 }, (_, i) => chat(i, 'x [[status:400]].')),
    );
    expect(kinds(rows)).toEqual(Array(20).fill(400));
  });

  test.each([
    ['401', { unauthorized: 1 }, 'site'],
    ['503', { server_error: 1 }, 'backend'],
    ['429', { rate_limited: 1 }, 'backend'],
    ['a reset connection', { reset: 1 }, 'site'],
  ] as const)('F15 %s spends no attempt of any line', async (_, faults, cause) => {
    server.setBehaviour('*', { faults: { ...faults }, retryAfter: { form: 'none', ms: 0 } });
    const rows = await run('/v1/chat/completions', [chat(0), chat(1)], 6_000);
    for (const row of rows) expect(row).toMatchObject({ outcome: 'retry', cause, counts: false });
  });

  test.each([['not_json'], ['wrong_shape'], ['truncated'], ['error_in_200'], ['endless_stream']] as const)(
    'an answer that is %s answers no line and spends one attempt, or ends at the deadline',
    async (fault) => {
      server.setBehaviour('*', { faults: { [fault]: 1 } });
      const [row] = await run('/v1/chat/completions', [chat(0)], 4_000);
      expect(row).toMatchObject({ outcome: 'retry' });
    },
  );

  test('a server that hangs: every line comes back by the deadline, spending nothing', async () => {
    server.setBehaviour('*', { faults: { hang: 1 } });
    const started = Date.now();
    const rows = await run(
      '/v1/chat/completions',
      Array.from({ length: 30 }, (_, i) => chat(i)),
      1_500,
    );
    expect(Date.now() - started).toBeLessThan(10_000);
    for (const row of rows) expect(row).toMatchObject({ outcome: 'retry', counts: false });
  });

  test('a Retry-After of a year is not waited for', async () => {
    const year = 365 * 24 * 3_600_000;
    server.setBehaviour('*', { faults: { rate_limited: 1 }, retryAfter: { form: 'seconds', ms: year } });
    const [row] = await run('/v1/chat/completions', [chat(0)], 2_000);
    expect(row).toMatchObject({ outcome: 'retry', counts: false });
  });

  test('another alias than is served here is given back untouched', async () => {
    const rows = await core.run({
      endpoint: '/v1/responses',
      model: 'other',
      lines: [chat(0)],
      deadline: Date.now() + 1000,
    });
    expect(rows).toMatchObject([{ outcome: 'retry', counts: false }]);
    expect(calls()).toBe(0);
  });
});

describe('over a backend of the test', () => {
  test('concurrency is halved by throttles and comes back one by one', async () => {
    let running = 0;
    let most = 0;
    const backend: Backend = {
      name: 'counted',
      async call(): Promise<BackendReply> {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        const isOver = running > 4;
        running -= 1;
        if (isOver) return { kind: 'answered', status: 429, body: {}, retryAfterMs: 1 };
        return { kind: 'answered', status: 200, body: { choices: [{}] } };
      },
    };
    const lines = Array.from({ length: 200 }, (_, i) => chat(i));
    const rows = await coreOver(backend).run({
      endpoint: '/v1/chat/completions',
      model: 'm',
      lines,
      deadline: Date.now() + 30_000,
    });
    expect(most).toBe(16);
    expect(rows).toHaveLength(200);
    expect(kinds(rows).filter((kind) => kind === 200).length).toBeGreaterThan(100);
  });

  test('a backend that throws is one line retried, not a batch lost', async () => {
    const backend: Backend = { name: 'bug', call: () => Promise.reject(new Error('bug')) };
    const rows = await coreOver(backend).run({
      endpoint: '/v1/chat/completions',
      model: 'm',
      lines: [chat(0), chat(1)],
      deadline: Date.now() + 5_000,
    });
    expect(rows).toMatchObject([{ outcome: 'retry', cause: 'line' }, { outcome: 'retry' }]);
  });
});

test('lines that are refused come to their end where there is room for one call, and each has a deadline of its own', async () => {
  const clock = new ManualClock();
  let calls = 0;
  const backend: Backend = {
    name: 'one at a time',
    async call({ body }): Promise<BackendReply> {
      calls += 1;
      const isBad = JSON.stringify(body).includes('bad');
      await clock.sleep(isBad ? 15_000 : 300);
      return isBad
        ? { kind: 'answered', status: 400, body: { error: { message: 'bad' } } }
        : { kind: 'answered', status: 200, body: { choices: [{}] } };
    },
  };
  const core = createBatchingCore({
    site: 'azure',
    cloud: 'azure',
    route: () => ({ backend, model: 'm-1', limits: { concurrencyMax: 1 } }),
    clock,
    random: seeded(1),
    ids: { uuid: () => '0'.repeat(32) },
    log: silentLog,
  });
  const lines = 20;
  let ended = 0;
  // As Service Bus hands them out: one message a call of the function, each with the whole time of a run.
  const work = async (index: number) => {
    await clock.sleep(index * 11_000);
    for (;;) {
      const job = { endpoint: '/v1/chat/completions', model: 'm', lines: [chat(index, `bad ${index}`)] } as const;
      const [row] = await core.run({ ...job, deadline: clock.now() + 240_000 });
      if (row!.outcome === 'answered') break;
      await clock.sleep(500);
    }
    ended += 1;
  };
  for (let index = 0; index < lines; index++) void work(index);
  const hourMs = 3_600_000;
  for (let passed = 0; passed < hourMs && ended < lines; passed += 500) {
    await clock.advance(500);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(ended).toBe(lines);
  // Each six times, with canaries in the middle, and few for nothing.
  expect(calls).toBeLessThan(2 * (6 + 6) * lines);
});

test('a canary that is refused proves that refusals are about no line: for five minutes none is believed, by nobody', async () => {
  const clock = new ManualClock();
  const notes: BreakerNote[] = [];
  let isIll = true;
  const backend: Backend = {
    name: 'refuses',
    call: async ({ body }): Promise<BackendReply> =>
      isIll || JSON.stringify(body).includes('bad')
        ? { kind: 'answered', status: 400, body: { error: { message: 'bad' } } }
        : { kind: 'answered', status: 200, body: { choices: [{}] } },
  };
  const core = notingCore(backend, clock, notes);
  const run = async () => {
    const job = { endpoint: '/v1/chat/completions', model: 'm', lines: [chat(0, 'bad')] } as const;
    const [row] = await core.run({ ...job, deadline: clock.now() + 60_000 });
    return kinds([row!])[0];
  };
  expect(await run()).toBe('retry');
  expect(notes.at(-1)).toMatchObject({ state: 'closed', doubtedUntil: clock.now() + 300_000 });
  isIll = false;
  await clock.advance(299_000);
  expect(await run()).toBe('retry');
  await clock.advance(1_000);
  expect(await run()).toBe(400);
});

test('while a backend refuses some calls, workers tell that it serves others: by what lines ask for, four times a minute at most', async () => {
  const clock = new ManualClock();
  const notes: BreakerNote[] = [];
  let running = 0;
  let isFull = false;
  const backend: Backend = {
    name: 'two places',
    async call(): Promise<BackendReply> {
      if (isFull && running >= 2) return { kind: 'answered', status: 429, body: {} };
      running += 1;
      await clock.sleep(2_000);
      running -= 1;
      return { kind: 'answered', status: 200, body: { choices: [{}] } };
    },
  };
  const core = notingCore(backend, clock, notes);
  const run = async (lines: number) => {
    let isDone = false;
    const all = Array.from({ length: lines }, (_, i) => chat(i));
    const deadline = clock.now() + 240_000;
    void core.run({ endpoint: '/v1/chat/completions', model: 'm', lines: all, deadline }).then(() => {
      isDone = true;
    });
    for (let passed = 0; passed < 240_000 && !isDone; passed += 500) {
      await clock.advance(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const served = () => notes.filter(({ serves }) => serves !== undefined);
  await run(40);
  expect(served()).toEqual([]);
  isFull = true;
  const from = clock.now();
  await run(60);
  const minutes = (clock.now() - from) / 60_000;
  expect(served().length).toBeGreaterThan(0);
  expect(served().length).toBeLessThanOrEqual(4 * minutes + 2);
  expect(served().at(-1)).toMatchObject({ site: 'azure', model: 'm-1', state: 'closed', serves: { aliases: ['m'] } });
});

describe('the end of a run', () => {
  /** Runs of `runMs`, one after the other, until every line is answered; calls take what `takesMs` says. */
  async function untilAnswered(lines: number, runMs: number, concurrencyMax: number, takesMs: () => number) {
    const clock = new ManualClock();
    let calls = 0;
    const backend: Backend = {
      name: 'slow',
      async call(): Promise<BackendReply> {
        calls += 1;
        await clock.sleep(takesMs());
        return { kind: 'answered', status: 200, body: { choices: [{}] } };
      },
    };
    const core = createBatchingCore({
      site: 'azure',
      cloud: 'azure',
      route: () => ({ backend, model: 'm-1', limits: { concurrencyMax } }),
      clock,
      random: seeded(1),
      ids: { uuid: () => '0'.repeat(32) },
      log: silentLog,
    });
    let left = Array.from({ length: lines }, (_, i) => chat(i));
    let runs = 0;
    const work = async () => {
      for (; left.length > 0 && runs < 20; runs++) {
        const job = { endpoint: '/v1/chat/completions', model: 'm', lines: left } as const;
        const rows = await core.run({ ...job, deadline: clock.now() + runMs });
        left = left.filter((_, i) => rows[i]!.outcome !== 'answered');
      }
    };
    let isDone = false;
    void work().then(() => {
      isDone = true;
    });
    for (let passed = 0; passed < 20 * runMs && !isDone; passed += 500) {
      await clock.advance(500);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { calls, runs, left: left.length };
  }

  test('no call is started that would be cut off: no line of a slow model is computed twice', async () => {
    const random = seeded(7);
    const { calls, runs, left } = await untilAnswered(120, 240_000, 4, () => 10_000 + random() * 25_000);
    expect({ calls, left }).toEqual({ calls: 120, left: 0 });
    // Some 42 calls fit into one run: three runs at best.
    expect(runs).toBeLessThanOrEqual(4);
  });

  test('a model that takes most of a run is asked all the same', async () => {
    expect(await untilAnswered(3, 120_000, 1, () => 90_000)).toEqual({ calls: 3, runs: 3, left: 0 });
  });
});
