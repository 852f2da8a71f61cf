import { describe, expect, test } from '@jest/globals';
import { controlView, initControl } from '../../../shared/control/log.ts';
import type { Observation } from '../../../shared/health/types.ts';
import { observationKey } from '../../../shared/journal/keys.ts';
import { call, createBatch, createWorld, inputText, start, upload, type World } from './support.ts';

type Cloud = 'aws' | 'azure';

/** What an observer wrote to every store that is not dark. */
async function observed(world: World, observer: string, health: Record<Cloud, 'healthy' | 'down'>): Promise<void> {
  const verdict = (site: Cloud) => ({
    site,
    health: health[site],
    causes: health[site] === 'down' ? (['site-dark'] as const) : [],
    models: [],
    since: start - 30_000,
    at: start,
    evidence: health[site] === 'down' ? ['6 of 6 looks at store.write failed: refused'] : [],
    flaps: 0,
    holdUntil: 0,
  });
  const observation = {
    v: 1,
    kind: 'observation',
    observer,
    home: observer === 'third' ? null : observer,
    at: world.clock.now(),
    trustsItself: true,
    verdicts: [verdict('aws'), verdict('azure')],
    backlog: [],
  } as unknown as Observation;
  for (const id of ['aws', 'azure', 'witness'] as const) {
    const { inner } = world.hands[id].state;
    await inner.delete(observationKey(observer));
    await inner.putIfAbsent(observationKey(observer), Buffer.from(JSON.stringify(observation)));
  }
}

async function started() {
  const world = createWorld();
  await initControl(world.core('aws'), {
    sites: { aws: { cloud: 'aws', region: 'r' }, azure: { cloud: 'azure', region: 'r' } },
    voters: ['aws', 'azure', 'witness'].map((store) => ({ store, incarnation: `${store}-1` })),
    actor: 'test',
    reason: 'first entry',
  });
  for (const observer of ['aws', 'azure', 'third'])
    await observed(world, observer, { aws: 'healthy', azure: 'healthy' });
  const operator = await world.key({ role: 'operator' });
  const post = (cloud: Cloud, kind: string, body: object) =>
    call(world.api(cloud), operator, 'POST', `/ops/v1/control/${kind}`, body);
  const get = (cloud: Cloud, path: string) => call(world.api(cloud), operator, 'GET', `/ops/v1/${path}`);
  return { world, operator, post, get };
}

const failover = { from: 'aws', to: 'azure', mode: 'forced', reason: 'storm in the region' };

describe('commands over HTTP', () => {
  test('a failover is decided once, however often and wherever the same operation arrives', async () => {
    const { post, get } = await started();
    const done = await post('aws', 'failover', { ...failover, operation_id: 'op' });
    expect(done).toMatchObject({ status: 200, body: { object: 'control.outcome', status: 'done', epoch: 2 } });
    for (const cloud of ['aws', 'azure'] as const)
      expect(await post(cloud, 'failover', { ...failover, operation_id: 'op' })).toMatchObject({
        status: 200,
        body: { status: 'replayed', epoch: 2 },
      });
    const { body } = await get('azure', 'control');
    expect(body.entry.sites.aws).toMatchObject({ state: 'fenced', fencedEpoch: 2 });
    expect(body.history[0]).toMatchObject({
      epoch: 2,
      actor: expect.stringMatching(/^key:[0-9a-f]{16}$/),
      reason: 'storm in the region',
      changes: expect.arrayContaining(['aws: active → fenced']),
    });
  });

  test('works at the living cloud with the other one dark', async () => {
    const { world, post } = await started();
    world.hands.aws.dark(true);
    for (const observer of ['azure', 'third']) await observed(world, observer, { aws: 'down', azure: 'healthy' });
    // Without a mode: there is nothing to be graceful with.
    const { mode: _, ...body } = failover;
    expect(await post('azure', 'failover', body)).toMatchObject({
      status: 200,
      body: { status: 'done', command: { mode: 'forced' } },
    });
  });

  test('a rule that objects is a 409 with its name, and a dry run a 200 with its sentence', async () => {
    const { world, post, get } = await started();
    for (const observer of ['aws', 'third']) await observed(world, observer, { aws: 'healthy', azure: 'down' });
    expect(await post('aws', 'failover', failover)).toMatchObject({
      status: 409,
      body: {
        error: { code: 'target-healthy', param: 'force', message: expect.stringContaining('force target-healthy') },
      },
    });
    expect(await post('aws', 'failover', { ...failover, dry_run: true })).toMatchObject({
      status: 200,
      body: { status: 'planned', epoch: 1, objections: [{ rule: 'target-healthy' }], load: { batches: 0, lines: 0 } },
    });
    expect(await post('aws', 'failover', { ...failover, force: ['target-healthy'] })).toMatchObject({
      status: 200,
      body: { status: 'done', overridden: [{ rule: 'target-healthy' }] },
    });
    expect((await get('aws', 'control')).body.entry.forced).toEqual(['target-healthy']);
  });

  test.each<[string, string, object, number, string]>([
    ['no reason', 'freeze', {}, 400, 'missing_required_parameter'],
    ['an empty reason', 'freeze', { reason: '' }, 400, 'invalid_value'],
    ['an unknown rule', 'freeze', { reason: 'x', force: ['luck'] }, 400, 'invalid_value'],
    [
      'a rule that nobody overrides',
      'cordon',
      { reason: 'x', site: 'aws', force: ['at-least-one-active'] },
      400,
      'invalid_value',
    ],
    ['an unknown field', 'freeze', { reason: 'x', site: 'aws' }, 400, 'unknown_parameter'],
    ['an unknown site', 'cordon', { reason: 'x', site: 'gcp' }, 400, 'impossible_change'],
    ['a scope without a name', 'failover', { ...failover, scope: 'model' }, 400, 'missing_required_parameter'],
    ['another entry than expected', 'freeze', { reason: 'x', expected_epoch: 7 }, 409, 'epoch_stale'],
    ['weight for a fenced site', 'failback', { reason: 'x', site: 'azure', weight: 0 }, 400, 'invalid_value'],
    ['an unknown command', 'explode', { reason: 'x' }, 404, 'unknown_url'],
  ])('%s is refused and changes nothing', async (_, kind, body, status, code) => {
    const { post, get } = await started();
    expect(await post('aws', kind, body)).toMatchObject({ status, body: { error: { code } } });
    expect((await get('aws', 'control')).body.entry.epoch).toBe(1);
  });

  test.each(['submitter', 'viewer'] as const)('a %s may neither look nor act', async (role) => {
    const { world } = await started();
    const secret = await world.key({ role });
    for (const [method, path] of [
      ['GET', 'control'],
      ['GET', 'status'],
      ['POST', 'control/freeze'],
    ] as const)
      expect(
        await call(
          world.api('aws'),
          secret,
          method,
          `/ops/v1/${path}`,
          method === 'POST' ? { reason: 'x' } : undefined,
        ),
      ).toMatchObject({ status: 403 });
  });

  test('with one cloud and the witness dark nothing can be decided, which is a 503 that says so', async () => {
    const { world, post } = await started();
    await observed(world, 'third', { aws: 'down', azure: 'healthy' });
    world.hands.aws.dark(true);
    world.hands.witness.dark(true);
    const answer = post('azure', 'freeze', { reason: 'x' });
    for (let i = 0; i < 200; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      await world.clock.advance(500);
    }
    expect(await answer).toMatchObject({ status: 503, body: { error: { code: 'undecided' } } });
  });
});

describe('the status page over HTTP', () => {
  test('names the sick cloud, the batch that misses its window, and what to type, with that cloud dark', async () => {
    const { world, get } = await started();
    const submitter = await world.key();
    const api = world.api('aws');
    const { body } = await createBatch(api, submitter, await upload(api, submitter, inputText(3)));
    world.hands.aws.dark(true);
    for (const observer of ['azure', 'third']) await observed(world, observer, { aws: 'down', azure: 'healthy' });
    const page = await get('azure', 'status');
    expect(page).toMatchObject({
      status: 200,
      body: {
        object: 'status',
        answered_by: 'azure',
        blame: 'them',
        headline: expect.stringContaining('aws is down (site-dark)'),
        batches: [{ batch: body.id, owner: 'aws', misses: true }],
        runbooks: ['site-dark'],
      },
    });
    expect(page.body.type[0].command).toContain('failover --from aws --to azure');
  });
});

test('the view that the front door goes by follows what the command decided', async () => {
  const { world, post } = await started();
  const view = controlView(world.core('azure'));
  expect((await view.current()).epoch).toBe(1);
  await post('aws', 'failover', failover);
  await world.clock.advance(10_000);
  expect(await view.current()).toMatchObject({ epoch: 2, sites: { aws: { state: 'fenced' } } });
});
