import { describe, expect, test } from '@jest/globals';
import { type BatchSnapshot, batchObject, countAnswered } from '../../../shared/api/batch-object.ts';
import type { PlacedResult } from '../../../shared/journal/batch.ts';
import type { Plan, Publication } from '../../../shared/journal/facts.ts';
import { cancelsPrefix, fileIdPattern } from '../../../shared/journal/keys.ts';
import { outputFileId } from '../../../shared/journal/outputs.ts';
import { call, createBatch, createWorld, publicationOf, publish, start, upload } from './support.ts';

const batch = `batch_${'a'.repeat(32)}`;
const day = 24 * 3_600_000;

const plan = (lines: number, errors: Plan['errors'] = []): Plan => ({
  v: 1,
  kind: 'plan',
  batch,
  inputSha256: 'b'.repeat(64),
  settings: { chunkLinesMax: 50, chunkTokensMax: 1, chunkBytesMax: 1 },
  lines,
  model: 'm',
  chunks: [],
  errors,
});

const result = (firstLine: number, lines: number, answered: number, site = 'aws'): PlacedResult => ({
  firstLine,
  lines,
  answered,
  site,
  epoch: 1,
  uuid: 'c'.repeat(32),
  key: `${firstLine}-${lines}-${answered}-${site}`,
  sites: [site],
});

const snapshot = (more: Partial<BatchSnapshot> = {}): BatchSnapshot => ({
  batch,
  manifest: {
    v: 1,
    kind: 'manifest',
    batch,
    tenant: 'acme',
    endpoint: '/v1/chat/completions',
    inputSha256: 'b'.repeat(64),
    inputBytes: 1,
    windowMs: day,
    metadata: null,
    outputExpiresAfterMs: null,
    boundTo: null,
  },
  acceptance: {
    v: 1,
    kind: 'acceptance',
    batch,
    tenant: 'acme',
    at: start,
    site: 'aws',
    epoch: 1,
    uuid: 'd'.repeat(32),
    home: 'azure',
    fileId: `file-${'e'.repeat(27)}`,
    receipt: 'dual',
    keyId: 'k',
  },
  plan: undefined,
  results: [],
  publication: undefined,
  inProgressAt: null,
  cancellingAt: null,
  servedBy: undefined,
  workingSites: ['aws', 'azure'],
  ...more,
});

const ended = (more: Partial<Publication>) =>
  snapshot({ plan: plan(4), publication: publicationOf(batch, more), inProgressAt: start + 1 });
const refused = [{ code: 'invalid_json_line', message: 'x', param: null, line: 3 }];
const s = start / 1000;

describe('the Batch object', () => {
  const none = {
    in_progress_at: null,
    finalizing_at: null,
    completed_at: null,
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
  };
  const running = { total: 4, completed: 0, failed: 0 };
  test.each<[string, string, BatchSnapshot, number, Record<string, unknown>]>([
    [
      'validating',
      'before a plan',
      snapshot(),
      start,
      { ...none, request_counts: { total: 0, completed: 0, failed: 0 }, usage: null, errors: null },
    ],
    [
      'validating',
      'with a plan of errors that is not published yet',
      snapshot({ plan: plan(4, refused) }),
      start,
      { ...none, errors: null, request_counts: { total: 0, completed: 0, failed: 0 } },
    ],
    [
      'failed',
      'when validation errors are published',
      ended({ status: 'failed', errors: refused, counts: { total: 0, completed: 0, failed: 0 }, inProgressAt: null }),
      start,
      { ...none, failed_at: s + 3, errors: { object: 'list', data: refused } },
    ],
    [
      'in_progress',
      'with a plan, nothing answered',
      snapshot({ plan: plan(4), inProgressAt: start + 1500 }),
      start,
      { ...none, in_progress_at: s + 1, request_counts: running, model: 'm' },
    ],
    [
      'in_progress',
      'with part of the lines answered',
      snapshot({ plan: plan(4), results: [result(0, 2, 2), result(2, 2, 1)] }),
      start,
      { request_counts: { ...running, completed: 3 } },
    ],
    [
      'finalizing',
      'with every line answered and no publication',
      snapshot({ plan: plan(4), results: [result(0, 2, 2), result(2, 2, 2)] }),
      start,
      { ...none, request_counts: { ...running, completed: 4 } },
    ],
    [
      'finalizing',
      'past the deadline without a publication',
      snapshot({ plan: plan(4) }),
      start + day,
      { ...none, request_counts: running },
    ],
    [
      'completed',
      'when so published',
      ended({ status: 'completed' }),
      start,
      {
        ...none,
        in_progress_at: s + 1,
        finalizing_at: s + 2,
        completed_at: s + 3,
        request_counts: { total: 2, completed: 2, failed: 0 },
      },
    ],
    [
      'expired',
      'when so published',
      ended({ status: 'expired' }),
      start,
      { ...none, in_progress_at: s + 1, finalizing_at: s + 2, expired_at: s + 3 },
    ],
    [
      'cancelling',
      'after a cancel fact',
      snapshot({ plan: plan(4), results: [result(0, 4, 4)], cancellingAt: start + 5000 }),
      start,
      { ...none, cancelling_at: s + 5, request_counts: { ...running, completed: 4 } },
    ],
    [
      'cancelling',
      'also before a plan',
      snapshot({ cancellingAt: start + 5000 }),
      start,
      { ...none, cancelling_at: s + 5 },
    ],
    [
      'cancelled',
      'when so published',
      ended({ status: 'cancelled', cancellingAt: start + 2500 }),
      start,
      { ...none, in_progress_at: s + 1, finalizing_at: s + 2, cancelling_at: s + 2, cancelled_at: s + 3 },
    ],
    [
      'completed',
      'although a cancel fact lost the race (F30)',
      { ...ended({ status: 'completed' }), cancellingAt: start + 1 },
      start,
      { cancelled_at: null, cancelling_at: null, completed_at: s + 3 },
    ],
  ])('is %s %s', (status, _, from, now, expected) => {
    expect(batchObject(from, now)).toMatchObject({ status, ...expected });
  });

  test('names output and error files only where the publication has them', () => {
    const file = { sha256: 'f'.repeat(64), bytes: 10 };
    const only = batchObject(ended({ output: null, errorFile: file }), start);
    expect([only.output_file_id, only.error_file_id]).toEqual([null, expect.stringMatching(fileIdPattern)]);
    const both = ended({ output: file, errorFile: file });
    expect(batchObject(both, start).output_file_id).toBe(outputFileId(both.publication!, 'output'));
  });

  test('shows usage in the OpenAI shape once the batch has ended', () => {
    const usage = { inputTokens: 10, cachedTokens: 3, outputTokens: 5, reasoningTokens: 2 };
    expect(batchObject(ended({ usage }), start).usage).toEqual({
      input_tokens: 10,
      input_tokens_details: { cached_tokens: 3 },
      output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 2 },
      total_tokens: 15,
    });
  });

  test.each([
    [undefined, null],
    [['aws'], true],
    [['aws', 'azure'], false],
  ])('served by %j is unprotected: %j', (servedBy, unprotected) => {
    expect(batchObject(snapshot({ servedBy }), start).holdfast.unprotected).toBe(unprotected);
  });

  test.each<[string, Partial<BatchSnapshot>, string | null]>([
    ['a site that serves it is active', { servedBy: ['aws'], workingSites: ['aws', 'azure'] }, null],
    ['nobody knows who serves it', { servedBy: undefined, workingSites: [] }, null],
    ['nobody knows who is active', { servedBy: ['aws'], workingSites: undefined }, null],
    [
      'the one that serves it is not active',
      { servedBy: ['aws'], workingSites: ['azure'] },
      'no site that may serve its model is active: aws',
    ],
  ])('%s: waiting says why', (_, more, waiting) => {
    expect(batchObject(snapshot(more), start).holdfast.waiting).toBe(waiting);
  });

  test('a moment never lies in the future of the client: milliseconds are cut off', () => {
    const acceptance = { ...snapshot().acceptance, at: start + 999 };
    expect(batchObject(snapshot({ acceptance }), start).created_at).toBe(s);
  });
});

describe('counting answered lines from names', () => {
  test.each<[string, PlacedResult[], number]>([
    ['nothing', [], 0],
    ['a start, or only retries', [result(0, 10, 0)], 0],
    ['the same chunk answered on both clouds', [result(0, 10, 10), result(0, 10, 10, 'azure')], 10],
    [
      'a partial result and the rest by a repeat under the same range',
      [result(0, 10, 4), result(0, 10, 6, 'azure')],
      10,
    ],
    ['a partial result whose halves are then answered whole', [result(0, 10, 4), result(0, 5, 5), result(5, 5, 5)], 10],
    ['partial results that claim more than there is', [result(0, 10, 8), result(0, 10, 8, 'azure')], 10],
    ['a result beyond the end of the batch', [result(8, 10, 10)], 0],
  ])('%s', (_, results, count) => {
    expect(countAnswered(results, 10)).toBe(count);
  });
});

describe('cancelling', () => {
  test('writes one cancel fact into both journals, tells the home, and answers cancelling; asking again changes nothing', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { body } = await createBatch(world.api('aws'), secret, await upload(world.api('aws'), secret));
    for (const door of ['aws', 'azure', 'aws'] as const) {
      const answer = await call(world.api(door), secret, 'POST', `/v1/batches/${body.id}/cancel`);
      expect([answer.status, answer.body.status, answer.body.cancelling_at]).toEqual([200, 'cancelling', s]);
    }
    for (const site of ['aws', 'azure'] as const)
      expect(await world.keys(site, cancelsPrefix('acme', body.id))).toHaveLength(1);
    const home = world.hands[body.holdfast.home as 'aws'];
    const messages = await home.intake.inner.receive();
    expect(messages.map((message) => JSON.parse(message.body).kind)).toEqual(['plan', 'publish']);
  });

  test('works with the other cloud dark', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { body } = await createBatch(world.api('aws'), secret, await upload(world.api('aws'), secret));
    world.hands.azure.dark(true);
    const answer = await call(world.api('aws'), secret, 'POST', `/v1/batches/${body.id}/cancel`);
    expect([answer.status, answer.body.status]).toEqual([200, 'cancelling']);
  });

  test('a batch that has ended otherwise is a 409, a cancelled one is answered as it is', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    for (const [status, code] of [
      ['completed', 409],
      ['failed', 409],
      ['expired', 409],
      ['cancelled', 200],
    ] as const) {
      const { body } = await createBatch(world.api('aws'), secret, file);
      await publish(world, publicationOf(body.id, { status }));
      const answer = await call(world.api('azure'), secret, 'POST', `/v1/batches/${body.id}/cancel`);
      expect([status, answer.status]).toEqual([status, code]);
      expect(await world.keys('aws', cancelsPrefix('acme', body.id))).toEqual([]);
    }
  });

  test("another tenant's batch is a 404 to read and to cancel", async () => {
    const world = createWorld();
    const secret = await world.key();
    const other = await world.key({ tenant: 'umbrella' });
    const { body } = await createBatch(world.api('aws'), secret, await upload(world.api('aws'), secret));
    expect((await call(world.api('aws'), other, 'GET', `/v1/batches/${body.id}`)).status).toBe(404);
    expect((await call(world.api('aws'), other, 'POST', `/v1/batches/${body.id}/cancel`)).status).toBe(404);
    expect(await world.keys('aws', 't/umbrella/')).toEqual([]);
  });
});
