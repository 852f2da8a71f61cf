import { describe, expect, test } from '@jest/globals';
import { TransientError } from '../../../shared/errors.ts';
import { viewBatch } from '../../../shared/journal/batch.ts';
import type { Pointer } from '../../../shared/journal/facts.ts';
import { newFileId, outputKey, resultKey, resultsPrefix } from '../../../shared/journal/keys.ts';
import { resultBytes } from '../../../shared/journal/results.ts';
import type { Delivery, Settlement } from '../../../shared/ports/delivery.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { dispatch } from '../../../shared/worker/dispatch.ts';
import { publishBatch, work } from '../../../shared/worker/index.ts';
import { splitRange } from '../../../shared/worker/split.ts';
import { countUnread } from '../../../shared/worker/unread.ts';
import { unknownVersionPauseMs } from '../../../shared/worker/work.ts';
import { answered, deliveryOf, retried, seeded, World } from '../../support/world.ts';
import { setState } from '../redrive/support.ts';

type Placed = { tenant: string; batch: string };
const idsOf = async (world: World, placed: Placed) => {
  const publication = await world.publication('aws', placed);
  if (publication?.output == null) return undefined;
  const found = await world.aws.journal.get(outputKey(placed.tenant, publication.output.sha256));
  const text = Buffer.from(found!.bytes).toString('utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line).custom_id as string);
};
const ids = (lines: number) => Array.from({ length: lines }, (_, i) => `line-${i}`);
const results = (world: World, { tenant, batch }: Placed) =>
  Array.fromAsync(listAll(world.aws.journal, resultsPrefix(tenant, batch)));

/** Hands one message of the AWS work queue to `work` as a delivery that a test can look at. */
async function oneDelivery(world: World): Promise<{ delivery: Delivery; settled: Settlement['kind'][] }> {
  const settled: Settlement['kind'][] = [];
  const [message] = await world.aws.work.receive({ max: 1 });
  return { delivery: deliveryOf(world.aws.work, message!, settled), settled };
}

describe('working', () => {
  test('F9 the message is settled after the result is durable, and given back when no store took the result', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 5 });
    await world.serve('aws', 'intake');
    const order: string[] = [];
    world.aws.faults.before = (op, key) =>
      void (key.includes('/results/') && op === 'putIfAbsent' && order.push('write'));
    world.aws.queueFaults.before = (op) => void (op === 'complete' && order.push('settle'));
    world.aws.faults.set('putIfAbsent', { refuse: true });
    world.azure.faults.set('putIfAbsent', { refuse: true });
    expect(await world.serve('aws', 'work')).toEqual(['giveBack']);
    world.aws.faults.clear('putIfAbsent');
    world.azure.faults.clear('putIfAbsent');
    await world.clock.advance(10_000);
    const { delivery, settled } = await oneDelivery(world);
    const watched = {
      ...delivery,
      settle: (how: Settlement) => {
        order.push('settle');
        return delivery.settle(how);
      },
    };
    order.length = 0;
    await world.settled(work(world.core('aws'), [watched]));
    expect(settled).toEqual(['complete']);
    expect(order.at(-1)).toBe('settle');
    expect(order).toContain('write');
    expect(await results(world, placed)).not.toEqual([]);
  });

  test('F10 ten messages, one throws: one comes back, nine are done', async () => {
    const world = new World();
    world.answer = (line, site) => {
      if (line.line === 17) throw new Error('bug');
      return answered(line, site);
    };
    await world.accept({ lines: 50 });
    await world.serve('aws', 'intake');
    const settled = await world.serve('aws', 'work');
    expect(settled.toSorted()).toEqual([...Array(9).fill('complete'), 'giveBack']);
  });

  test('F11 the lease ends before inference does: the second worker finds the result, or is chosen against; one counts', async () => {
    const world = new World({ settings: { leaseMs: 60_000 } });
    const placed = await world.accept({ lines: 5 });
    await world.serve('aws', 'intake');
    let release = () => {};
    const slow = new Promise<void>((resolve) => (release = resolve));
    world.answer = async (line, site) => {
      await slow;
      return answered(line, site);
    };
    const [message] = await world.aws.work.receive({ max: 1 });
    const frozen = { ...deliveryOf(world.aws.work, message!), extend: async () => false };
    const first = work(world.core('aws'), [frozen]);
    await world.clock.advance(61_000);
    world.answer = answered;
    expect(await world.serve('aws', 'work')).toEqual(['complete']);
    release();
    await world.settled(first);
    await world.run(60_000, () => world.called.length > 0);
    expect(await idsOf(world, placed)).toEqual(ids(5));
    expect((await world.publication('aws', placed))!.repeats).toBe(5);
    expect(world.aws.work.deadLetters).toEqual([]);
  });

  test('F11 a message handed out again after the work was done asks no model', async () => {
    const world = new World();
    await world.accept({ lines: 5 });
    await world.serve('aws', 'intake');
    world.aws.queueFaults.set('complete', { dropReply: 'once' });
    const [message] = await world.aws.work.receive({ max: 1 });
    await world.settled(work(world.core('aws'), [{ ...deliveryOf(world.aws.work, message!), settle: async () => {} }]));
    await world.clock.advance(world.settings.leaseMs + 1000);
    expect(await world.serve('aws', 'work')).toEqual(['complete']);
    expect([...world.asked.values()]).toEqual(Array(5).fill(1));
  });

  test('F14 F15 a backend that fails for days spends no attempt: nothing is parked, failed or dead-lettered', async () => {
    const world = new World();
    let isDown = true;
    world.answer = (line, site) => (isDown ? retried(line, 'backend') : answered(line, site));
    const placed = await world.accept({ lines: 5, windowMs: 10 * 24 * 3_600_000 });
    await world.serve('aws', 'intake');
    for (let delivery = 0; delivery < 600; delivery++) {
      await world.serve('aws', 'work');
      await world.clock.advance(300_000);
    }
    isDown = false;
    await world.run(3_600_000, () => world.called.length > 0);
    expect(await idsOf(world, placed)).toEqual(ids(5));
    expect(world.aws.work.deadLetters).toEqual([]);
  });

  test('F16 a line that kills its process is found by halving, parked alone, and an error only at the deadline', async () => {
    const world = new World();
    const poison = 3;
    const placed = await world.accept({ lines: 5, windowMs: 4 * 3_600_000 });
    await world.serve('aws', 'intake');
    const isOver = () => world.called.length > 0;
    for (let tick = 0; tick < 2000 && !isOver(); tick++) {
      for (const message of await world.aws.work.receive({ max: 10 })) {
        const delivery = deliveryOf(world.aws.work, message);
        const dies = new Promise<'died'>((resolve) => {
          world.answer = (line, site) => {
            if (line.line !== poison) return answered(line, site);
            resolve('died');
            return new Promise(() => {});
          };
        });
        // A killed process neither writes nor settles: its run is left hanging and its lease ends by itself.
        const run = work(world.newProcess('aws'), [{ ...delivery, extend: async () => false }]);
        await world.settled(Promise.race([run, dies]));
      }
      await world.serve('aws', 'intake');
      await world.sweepAll(['aws']);
      await world.clock.advance(world.settings.tickMs);
    }
    const publication = await world.publication('aws', placed);
    expect(publication).toMatchObject({ status: 'expired', counts: { total: 5, completed: 4, failed: 1 } });
    expect(await idsOf(world, placed)).toEqual(ids(5).filter((id) => id !== `line-${poison}`));
    expect(world.asked.get(`line-${poison}`)).toBeLessThan(30);
    expect(world.aws.work.deadLetters).toEqual([]);
  });

  test('a range is halved once, however many copies of its pointer ask for that; and again when it was sent again', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 4 });
    await world.serve('aws', 'intake');
    const core = world.core('aws');
    const split = { v: 1, kind: 'split', ...placed, firstLine: 0, lines: 4, epoch: world.control.epoch } as const;
    const waiting = async () => (await world.aws.work.depth()).visible;
    expect(await waiting()).toBe(1);
    for (let copy = 0; copy < 3; copy++) await splitRange(core, split);
    expect(await waiting()).toBe(3);
    for (let copy = 0; copy < 3; copy++) await splitRange(core, { ...split, lines: 2 });
    await splitRange(core, split);
    expect(await waiting()).toBe(5);
    await world.clock.advance(1_000);
    const view = (await viewBatch(core, placed.tenant, placed.batch))!;
    await dispatch(core, view, view.plan!, { to: 'aws', reason: 'redrive', ranges: view.plan!.chunks, repeat: true });
    await splitRange(core, split);
    expect(await waiting()).toBe(8);
  });

  test('an input that no store gives for hours spends no attempt of its lines, whichever process asks for it', async () => {
    const world = new World();
    let isAway = true;
    for (const { faults } of [world.aws, world.azure])
      faults.before = (op, key) => {
        if (isAway && op === 'get' && key.endsWith('/content')) throw new TransientError('throttled', `${key}: 429`);
      };
    const placed = await world.accept({ lines: 1 });
    isAway = false;
    await world.serve('aws', 'intake');
    isAway = true;
    for (let delivery = 1; delivery <= 12; delivery++) {
      for (const message of await world.aws.work.receive({ max: 1 }))
        await world.settled(work(world.newProcess('aws'), [deliveryOf(world.aws.work, message)]));
      await world.clock.advance(300_000);
    }
    expect(await results(world, placed)).toEqual([]);
    isAway = false;
    await world.run(3_600_000, () => world.called.length > 0);
    expect(await idsOf(world, placed)).toEqual(ids(1));
  });

  test('a process that lives through a store which takes no results spends one attempt, and not one each time', async () => {
    const world = new World();
    const placed = await world.accept({ lines: 1 });
    await world.serve('aws', 'intake');
    let isFull = false;
    for (const { faults } of [world.aws, world.azure])
      faults.before = (op, key) => {
        if (isFull && op === 'putIfAbsent' && key.endsWith('-000001.jsonl'))
          throw new TransientError('throttled', '429');
      };
    isFull = true;
    for (let delivery = 1; delivery <= 12; delivery++) {
      await world.serve('aws', 'work');
      await world.clock.advance(300_000);
    }
    expect((await results(world, placed)).length).toBeLessThanOrEqual(1);
    isFull = false;
    await world.run(3_600_000, () => world.called.length > 0);
    expect(await idsOf(world, placed)).toEqual(ids(1));
  });

  test('F17 a pointer of a later version is put back, what nobody can read is set aside, neither is dropped', async () => {
    const world = new World();
    const pointer: Pointer = { v: 1, kind: 'plan', tenant: 'acme', batch: `batch_${'0'.repeat(32)}`, epoch: 1 };
    await world.aws.work.send([
      { id: '1', body: JSON.stringify({ ...pointer, v: 2, colour: 'blue' }) },
      { id: '2', body: 'not a pointer' },
      { id: '3', body: `{"v":1,"kind":"plan","x":${'['.repeat(3000)}${']'.repeat(3000)}}` },
    ]);
    expect((await world.serve('aws', 'work')).toSorted()).toEqual(['deadLetter', 'deadLetter', 'giveBack']);
    await world.clock.advance(61_000);
    expect(await world.serve('aws', 'work')).toEqual(['giveBack']);
  });

  test.each([
    ['intake', { v: 2, kind: 'plan' }],
    ['work', { v: 2, kind: 'chunk' }],
  ] as const)(
    'F17 one of a later version in the %s queue does not hide that another one is lost',
    async (queue, later) => {
      const world = new World();
      const batch = await world.accept();
      if (queue === 'work') await world.serve('aws', 'intake');
      for (const message of await world.aws[queue].receive({ max: 100 })) await world.aws[queue].complete(message);
      for (let i = 0; i < 5; i++) await world.aws[queue].send([{ id: `${i}`, body: JSON.stringify({ ...later, i }) }]);
      await world.run(30 * 60_000, () => world.called.length > 0);
      expect(await world.publication('aws', batch)).toMatchObject({ status: 'completed', counts: { completed: 12 } });
      expect([...world.asked.values()]).toEqual(Array(12).fill(1));
      const { visible, inFlight, delayed } = await world.aws[queue].depth();
      expect(visible + inFlight + delayed).toBe(5);
      // They are forgotten once nobody meets them any more.
      for (let hour = 0; hour < 3; hour++) {
        for (const message of await world.aws[queue].receive({ max: 100 })) await world.aws[queue].complete(message);
        await world.clock.advance(60 * 60_000);
      }
      expect(await countUnread(world.core('aws'), queue)).toBe(0);
      expect(await world.aws.state.list('unread/')).toMatchObject({ entries: [] });
    },
  );

  test('I15: a pointer of a later version is not delivered as often as a broker allows before its queue forgets it', () => {
    const retentionMs = 14 * 24 * 3_600_000;
    let deliveries = 0;
    for (let at = 0; at < retentionMs; at += unknownVersionPauseMs(deliveries)) deliveries += 1;
    expect(deliveries).toBeLessThan(700);
    expect(unknownVersionPauseMs(1)).toBe(60_000);
  });

  test('a pointer of a later epoch than its worker knows of is given back, and worked once that has learned', async () => {
    const world = new World();
    const before = setState(world, { aws: 'fenced' });
    setState(world, { aws: 'active' });
    const { tenant, batch } = await world.accept({ lines: 5 });
    expect(tenant).toBeDefined();
    const late = { ...world.newProcess('aws'), control: { current: async () => before } };
    const [message] = await world.aws.intake.receive({ max: 1 });
    const settled: string[] = [];
    await world.settled(work(late, [deliveryOf(world.aws.intake, message!, settled as never)]));
    expect(settled).toEqual(['giveBack']);
    await world.clock.advance(world.settings.controlCacheMs);
    await world.serveAll(['aws']);
    expect(await world.publication('aws', { tenant, batch })).toMatchObject({ status: 'completed' });
  });

  test.each(['intake', 'work'] as const)(
    'a batch that the other cloud alone holds, and does not show: its pointer in %s stays; one that nobody knows goes',
    async (queue) => {
      const world = new World();
      const { tenant, batch } = await world.accept({ lines: 5, stores: ['aws'], tellIntake: false });
      const plan = { v: 1, kind: 'plan', tenant, batch, epoch: 1 };
      const chunk = {
        ...plan,
        kind: 'chunk',
        input: newFileId(0, world.uuid()),
        offset: 0,
        length: 10,
        firstLine: 0,
        lines: 5,
        model: 'm',
      };
      const pointer = queue === 'intake' ? plan : { ...chunk, endpoint: '/v1/chat/completions', repeat: false };
      const send = (body: object) => world.azure[queue].send([{ id: world.uuid(), body: JSON.stringify(body) }]);
      world.aws.faults.set('list', { refuse: true });
      await send(pointer);
      const settled = world.serve('azure', queue);
      expect(await world.settled(settled)).toEqual(['giveBack']);
      world.aws.faults.clear();
      await send({ ...pointer, batch: `batch_${world.uuid()}` });
      expect(await world.settled(world.serve('azure', queue, 1))).toEqual(['complete']);
    },
  );

  test('F34 a stale pointer changes nothing but the queue it sits in', async () => {
    const world = new World();
    await world.accept({ lines: 10 });
    await world.serve('aws', 'intake');
    const fenced = { ...world.control.sites.aws!, state: 'fenced' as const, fencedEpoch: 2 };
    world.control = { ...world.control, epoch: 2, sites: { ...world.control.sites, aws: fenced } };
    const puts = world.aws.journal.calls.putIfAbsent;
    expect(await world.serve('aws', 'work')).toEqual(['complete', 'complete']);
    expect(world.asked.size).toBe(0);
    expect(world.aws.journal.calls.putIfAbsent).toBe(puts);
  });
});

test('I6 whenever a site is fenced while a batch is placed there, it gets no wave of it, and another site works it', async () => {
  const settlements = new Set<string>();
  for (let fencedAt = 1; fencedAt <= 4; fencedAt++) {
    const world = new World();
    await world.accept({ home: 'aws' });
    let looks = 0;
    const current = async () => {
      if (++looks === fencedAt) setState(world, { aws: 'fenced' });
      return world.control;
    };
    const [message] = await world.aws.intake.receive({ max: 1 });
    const settled: Settlement['kind'][] = [];
    const core = { ...world.newProcess('azure'), control: { current } };
    await world.settled(work(core, [deliveryOf(world.aws.intake, message!, settled)]));
    settlements.add(settled.join());
    const isSentBefore = looks < fencedAt;
    expect((await world.aws.work.depth()).visible > 0).toBe(isSentBefore);
    if (isSentBefore) setState(world, { aws: 'fenced' });
    await world.run(3_600_000, () => world.called.length > 0);
    expect([...world.asked.values()]).toEqual(Array(12).fill(1));
  }
  expect(settlements).toContain('giveBack');
});

describe('publishing', () => {
  test('F28 two publishers on two clouds, 200 times, with delayed and dropped replies: one publication each time', async () => {
    for (let seed = 1; seed <= 200; seed++) {
      const world = new World({ seed });
      const placed = await world.accept({ lines: 10 });
      await world.serve('aws', 'intake');
      // Every line is answered in both clouds, differently, so that two publishers may well see different candidates.
      const messages = await world.aws.work.receive({ max: 100 });
      for (const site of ['aws', 'azure'] as const) {
        const deliveries = messages.map((message) => deliveryOf(world.aws.work, message));
        await world.settled(work(world.newProcess(site), deliveries));
      }
      const random = seeded(seed);
      for (const site of ['aws', 'azure'] as const) {
        const { faults } = world[site];
        faults.set('putIfMatch', {
          dropReply: random() < 0.5 ? 'once' : undefined,
          delayMs: Math.floor(random() * 200),
        });
        faults.set('putIfAbsent', { delayMs: Math.floor(random() * 200), errorRate: 0.1 });
        faults.set('get', { delayMs: Math.floor(random() * 100) });
        faults.set('list', { delayMs: Math.floor(random() * 100), errorRate: 0.1 });
      }
      const publish = (site: 'aws' | 'azure') =>
        publishBatch(world.newProcess(site), placed.tenant, placed.batch).catch((error: Error) => error.name);
      await world.settled(Promise.all([publish('aws'), publish('azure'), publish('aws')]));
      for (const site of ['aws', 'azure'] as const) world[site].faults.clear();
      await world.settled(publishBatch(world.newProcess('aws'), placed.tenant, placed.batch));
      const [aws, azure] = [await world.publication('aws', placed), await world.publication('azure', placed)];
      expect([seed, aws]).toEqual([seed, azure]);
      expect([seed, aws?.status]).toEqual([seed, 'completed']);
      expect([seed, await idsOf(world, placed)]).toEqual([seed, ids(10)]);
      expect([seed, aws?.repeats]).toEqual([seed, 10]);
      const distinct = new Set(world.called.map((publication) => JSON.stringify(publication)));
      expect([seed, distinct.size]).toEqual([seed, 1]);
    }
  });

  test('F32 torn, foreign and double results do not count: the lines are worked again and published once', async () => {
    const world = new World({ settings: { dispatchLeaseMs: 20_000, shortDepthMs: 20_000 } });
    const placed = await world.accept({ lines: 10 });
    await world.serve('aws', 'intake');
    const by = { epoch: 1, site: 'aws', firstLine: 0, lines: 5, batch: placed.batch, at: 0, attempt: '0'.repeat(32) };
    const rows = ids(5).map((customId, line) => answered({ line, customId, body: {}, bytes: 2 }, 'aws'));
    const write = async (uuid: string, change: (bytes: Uint8Array) => Uint8Array, some = rows) => {
      const { name, bytes } = resultBytes({ ...by, uuid: uuid.repeat(32) }, some);
      await world.aws.journal.putIfAbsent(resultKey(placed.tenant, placed.batch, name), change(bytes));
    };
    await write('1', (bytes) => bytes.subarray(0, bytes.length - 20));
    await write(
      '2',
      (bytes) => bytes,
      rows.map((row) => ({ ...row, customId: `foreign-${row.line}` })),
    );
    await write(
      '3',
      (bytes) => bytes,
      rows.map((row) => ({ ...row, line: 2 })),
    );
    await world.run(900_000, () => world.called.length > 0);
    expect(await idsOf(world, placed)).toEqual(ids(10));
    expect((await world.publication('aws', placed))!.repeats).toBe(0);
    expect((await world.aws.state.list('quarantine/')).entries.length).toBeGreaterThanOrEqual(2);
  });
});
