import { describe, expect, test } from '@jest/globals';
import { OutcomeUnknownError } from '../../../shared/errors.ts';
import { viewBatch } from '../../../shared/journal/batch.ts';
import {
  acceptancesPrefix,
  batchIdPattern,
  fileContentKey,
  fileMetaKey,
  manifestKey,
  openKey,
  recentPrefix,
} from '../../../shared/journal/keys.ts';
import { interleave } from './interleave.ts';
import {
  type Answer,
  call,
  controlEntry,
  createBatch,
  createWorld,
  inputText,
  lcg,
  start,
  upload,
  type World,
} from './support.ts';

const sites = ['aws', 'azure'] as const;
type SiteName = (typeof sites)[number];

async function holds(world: World, site: SiteName, prefix: string): Promise<boolean> {
  return (await world.keys(site, prefix)).length > 0;
}

async function hasHint(world: World, site: SiteName, batch: string): Promise<boolean> {
  return (await world.hands[site].state.inner.head(openKey('acme', batch))) !== undefined;
}

/** Ids of all batches that some journal knows to be accepted. */
async function acceptedBatches(world: World): Promise<string[]> {
  const keys = (await Promise.all(sites.map((site) => world.keys(site, 't/acme/batches/')))).flat();
  return [...new Set(keys.filter((key) => key.includes('/acceptances/')).map((key) => key.split('/')[3]!))];
}

/** I4: nothing counts as accepted in both clouds before hint, manifest and input are durable in both. */
async function assertPromise(world: World, file: string, policy: 'strict' | 'available' = 'strict'): Promise<void> {
  for (const batch of await acceptedBatches(world))
    for (const site of sites) {
      if (policy === 'available' && !(await holds(world, site, acceptancesPrefix('acme', batch)))) continue;
      expect([site, await hasHint(world, site, batch)]).toEqual([site, true]);
      expect([site, await holds(world, site, manifestKey('acme', batch))]).toEqual([site, true]);
      expect([site, await holds(world, site, fileContentKey('acme', file))]).toEqual([site, true]);
      expect([site, await holds(world, site, fileMetaKey('acme', file))]).toEqual([site, true]);
    }
}

/**
 * What must hold in the middle of an intake on aws: its own store gets the acceptance last, so that one found there
 * may be believed; and a manifest stands nowhere before its hint stands everywhere.
 */
async function assertOrder(world: World): Promise<void> {
  for (const site of sites)
    for (const key of await world.keys(site, 't/acme/batches/')) {
      const batch = key.split('/')[3]!;
      if (key.endsWith('/manifest.json'))
        for (const other of sites) expect([key, other, await hasHint(world, other, batch)]).toEqual([key, other, true]);
      if (key.includes('/acceptances/') && site === 'aws')
        expect([key, await holds(world, 'azure', key)]).toEqual([key, true]);
    }
}

/** Every store call of the two clouds goes by this hand, in order. */
function watch(
  world: World,
  hand: (site: SiteName, op: string, key: string, count: number) => void,
  when: 'before' | 'after',
) {
  let count = 0;
  for (const site of sites)
    for (const part of ['journal', 'state'] as const)
      world.hands[site][part].faults[when] = (op, key) => hand(site, op, key, ++count);
  return {
    stop() {
      for (const site of sites)
        for (const part of ['journal', 'state'] as const) world.hands[site][part].faults[when] = undefined;
    },
    get count() {
      return count;
    },
  };
}

describe('accepting a batch', () => {
  test('answers with a Batch object of status validating, everything standing in both journals', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    const { status, body } = await createBatch(world.api('aws'), secret, file, { more: { metadata: { a: 'b' } } });
    expect(status).toBe(200);
    expect(body).toEqual({
      id: expect.stringMatching(batchIdPattern),
      object: 'batch',
      endpoint: '/v1/chat/completions',
      model: null,
      errors: null,
      input_file_id: file,
      completion_window: '24h',
      status: 'validating',
      output_file_id: null,
      error_file_id: null,
      created_at: start / 1000,
      in_progress_at: null,
      expires_at: start / 1000 + 24 * 3600,
      finalizing_at: null,
      completed_at: null,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
      usage: null,
      metadata: { a: 'b' },
      holdfast: {
        receipt: 'dual',
        home: expect.stringMatching(/^(aws|azure)$/),
        accepted_by: 'aws',
        unprotected: false,
        waiting: null,
        answered_by: {},
        repeats: null,
        superseded: [],
      },
    });
    await assertPromise(world, file);
    for (const site of sites)
      expect((await viewBatch({ ...world.core(site) }, 'acme', body.id))?.acceptance.receipt).toBe('dual');
    expect((await call(world.api('azure'), secret, 'GET', `/v1/batches/${body.id}`)).body).toEqual({
      ...body,
      holdfast: { ...body.holdfast, unprotected: null },
    });
  });

  test('sends one plan pointer to the home that was drawn, and draws by weight among active sites', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.control.entry.sites.aws!.weight = 25;
    world.control.entry.sites.azure!.weight = 75;
    const homes = { aws: 0, azure: 0 };
    for (let i = 0; i < 200; i++)
      homes[(await createBatch(world.api('aws'), secret, file)).body.holdfast.home as SiteName]++;
    expect(homes.aws).toBeGreaterThan(30);
    expect(homes.azure).toBeGreaterThan(120);
    for (const site of sites) expect((await world.hands[site].intake.inner.depth()).visible).toBe(homes[site]);
    world.control.entry = controlEntry({ aws: 'active', azure: 'cordoned' }, 2);
    for (let i = 0; i < 20; i++)
      expect((await createBatch(world.api('azure'), secret, file)).body.holdfast.home).toBe('aws');
  });

  test('a model that one cloud alone serves is told at once as unprotected, and homed there', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('azure'), secret, inputText(2, 'only-aws'));
    for (let i = 0; i < 10; i++)
      expect((await createBatch(world.api('azure'), secret, file)).body.holdfast).toMatchObject({
        unprotected: true,
        home: 'aws',
      });
  });

  describe('while the only site that may serve a model is fenced', () => {
    const only = {
      alias: 'only-aws',
      policy: 'same_model',
      clouds: ['aws'],
      placement: 'weights',
      weights: null,
      backends: [],
    } as const;
    const submitted = async (unplaced: 'wait' | 'fail') => {
      const world = createWorld();
      const secret = await world.key();
      const api = world.api('azure');
      const file = await upload(api, secret, inputText(2, 'only-aws'));
      world.control.entry = controlEntry({ aws: 'fenced', azure: 'active' }, 2);
      world.models.entry = { ...only, unplaced };
      return { world, answer: await createBatch(api, secret, file) };
    };

    test('new work waits for it, and says so', async () => {
      const { answer } = await submitted('wait');
      expect(answer.body.holdfast).toMatchObject({
        home: 'aws',
        unprotected: true,
        waiting: 'no site that may serve its model is active: aws',
      });
    });

    test('or is refused, with nothing accepted', async () => {
      const { world, answer } = await submitted('fail');
      expect(answer).toMatchObject({ status: 503, body: { error: { code: 'no_permitted_home' } } });
      expect(await acceptedBatches(world)).toEqual([]);
      expect(await world.keys('azure', 't/acme/batches/')).toEqual([]);
    });
  });

  test('a plan pointer that cannot be sent does not cost the receipt', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    for (const site of sites) world.hands[site].intake.faults.set('send', { refuse: true });
    expect((await createBatch(world.api('aws'), secret, file)).status).toBe(200);
  });

  test('an outputs-expiry and a window come into the manifest in ms', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    const more = { output_expires_after: { anchor: 'created_at', seconds: 3600 } };
    const { body } = await createBatch(world.api('aws'), secret, file, { more });
    const view = await viewBatch(world.core('aws'), 'acme', body.id);
    expect(view?.manifest).toMatchObject({
      windowMs: 86_400_000,
      outputExpiresAfterMs: 3_600_000,
      inputBytes: inputText(2).length,
    });
  });

  test('an output file cannot be an input', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    const found = await world.hands.aws.journal.inner.get(fileMetaKey('acme', file));
    const meta = JSON.parse(Buffer.from(found!.bytes).toString());
    for (const site of sites) {
      const { inner } = world.hands[site].journal;
      await inner.delete(fileMetaKey('acme', file));
      await inner.putIfAbsent(
        fileMetaKey('acme', file),
        Buffer.from(JSON.stringify({ ...meta, purpose: 'batch_output' })),
      );
    }
    const answer = await createBatch(world.api('aws'), secret, file);
    expect([answer.status, answer.body.error.code, answer.body.error.param]).toEqual([
      400,
      'invalid_purpose',
      'input_file_id',
    ]);
  });
});

describe('receipts', () => {
  test('F1: no 2xx before the other cloud has everything; a dark peer under strict is a 503 with Retry-After', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.hands.azure.dark(true);
    const answer = await createBatch(world.api('aws'), secret, file);
    expect([answer.status, answer.body.error.code]).toEqual([503, 'peer_unavailable']);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await acceptedBatches(world)).toEqual([]);
  });

  test('F1: a peer that hangs costs one peer time-out, not more', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.hands.azure.journal.faults.set('all', { delayMs: 3_600_000 });
    world.hands.azure.state.faults.set('all', { delayMs: 3_600_000 });
    let answeredAt = 0;
    const answering = createBatch(world.api('aws'), secret, file).finally(() => {
      answeredAt = world.clock.now();
    });
    for (let i = 0; i < 200; i++) await world.clock.advance(100);
    expect((await answering).status).toBe(503);
    // The peer's word on revocations is waited for, too, for a second.
    expect(answeredAt - start).toBeLessThanOrEqual(7_000);
  });

  test('available: a dark peer makes a single receipt, and the retry with the same key is that batch', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.hands.azure.dark(true);
    const api = world.api('aws', {}, { intake: 'available' });
    const first = await createBatch(api, secret, file, { key: 'k' });
    expect([first.status, first.body.holdfast.receipt]).toEqual([200, 'single']);
    world.hands.azure.dark(false);
    const again = await createBatch(api, secret, file, { key: 'k' });
    expect([again.status, again.body.id]).toEqual([200, first.body.id]);
    // The retry brought it to the other cloud.
    expect(await holds(world, 'azure', acceptancesPrefix('acme', first.body.id))).toBe(true);
    await assertPromise(world, file);
  });

  test('available: a peer that drops out at the very last write gets no dual receipt told', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.hands.azure.journal.faults.before = (_op, key) => {
      if (key.includes('/acceptances/'))
        throw Object.assign(new Error('cut'), { name: 'SiteUnavailableError', code: 'refused' });
    };
    const { body } = await createBatch(world.api('aws', {}, { intake: 'available' }), secret, file);
    expect(body.holdfast.receipt).toBe('single');
    const view = await viewBatch({ ...world.core('aws') }, 'acme', body.id).catch(() => undefined);
    expect(view?.acceptance.receipt).toBe('single');
  });

  test('a fenced peer makes a single receipt under strict, without being asked', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.hands.azure.dark(true);
    world.control.entry = controlEntry({ aws: 'active', azure: 'fenced' }, 2);
    const { status, body } = await createBatch(world.api('aws'), secret, file);
    expect([status, body.holdfast]).toMatchObject([200, { receipt: 'single', home: 'aws' }]);
  });

  test('a recovering peer is written like an active one, and homes nothing', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.control.entry = controlEntry({ aws: 'active', azure: 'recovering' }, 2);
    const { body } = await createBatch(world.api('aws'), secret, file);
    expect(body.holdfast).toMatchObject({ receipt: 'dual', home: 'aws' });
    await assertPromise(world, file);
  });

  test('a fenced site accepts nothing', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    world.control.entry = controlEntry({ aws: 'fenced', azure: 'active' }, 2);
    const answer = await createBatch(world.api('aws'), secret, file);
    expect([answer.status, answer.body.error.code]).toEqual([503, 'site_fenced']);
  });

  test('a bound key gets single-by-policy, homed where its payload is, from either front door', async () => {
    const world = createWorld();
    const secret = await world.key({ boundTo: 'aws' });
    const file = await upload(world.api('aws'), secret);
    for (const door of sites) {
      const { status, body } = await createBatch(world.api(door), secret, file);
      expect([status, body.holdfast]).toMatchObject([200, { receipt: 'single-by-policy', home: 'aws' }]);
      expect(await holds(world, 'azure', acceptancesPrefix('acme', body.id))).toBe(true);
    }
    expect(await holds(world, 'azure', fileContentKey('acme', file))).toBe(false);
  });

  test('F5: an input that the other cloud lacks is mirrored before the receipt', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret, inputText(50));
    await world.hands.azure.journal.inner.delete(fileContentKey('acme', file));
    await world.hands.azure.journal.inner.delete(fileMetaKey('acme', file));
    expect((await createBatch(world.api('aws'), secret, file)).status).toBe(200);
    const copy = await world.hands.azure.journal.inner.get(fileContentKey('acme', file));
    expect(Buffer.from(copy!.bytes).toString()).toBe(inputText(50));
    await assertPromise(world, file);
  });

  test('F5: a copy whose hash is not that of the upload is no copy: 503, and nothing of it stays', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret, inputText(2));
    for (const site of sites) await world.hands[site].journal.inner.delete(fileContentKey('acme', file));
    await world.hands.aws.journal.inner.putIfAbsent(
      fileContentKey('acme', file),
      Buffer.alloc(inputText(2).length, 'x'),
    );
    const answer = await createBatch(world.api('aws'), secret, file);
    expect([answer.status, answer.body.error.code]).toEqual([503, 'content_mismatch']);
    expect(await holds(world, 'azure', fileContentKey('acme', file))).toBe(false);
    expect(await acceptedBatches(world)).toEqual([]);
  });
});

describe('Idempotency-Key', () => {
  test('the same key and request is the same batch, on either cloud, also for the same bytes uploaded again', async () => {
    const world = createWorld();
    const secret = await world.key();
    const [one, two] = [await upload(world.api('aws'), secret), await upload(world.api('azure'), secret)];
    const first = await createBatch(world.api('aws'), secret, one, { key: 'order-1' });
    await world.clock.advance(60_000);
    for (const [door, file] of [
      ['aws', one],
      ['azure', one],
      ['azure', two],
    ] as const) {
      const again = await createBatch(world.api(door), secret, file, { key: 'order-1' });
      expect([again.status, again.body.id, again.body.created_at, again.body.input_file_id]).toEqual([
        200,
        first.body.id,
        start / 1000,
        one,
      ]);
    }
    expect(await acceptedBatches(world)).toHaveLength(1);
    expect(await world.keys('aws', recentPrefix('acme'))).toHaveLength(1);
  });

  test('a retry is answered from the own store, with the other cloud dark', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    const first = await createBatch(world.api('aws'), secret, file, { key: 'k' });
    world.hands.azure.dark(true);
    const again = await createBatch(world.api('aws'), secret, file, { key: 'k' });
    expect([again.status, again.body.id]).toEqual([200, first.body.id]);
  });

  test('F4: the same key with another request is a 409 on either cloud, and nothing is overwritten', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    const other = await upload(world.api('aws'), secret, inputText(3));
    const { body } = await createBatch(world.api('aws'), secret, file, { key: 'k' });
    const before = [await world.keys('aws'), await world.keys('azure')];
    for (const door of sites)
      for (const [id, more] of [
        [other, {}],
        [file, { metadata: { a: 'b' } }],
        [file, { endpoint: '/v1/responses' }],
      ] as const) {
        const answer = await createBatch(world.api(door), secret, id, { key: 'k', more });
        expect([answer.status, answer.body.error.code, answer.body.error.param]).toEqual([
          409,
          'idempotency_conflict',
          'Idempotency-Key',
        ]);
      }
    expect([await world.keys('aws'), await world.keys('azure')]).toEqual(before);
    expect((await createBatch(world.api('azure'), secret, file, { key: 'k' })).body.id).toBe(body.id);
  });

  test('keys of two tenants do not meet', async () => {
    const world = createWorld();
    const [one, two] = [await world.key(), await world.key({ tenant: 'umbrella' })];
    const a = await createBatch(world.api('aws'), one, await upload(world.api('aws'), one), { key: 'k' });
    const b = await createBatch(world.api('aws'), two, await upload(world.api('aws'), two, inputText(3)), { key: 'k' });
    expect([a.status, b.status]).toEqual([200, 200]);
    expect(a.body.id).not.toBe(b.body.id);
  });

  test('two batches under one key, accepted during a cut, both stay, and the next use of the key reports them', async () => {
    const world = createWorld();
    const secret = await world.key();
    const [one, two] = [await upload(world.api('aws'), secret), await upload(world.api('aws'), secret, inputText(3))];
    const lone = (site: SiteName) => world.api(site, {}, { intake: 'available' });
    world.hands.azure.dark(true);
    const first = await createBatch(lone('aws'), secret, one, { key: 'k' });
    world.hands.azure.dark(false);
    world.hands.aws.dark(true);
    const second = await createBatch(lone('azure'), secret, two, { key: 'k' });
    world.hands.aws.dark(false);
    expect([first.status, second.status]).toEqual([200, 200]);
    for (const [file, id] of [
      [one, first.body.id],
      [two, second.body.id],
    ])
      expect((await createBatch(world.api('aws'), secret, file, { key: 'k' })).body.id).toBe(id);
    expect((await createBatch(world.api('aws'), secret, one, { key: 'k' })).status).toBe(200);
    const reports = world.logged.filter(({ event }) => event === 'idempotency.split');
    expect(String(reports.at(-1)?.fields.batches).split(' ').toSorted()).toEqual(
      [first.body.id, second.body.id].toSorted(),
    );
  });

  test('without a key every request is a batch of its own', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    await createBatch(world.api('aws'), secret, file);
    await createBatch(world.api('aws'), secret, file);
    expect(await acceptedBatches(world)).toHaveLength(2);
  });

  test.each(['', 'ä', 'x'.repeat(256)])('a key that is empty, not ASCII or too long is a 400 (%j)', async (key) => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    const answer = await createBatch(world.api('aws'), secret, file, { key });
    expect([answer.status, answer.body.error.param]).toEqual([400, 'Idempotency-Key']);
  });

  test('F54: one key reaches both clouds in the same second with the same request, uploaded twice: one batch, in 200 interleavings', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const world = createWorld();
      const secret = await world.key();
      const [one, two] = [await upload(world.api('aws'), secret), await upload(world.api('azure'), secret)];
      const settled = await interleave(world, lcg(seed), [
        () => createBatch(world.api('aws'), secret, one, { key: 'k' }),
        () => createBatch(world.api('azure'), secret, two, { key: 'k' }),
      ]);
      const answers = settled.map((each) => (each as PromiseFulfilledResult<Answer>).value);
      expect([seed, answers[0]!.status, answers[1]!.status]).toEqual([seed, 200, 200]);
      expect(answers[0]!.body.id).toBe(answers[1]!.body.id);
      const list = await call(world.api('aws'), secret, 'GET', '/v1/batches');
      expect([seed, list.body.data.length]).toEqual([seed, 1]);
      await assertPromise(world, list.body.data[0].input_file_id);
    }
  });

  test('F54: one key reaches both clouds in the same second with two requests: one batch and one 409, in 200 interleavings', async () => {
    const winners = new Set<number>();
    for (let seed = 1; seed <= 200; seed++) {
      const world = createWorld();
      const secret = await world.key();
      const [one, two] = [await upload(world.api('aws'), secret), await upload(world.api('aws'), secret, inputText(3))];
      const settled = await interleave(world, lcg(seed), [
        () => createBatch(world.api('aws'), secret, one, { key: 'k' }),
        () => createBatch(world.api('azure'), secret, two, { key: 'k' }),
      ]);
      const statuses = settled.map((each) => (each as PromiseFulfilledResult<Answer>).value.status);
      expect([seed, statuses.toSorted()]).toEqual([seed, [200, 409]]);
      expect(await acceptedBatches(world)).toHaveLength(1);
      winners.add(statuses.indexOf(200));
    }
    expect(winners.size).toBe(2);
  });
});

describe('crashes and lost replies', () => {
  test('F6: killed before or after any one of its store calls, intake leaves nothing accepted or everything, and the retry completes it', async () => {
    for (const when of ['before', 'after'] as const) {
      let calls = 0;
      for (let at = 1; at === 1 || at <= calls; at++) {
        const world = createWorld();
        const secret = await world.key();
        const file = await upload(world.api('aws'), secret);
        // The key is known by now, so that only intake's own calls are counted.
        const api = world.api('aws');
        await call(api, secret, 'GET', '/v1/batches');
        const watched = watch(
          world,
          (_site, _op, _key, count) => {
            if (count >= at) throw new Error('killed');
          },
          when,
        );
        const killed = await createBatch(api, secret, file, { key: 'k' });
        calls = Math.max(calls, watched.count);
        watched.stop();
        expect([when, at, killed.status]).not.toEqual([when, at, 200]);
        await assertPromise(world, file);
        await assertOrder(world);
        const [accepted] = await acceptedBatches(world);
        const again = await createBatch(world.api('azure'), secret, file, { key: 'k' });
        expect([when, at, again.status]).toEqual([when, at, 200]);
        if (accepted !== undefined) expect(again.body.id).toBe(accepted);
        expect(await acceptedBatches(world)).toEqual([again.body.id]);
        await assertPromise(world, file);
        const list = await call(world.api('aws'), secret, 'GET', '/v1/batches');
        expect([when, at, list.body.data.length]).toEqual([when, at, 1]);
        if (at > 60) throw new Error('more calls than intake makes');
        if (at === 1) calls = Math.max(calls, await countCalls());
      }
    }
  });

  test('F2, F3: whichever reply is lost, the answer is the batch or a 503, and the same key gives the same batch on the other cloud', async () => {
    const total = await countCalls();
    for (const site of [...sites, 'both'] as const)
      for (let at = 1; at <= total; at++) {
        const world = createWorld();
        const secret = await world.key();
        const file = await upload(world.api('aws'), secret);
        const api = world.api('aws');
        await call(api, secret, 'GET', '/v1/batches');
        const watched = watch(
          world,
          (where, _op, _key, count) => {
            if (count === at && (site === 'both' || site === where))
              throw new OutcomeUnknownError('reply_lost', 'lost');
          },
          'after',
        );
        const first = await createBatch(api, secret, file, { key: 'k' });
        watched.stop();
        expect([at, [200, 503].includes(first.status)]).toEqual([at, true]);
        const again = await createBatch(world.api('azure'), secret, file, { key: 'k' });
        expect([at, again.status]).toEqual([at, 200]);
        if (first.status === 200) expect(again.body.id).toBe(first.body.id);
        expect(await acceptedBatches(world)).toEqual([again.body.id]);
        await assertPromise(world, file);
      }
  });

  test('F6: a crash between hint and manifest, or manifest and acceptance, is no batch to anybody', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    for (const stop of ['/manifest.json', '/recent/', '/acceptances/']) {
      const watched = watch(
        world,
        (_site, op, key) => {
          if (op === 'putIfAbsent' && key.includes(stop)) throw new Error('killed');
        },
        'before',
      );
      expect((await createBatch(world.api('aws'), secret, file)).status).toBeGreaterThanOrEqual(500);
      watched.stop();
    }
    expect((await call(world.api('aws'), secret, 'GET', '/v1/batches')).body.data).toEqual([]);
    expect(
      (await world.hands.aws.intake.inner.depth()).visible + (await world.hands.azure.intake.inner.depth()).visible,
    ).toBe(0);
  });

  test('F7: an intake that slept through its own fencing has put hint and acceptance where the survivor looks', async () => {
    const world = createWorld();
    const secret = await world.key();
    const file = await upload(world.api('aws'), secret);
    let wake = () => {};
    const asleep = new Promise<void>((reached) => {
      world.hands.aws.journal.faults.before = (op, key) => {
        if (op !== 'putIfAbsent' || !key.includes('/recent/')) return;
        reached();
        return new Promise<void>((resolve) => {
          wake = resolve;
        });
      };
    });
    const answering = createBatch(world.api('aws'), secret, file, { key: 'k' });
    await asleep;
    world.control.entry = controlEntry({ aws: 'fenced', azure: 'active' }, 2);
    wake();
    const { status, body } = await answering;
    expect(status).toBe(200);
    // The survivor enumerates hints for ever, and finds an accepted batch behind this one.
    expect(await hasHint(world, 'azure', body.id)).toBe(true);
    expect(await holds(world, 'azure', acceptancesPrefix('acme', body.id))).toBe(true);
    await assertPromise(world, file);
  });

  test('F7: an intake that believed itself alone, and is not by the time it answers, mirrors before it answers', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.control.entry = controlEntry({ aws: 'active', azure: 'fenced' }, 2);
    const file = await upload(world.api('aws'), secret);
    world.hands.aws.journal.faults.before = (_op, key) => {
      if (key.includes('/recent/')) world.control.entry = controlEntry({ aws: 'active', azure: 'active' }, 3);
    };
    expect((await createBatch(world.api('aws'), secret, file)).status).toBe(200);
    expect(await acceptedBatches(world)).toHaveLength(1);
    await assertPromise(world, file);
  });

  test('F7: an intake that believed itself alone and wakes up fenced answers 503', async () => {
    const world = createWorld();
    const secret = await world.key();
    world.control.entry = controlEntry({ aws: 'active', azure: 'fenced' }, 2);
    const file = await upload(world.api('aws'), secret);
    world.hands.aws.journal.faults.before = (_op, key) => {
      if (key.includes('/recent/')) world.control.entry = controlEntry({ aws: 'fenced', azure: 'active' }, 3);
    };
    const answer = await createBatch(world.api('aws'), secret, file);
    expect([answer.status, answer.body.error.code]).toEqual([503, 'site_fenced']);
  });
});

/** Store calls of one undisturbed acceptance. */
async function countCalls(): Promise<number> {
  const world = createWorld();
  const secret = await world.key();
  const file = await upload(world.api('aws'), secret);
  const api = world.api('aws');
  await call(api, secret, 'GET', '/v1/batches');
  const watched = watch(world, () => {}, 'before');
  await createBatch(api, secret, file, { key: 'k' });
  return watched.count;
}
