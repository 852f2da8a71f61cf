import { describe, expect, test } from '@jest/globals';
import { type Dispatch, factBytes, type Plan, type ResultRow } from '../../../shared/journal/facts.ts';
import { canonicalJson, sha256 } from '../../../shared/journal/json.ts';
import { dispatchKey, outputKey, planKey, quarantineKey, resultKey } from '../../../shared/journal/keys.ts';
import { resultBytes } from '../../../shared/journal/results.ts';
import {
  call,
  createBatch,
  createWorld,
  inputText,
  publicationOf,
  publish,
  start,
  upload,
  type World,
} from './support.ts';

const hex = (text: string) => sha256(text).slice(0, 32);

const answered = (line: number): ResultRow => ({
  outcome: 'answered',
  line,
  customId: `r${line}`,
  status: 200,
  requestId: 'req_1',
  body: { secret: 'payload' },
  servedBy: { site: 'azure', backend: 'b', model: 'm-1' },
  usage: { inputTokens: 1, cachedTokens: 0, outputTokens: 1, reasoningTokens: 0 },
});

/** A planned batch of 4 lines: dispatched to aws, begun there, then redriven to azure, retried, answered. */
async function lived(world: World, secret: string) {
  const { body } = await createBatch(world.api('aws'), secret, await upload(world.api('aws'), secret, inputText(4)));
  const batch = body.id as string;
  const put = (key: string, bytes: Uint8Array) => world.hands.azure.journal.inner.putIfAbsent(key, bytes);
  const plan: Plan = {
    v: 1,
    kind: 'plan',
    batch,
    inputSha256: sha256(inputText(4)),
    settings: { chunkLinesMax: 2, chunkTokensMax: 1, chunkBytesMax: 1 },
    lines: 4,
    model: 'm',
    errors: [],
    chunks: [
      { offset: 0, length: 10, firstLine: 0, lines: 2, tokens: 1 },
      { offset: 10, length: 12, firstLine: 2, lines: 2, tokens: 1 },
    ],
  };
  await put(planKey('acme', batch, sha256(factBytes(plan))), factBytes(plan));
  const wave = async (
    to: string,
    epoch: number,
    at: number,
    ranges: [number, number][],
    reason: Dispatch['reason'],
  ) => {
    const dispatch: Dispatch = {
      v: 1,
      kind: 'dispatch',
      batch,
      at,
      site: 'azure',
      epoch,
      uuid: hex(`d${at}`),
      to,
      leaseMs: 1,
      reason,
      ranges,
    };
    await put(dispatchKey('acme', batch, dispatch), factBytes(dispatch));
  };
  await wave(
    'aws',
    1,
    start + 1000,
    [
      [0, 2],
      [2, 2],
    ],
    'plan',
  );
  await wave('azure', 2, start + 5000, [[2, 2]], 'redrive');
  const result = async (site: string, epoch: number, at: number, rows: ResultRow[], isStart = false) => {
    const { name, bytes } = resultBytes(
      { epoch, site, uuid: hex(`r${at}`), batch, firstLine: 2, lines: 2, at, attempt: hex(`a${at}`), start: isStart },
      rows,
    );
    await put(resultKey('acme', batch, name), bytes);
    return resultKey('acme', batch, name);
  };
  await result('aws', 1, start + 2000, [], true);
  await result('azure', 2, start + 6000, [
    { outcome: 'retry', line: 3, customId: 'r3', cause: 'backend', reason: '429', counts: false },
  ]);
  const final = await result('azure', 2, start + 7000, [answered(2), answered(3)]);
  return { batch, final };
}

describe('explaining a line', () => {
  test('tells its life from the facts of both clouds, oldest first, without a payload', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { batch, final } = await lived(world, secret);
    const { status, body } = await call(world.api('aws'), secret, 'GET', `/ops/v1/explain/${batch}/r3`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      batch,
      custom_id: 'r3',
      line: 4,
      accepted: { site: 'aws', receipt: 'dual', epoch: 1 },
      chunk: { first_line: 3, lines: 2, offset: 10, length: 12 },
      dispatches: [
        { to: 'aws', epoch: 1, reason: 'plan' },
        { to: 'azure', epoch: 2, reason: 'redrive' },
      ],
      attempts: [
        { site: 'aws', outcome: 'started' },
        { site: 'azure', outcome: 'retry', detail: { cause: 'backend', reason: '429', counts: false } },
        { site: 'azure', outcome: 'answered', detail: { status: 200, backend: 'b', model: 'm-1' } },
      ],
      result: { key: final, decided: false },
      publication: null,
      unseen: [],
    });
    expect(JSON.stringify(body)).not.toContain('payload');
  });

  test('a line of another chunk shows only what reached it', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { batch } = await lived(world, secret);
    const { body } = await call(world.api('azure'), secret, 'GET', `/ops/v1/explain/${batch}/r0`);
    expect(body).toMatchObject({ line: 1, dispatches: [{ to: 'aws', reason: 'plan' }], attempts: [], result: null });
  });

  test('after the publication the result is the one that was decided', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { batch, final } = await lived(world, secret);
    const choice = [0, 1, 2, 3]
      .map((line) => `${canonicalJson({ line, customId: `r${line}`, from: line < 2 ? null : final })}\n`)
      .join('');
    await world.hands.azure.journal.inner.putIfAbsent(outputKey('acme', sha256(choice)), Buffer.from(choice));
    await publish(
      world,
      publicationOf(batch, { status: 'expired', choice: { sha256: sha256(choice), bytes: choice.length } }),
    );
    const story = async (id: string) =>
      (await call(world.api('aws'), secret, 'GET', `/ops/v1/explain/${batch}/${id}`)).body;
    expect(await story('r3')).toMatchObject({
      result: { key: final, decided: true },
      publication: { status: 'expired' },
    });
    expect(await story('r0')).toMatchObject({ result: null });
  });

  test('with the other cloud dark it tells what is known here, and who was not seen', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { batch } = await lived(world, secret);
    world.hands.aws.dark(true);
    const { status, body } = await call(world.api('azure'), secret, 'GET', `/ops/v1/explain/${batch}/r3`);
    expect([status, body.unseen, body.attempts.length]).toEqual([200, ['aws'], 3]);
  });

  test('viewers see their own tenant, operators any they name, nobody else another', async () => {
    const world = createWorld();
    const { batch } = await lived(world, await world.key());
    const asks = async (secret: string, query = '') =>
      (await call(world.api('aws'), secret, 'GET', `/ops/v1/explain/${batch}/r3${query}`)).status;
    expect(await asks(await world.key({ role: 'viewer' }))).toBe(200);
    const operator = await world.key({ role: 'operator', tenant: 'ops' });
    expect([await asks(operator), await asks(operator, '?tenant=acme')]).toEqual([404, 200]);
    expect(await asks(await world.key({ tenant: 'umbrella' }), '?tenant=acme')).toBe(403);
    expect(await asks(operator, '?tenant=../acme')).toBe(400);
  });

  test('an unknown custom_id is a 404', async () => {
    const world = createWorld();
    const secret = await world.key();
    const { batch } = await lived(world, secret);
    for (const id of ['r4', 'constructor', '%2e%2e', encodeURIComponent('<svg>')])
      expect((await call(world.api('aws'), secret, 'GET', `/ops/v1/explain/${batch}/${id}`)).status).toBe(404);
  });
});

describe('health', () => {
  test('names every store, what it says, the control entry, and how much is quarantined', async () => {
    const world = createWorld();
    const secret = await world.key({ role: 'viewer' });
    world.hands.azure.dark(true);
    await world.hands.aws.state.inner.putIfAbsent(quarantineKey(hex('q')), Buffer.from('{}'));
    const { status, body } = await call(world.api('aws', { version: '1.2.3' }), secret, 'GET', '/ops/v1/health');
    expect(status).toBe(200);
    expect(body).toMatchObject({
      object: 'health',
      site: 'aws',
      version: '1.2.3',
      control: {
        epoch: 1,
        frozen: false,
        sites: { aws: { state: 'active', weight: 50 }, azure: { state: 'active', weight: 50 } },
      },
      has_witness: true,
      quarantined: 1,
    });
    expect(
      Object.fromEntries(
        body.stores.map(({ store, answers }: { store: string; answers: boolean }) => [store, answers]),
      ),
    ).toEqual({
      'aws/journal': true,
      'aws/state': true,
      'azure/journal': false,
      'azure/state': false,
      'witness/journal': true,
      'witness/state': true,
    });
  });
});

describe('keys over the operator API', () => {
  test('a key made by an operator works on both clouds until it is revoked', async () => {
    const world = createWorld();
    const operator = await world.key({ role: 'operator', tenant: 'ops' });
    const made = await call(world.api('aws'), operator, 'POST', '/ops/v1/keys', {
      tenant: 'umbrella',
      role: 'submitter',
      expires_in_seconds: 3600,
      bound_to: 'azure',
    });
    expect(made.body).toEqual({
      id: sha256(made.body.secret).slice(0, 16),
      object: 'api_key',
      secret: expect.stringMatching(/^hf_[0-9a-f]{32}$/),
      tenant: 'umbrella',
      role: 'submitter',
      created_at: start / 1000,
      expires_at: start / 1000 + 3600,
      bound_to: 'azure',
      sites: ['aws', 'azure'],
    });
    const doors = [world.api('aws'), world.api('azure')];
    for (const api of doors) expect((await call(api, made.body.secret, 'GET', '/v1/batches')).status).toBe(200);
    const revoked = await call(world.api('azure'), operator, 'DELETE', `/ops/v1/keys/${made.body.id}`);
    expect([revoked.status, revoked.body]).toEqual([
      200,
      { id: made.body.id, object: 'api_key', revoked: true, sites: ['aws', 'azure'] },
    ]);
    await world.clock.advance(60_000);
    for (const api of doors) expect((await call(api, made.body.secret, 'GET', '/v1/batches')).status).toBe(401);
  });

  test.each([
    [{ tenant: '../x', role: 'viewer' }, 'tenant'],
    [{ tenant: 'acme', role: 'root' }, 'role'],
    [{ tenant: 'acme', role: 'viewer', bound_to: 'gcp' }, 'bound_to'],
    [{ tenant: 'acme', role: 'viewer', expires_in_seconds: 0 }, 'expires_in_seconds'],
    [{ tenant: 'acme', role: 'viewer', secret: 'hf_mine' }, 'secret'],
  ])('%j is a 400 that names %s', async (body, param) => {
    const world = createWorld();
    const operator = await world.key({ role: 'operator' });
    const answer = await call(world.api('aws'), operator, 'POST', '/ops/v1/keys', body);
    expect([answer.status, answer.body.error.param]).toEqual([400, param]);
  });
});
