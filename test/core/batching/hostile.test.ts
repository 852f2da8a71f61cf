import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import type { LineRequest } from '../../../shared/batching/core.ts';
import { createBatchingCore } from '../../../shared/batching/engine.ts';
import type { Backend, BackendReply, BackendRequest } from '../../../shared/inference/backend.ts';
import type { Endpoint, ResultRow } from '../../../shared/journal/facts.ts';
import { type Json, type JsonObject, sha256 } from '../../../shared/journal/json.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import { seeded } from '../../support/world.ts';

const year = 365 * 24 * 3_600_000;

/** Tells texts apart, so that a vector in the wrong place is seen. */
const vectorOf = (text: string) => [0, 8, 16].map((from) => Number.parseInt(sha256(text).slice(from, from + 8), 16));

const inputsOf = (body: JsonObject): string[] =>
  Array.isArray(body.input) ? (body.input as string[]) : [String(body.input)];

function goodAnswer({ endpoint, body }: BackendRequest): JsonObject {
  if (endpoint !== '/v1/embeddings')
    return {
      choices: [{ message: { content: JSON.stringify(body.messages) } }],
      usage: { prompt_tokens: 9, completion_tokens: 3 },
    };
  const data = inputsOf(body).map((text, index) => ({ object: 'embedding', index, embedding: vectorOf(text) }));
  return { object: 'list', model: 'm-1', data, usage: { prompt_tokens: 7 * data.length } };
}

const answered = (status: number, body: Json, more: object = {}): BackendReply => ({
  kind: 'answered',
  status,
  body,
  ...more,
});
const withData = (request: BackendRequest, change: (data: JsonObject[]) => Json): BackendReply => {
  const body = goodAnswer(request);
  return answered(
    200,
    'data' in body ? { ...body, data: change(body.data as JsonObject[]) } : { ...body, choices: [] },
  );
};

/** What a backend may do to one call. */
const tricks: Record<string, (request: BackendRequest) => BackendReply | Promise<BackendReply>> = {
  good: (request) => answered(200, goodAnswer(request)),
  reordered: (request) => withData(request, (data) => data.toReversed()),
  'one missing': (request) => withData(request, (data) => data.slice(1)),
  'one more': (request) => withData(request, (data) => [...data, { ...data[0], index: data.length }]),
  'one twice': (request) => withData(request, (data) => data.map((item) => ({ ...item, index: 0 }))),
  'odd indexes': (request) => withData(request, (data) => data.map((item, i) => ({ ...item, index: i + 0.5 }))),
  'odd lengths': (request) =>
    withData(request, (data) =>
      data.map((item, i) => ({ ...item, embedding: (item.embedding as Json[]).slice(i % 2) })),
    ),
  'no vectors': (request) => withData(request, (data) => data.map(({ index }) => ({ index: index!, embedding: null }))),
  'no data': () => answered(200, { object: 'list' }),
  'null body': () => answered(200, null),
  'a list': () => answered(200, [1, 2, 3]),
  'error inside': () => answered(200, { error: { message: 'no' } }),
  'odd usage': (request) =>
    answered(200, { ...goodAnswer(request), usage: { prompt_tokens: 1e308, total_tokens: -1 } }),
  'much beside': (request) => answered(200, { ...goodAnswer(request), note: 'x'.repeat(100_000) }),
  'status 400': () => answered(400, { error: { message: 'bad' } }),
  'status 401': () => answered(401, {}),
  'status 404': () => answered(404, {}),
  'status 418': () => answered(418, {}),
  'status 500': () => answered(500, {}),
  'a year of 429': () => answered(429, {}, { retryAfterMs: year }),
  'quota of nothing': (request) =>
    answered(200, goodAnswer(request), {
      rateLimits: { requests: { remaining: 0, limit: 0, resetMs: year }, tokens: { remaining: 0 } },
    }),
  'huge body': () => ({ kind: 'malformed', status: 200, detail: 'over 8388608 bytes' }),
  unreachable: () => ({ kind: 'unreachable', detail: 'ECONNRESET' }),
  silence: () => new Promise<never>(() => {}),
  rejects: () => Promise.reject(new Error('a bug of the adapter')),
  throws: () => {
    throw new Error('a bug of the adapter');
  },
};

interface Play {
  script: { trick: string; ms: number }[];
  /** Lines that the backend refuses for what they say. */
  poison: number[];
  lines: string[][];
  spanMs: number;
  seed: number;
}

const play = (names: readonly string[]): fc.Arbitrary<Play> =>
  fc.record({
    script: fc.array(fc.record({ trick: fc.constantFrom(...names), ms: fc.integer({ min: 0, max: 3_000 }) }), {
      minLength: 1,
      maxLength: 12,
    }),
    poison: fc.array(fc.nat(30), { maxLength: 3 }),
    // Few different texts, so that many are the same.
    lines: fc.array(fc.array(fc.constantFrom('a', 'b', 'c', 'one long text', ''), { minLength: 1, maxLength: 3 }), {
      minLength: 1,
      maxLength: 30,
    }),
    spanMs: fc.integer({ min: 100, max: 60_000 }),
    seed: fc.nat(),
  });

async function runPlay(endpoint: Endpoint, { script, poison, lines, spanMs, seed }: Play) {
  const clock = new ManualClock();
  let calls = 0;
  const backend: Backend = {
    name: 'hostile',
    async call(request) {
      const { trick, ms } = script[calls++ % script.length]!;
      await clock.sleep(ms);
      if (JSON.stringify(request.body).includes('poison')) return answered(400, { error: { message: 'poison' } });
      return tricks[trick]!(request);
    },
  };
  let ids = 0;
  const core = createBatchingCore({
    site: 'aws',
    route: () => ({ backend, model: 'm-1' }),
    clock,
    random: seeded(seed),
    ids: { uuid: () => String(ids++).padStart(32, '0') },
    log: silentLog,
    callMs: 5_000,
  });
  const requests = lines.map((texts, i): LineRequest => {
    const said = poison.includes(i) ? [...texts, 'poison'] : texts;
    const body: JsonObject =
      endpoint === '/v1/embeddings'
        ? { model: 'm', input: said }
        : { model: 'm', messages: [{ role: 'user', content: said.join() }] };
    return { line: i, customId: `line-${i}`, body, bytes: 100 };
  });
  const deadline = clock.now() + spanMs;
  // Two runs at once share the process: one of them has half of the time.
  const early = core.run({ endpoint, model: 'm', lines: requests, deadline: clock.now() + spanMs / 2 });
  const late = core.run({ endpoint, model: 'm', lines: requests, deadline });
  const ends: ResultRow[][] = [];
  void early.then((rows) => ends.push(rows));
  void late.then((rows) => ends.push(rows));
  await clock.advance(spanMs / 2);
  const inTime = ends.length;
  await clock.advance(spanMs / 2);
  return { requests, ends, inTime, calls };
}

function check(
  endpoint: Endpoint,
  { poison }: Play,
  requests: readonly LineRequest[],
  rows: readonly ResultRow[],
): void {
  expect(rows.map(({ customId }) => customId)).toEqual(requests.map(({ customId }) => customId));
  for (const [i, row] of rows.entries()) {
    if (row.outcome === 'retry') {
      expect(row.counts && row.cause !== 'line').toBe(false);
      continue;
    }
    if (row.outcome !== 'answered') throw new Error(row.outcome);
    if (row.status !== 200) {
      expect(row.status).toBe(400);
      continue;
    }
    expect(poison).not.toContain(i);
    for (const count of Object.values(row.usage)) expect(Number.isSafeInteger(count)).toBe(true);
    const body = row.body as JsonObject;
    if (endpoint === '/v1/embeddings')
      expect(body.data).toMatchObject(
        inputsOf(requests[i]!.body).map((text, index) => ({ index, embedding: vectorOf(text) })),
      );
    else expect(body.choices).toEqual([{ message: { content: JSON.stringify(requests[i]!.body.messages) } }]);
    expect(JSON.stringify(body).length).toBeLessThan(200_000);
  }
}

describe.each<Endpoint>(['/v1/embeddings', '/v1/chat/completions'])('a backend that does anything: %s', (endpoint) => {
  test('every line of every run has one outcome, in order, by its deadline, and no answer is anybody else’s', async () => {
    await fc.assert(
      fc.asyncProperty(play(Object.keys(tricks)), async (given) => {
        const { requests, ends, inTime } = await runPlay(endpoint, given);
        expect(inTime).toBeGreaterThanOrEqual(1);
        expect(ends).toHaveLength(2);
        for (const rows of ends) check(endpoint, given, requests, rows);
      }),
      { numRuns: 150 },
    );
  });

  test('I10 whatever else goes wrong, no line is refused that the backend never refused', async () => {
    const weather = Object.keys(tricks).filter((name) => name !== 'status 400');
    await fc.assert(
      fc.asyncProperty(play(weather), async (given) => {
        const { ends } = await runPlay(endpoint, given);
        for (const rows of ends)
          for (const [i, row] of rows.entries())
            if (row.outcome === 'answered' && row.status !== 200) expect(given.poison).toContain(i);
      }),
      { numRuns: 100 },
    );
  });
});

test.each(['until', 'from'])('F14 a provider that refuses everything %s some call on fails no line', async (when) => {
  for (let count = 0; count <= 40; count++) {
    const [first, then] = when === 'until' ? ['status 400', 'good'] : ['good', 'status 400'];
    const script = Array.from({ length: 100 }, (_, i) => ({ trick: i < count ? first : then, ms: i % 7 }));
    for (const lines of [[['a']], [['a'], ['b'], ['c']]]) {
      const { ends } = await runPlay('/v1/chat/completions', {
        script,
        poison: [],
        lines,
        spanMs: 60_000,
        seed: count,
      });
      for (const row of ends.flat())
        expect([row.outcome, 'status' in row ? row.status : 0]).not.toEqual(['answered', 400]);
    }
  }
});

describe('a packed call', () => {
  const plain = (lines: string[][], poison: number[] = []): Play => ({
    script: [{ trick: 'good', ms: 100 }],
    poison,
    lines,
    spanMs: 60_000,
    seed: 1,
  });

  test('with one poisoned line among 64 is halved: two calls for each halving, not one for each line', async () => {
    const lines = Array.from({ length: 64 }, (_, i) => [`text ${i}`]);
    const { ends, calls } = await runPlay('/v1/embeddings', plain(lines, [40]));
    for (const rows of ends)
      expect(rows.filter((row) => row.outcome === 'answered' && row.status === 200)).toHaveLength(63);
    // Both runs at once: two poisoned lines among 128. Each is refused five times more, with canaries in the middle.
    expect(calls).toBeLessThanOrEqual(2 * 2 * 7 + 2 * (5 + 6) + 6);
  });

  test('F14 that is refused whatever is in it is not halved down to every line: a canary says that it is no line’s fault', async () => {
    const lines = Array.from({ length: 500 }, (_, i) => [`text ${i}`]);
    const { ends, calls } = await runPlay('/v1/embeddings', {
      ...plain(lines),
      script: [{ trick: 'status 400', ms: 100 }],
    });
    for (const rows of ends)
      for (const row of rows) expect(row).toMatchObject({ outcome: 'retry', cause: 'backend', counts: false });
    expect(calls).toBeLessThan(40);
  });

  test('that is answered with nonsense whatever is in it spends no attempt of any line', async () => {
    const lines = Array.from({ length: 100 }, (_, i) => [`text ${i}`]);
    for (const trick of ['one missing', 'null body', 'error inside']) {
      const { ends } = await runPlay('/v1/embeddings', { ...plain(lines), script: [{ trick, ms: 100 }] });
      for (const row of ends.flat()) expect(row).toMatchObject({ outcome: 'retry', counts: false });
    }
  });

  test('of many lines that say the same is billed once, and each line gets its own answer and its share', async () => {
    const { ends, calls } = await runPlay('/v1/embeddings', plain(Array.from({ length: 20 }, () => ['a', 'b'])));
    expect(calls).toBe(1);
    const rows = ends.flat();
    expect(rows).toHaveLength(40);
    let tokens = 0;
    for (const row of rows) {
      if (row.outcome !== 'answered') throw new Error(row.outcome);
      expect(row.body).toMatchObject({ data: [{ embedding: vectorOf('a') }, { embedding: vectorOf('b') }] });
      tokens += row.usage.inputTokens;
    }
    expect(tokens).toBe(14);
  });
});
