import { beforeEach, describe, expect, test } from '@jest/globals';
import type { BatchingCore, LineRequest } from '../../../shared/batching/core.ts';
import { createBatchingCore } from '../../../shared/batching/engine.ts';
import type { Core } from '../../../shared/core.ts';
import { breakerBoard, readBreakers } from '../../../shared/health/breakers.ts';
import { readObservations, writeObservation } from '../../../shared/health/observation.ts';
import type { Observation } from '../../../shared/health/types.ts';
import type { BackendReply } from '../../../shared/inference/backend.ts';
import { breakersKey, observationKey } from '../../../shared/journal/keys.ts';
import { seeded, World } from '../../support/world.ts';

const minute = 60_000;

describe('breakers of two sites', () => {
  let world: World;
  let reply: BackendReply;
  const good: BackendReply = { kind: 'answered', status: 200, body: { choices: [{}] } };
  const broken: BackendReply = { kind: 'answered', status: 500, body: {} };
  /** Calls made by each process. */
  let calls: Map<string, number>;
  /** Calls under way at each start of one, itself included. */
  let starts: number[];
  let underWay: number;

  beforeEach(() => {
    world = new World();
    reply = broken;
    calls = new Map();
    starts = [];
    underWay = 0;
  });

  function worker(name: string, core: Core): BatchingCore {
    const { self, clock, ids, log } = core;
    const backend = {
      name: 'vendor',
      async call() {
        calls.set(name, (calls.get(name) ?? 0) + 1);
        starts.push(++underWay);
        await clock.sleep(10);
        underWay -= 1;
        return reply;
      },
    };
    const breakers = breakerBoard(core);
    return createBatchingCore({
      site: self,
      route: () => ({ backend, model: 'm-1' }),
      clock,
      random: seeded(3),
      ids,
      log,
      breakers,
    });
  }

  /** Runs some lines for `ms` of time; gives how many were answered. */
  async function run(batching: BatchingCore, ms = 10_000, count = 20): Promise<number> {
    const lines = Array.from({ length: count }, (_, line): LineRequest => {
      const body = { model: 'm', messages: [{ role: 'user', content: 'hello' }] };
      return { line, customId: `l${line}`, body, bytes: 50 };
    });
    const deadline = world.clock.now() + ms;
    const rows = batching.run({ endpoint: '/v1/chat/completions', model: 'm', lines, deadline });
    await world.clock.advance(ms);
    return (await rows).filter(({ outcome }) => outcome === 'answered').length;
  }

  /** Opens the breaker of the first worker for long. */
  async function breakIt(): Promise<void> {
    const first = worker('first', world.newProcess('aws'));
    for (let i = 0; i < 8; i++) await run(first, minute);
  }

  test('one process finds a backend broken: another of its site asks no more than one probe', async () => {
    await breakIt();
    await run(worker('second', world.newProcess('aws')), 5_000);
    expect(calls.get('second') ?? 0).toBeLessThanOrEqual(1);
    // Without anybody's word it takes sixteen at once to find out.
    await run(worker('deaf', { ...world.newProcess('azure') }), 5_000);
    expect(calls.get('deaf')).toBeGreaterThanOrEqual(16);
  });

  test('the site’s own state says which, since when, why, and when it is tried again', async () => {
    await breakIt();
    const [note, ...others] = await readBreakers(world.newProcess('azure'), world.aws.site);
    expect(others).toEqual([]);
    expect(note).toMatchObject({ site: 'aws', backend: 'vendor', model: 'm-1', state: 'open', reason: 'status 500' });
    expect(note!.until).toBeGreaterThan(note!.at);
    expect(note!.since).toBeLessThan(note!.at);
  });

  test('it recovers: the process that probes tells the others, and calls begin with one at once', async () => {
    const first = worker('first', world.newProcess('aws'));
    await run(first, minute);
    reply = good;
    starts = [];
    expect(await run(first, 2 * minute)).toBe(20);
    expect(Math.max(...starts.slice(0, 7))).toBeLessThanOrEqual(4);
    const [note] = await readBreakers(world.newProcess('aws'), world.aws.site);
    expect(note).toMatchObject({ state: 'closed', until: note!.since + minute });
    expect(await run(worker('second', world.newProcess('aws')), 5_000)).toBe(20);
  });

  test('an observation carries it to the other site, whose workers begin with one call instead of sixteen', async () => {
    await breakIt();
    const core = world.newProcess('aws');
    const breakers = await readBreakers(core, world.aws.site);
    const observation: Observation = {
      v: 1,
      kind: 'observation',
      observer: 'aws',
      home: 'aws',
      at: world.clock.now(),
      trustsItself: true,
      verdicts: [],
      backlog: [],
      breakers,
    };
    await writeObservation(core, observation, new Map());
    const seen = await readObservations(world.newProcess('azure'), new Map(), ['aws']);
    expect(seen[0]!.observation.breakers).toEqual(breakers);
    let atOnce = 0;
    reply = good;
    const azure = world.newProcess('azure');
    const board = breakerBoard(azure);
    let running = 0;
    const batching = createBatchingCore({
      site: 'azure',
      route: () => ({
        backend: {
          name: 'vendor',
          async call() {
            running += 1;
            atOnce = Math.max(atOnce, running);
            await world.clock.sleep(1_000);
            running -= 1;
            return good;
          },
        },
        model: 'm-1',
      }),
      clock: world.clock,
      random: seeded(3),
      ids: azure.ids,
      log: azure.log,
      breakers: board,
    });
    await run(batching, 900, 30);
    expect(atOnce).toBe(1);
  });

  test('what a server bears at once, one process finds out; the next begins with that, on a redrive too', async () => {
    let [running, most] = [0, 0];
    const started = (core: Core) =>
      createBatchingCore({
        site: core.self,
        route: () => ({
          backend: {
            name: 'vendor',
            async call() {
              most = Math.max(most, ++running);
              const isOver = running > 4;
              await world.clock.sleep(100);
              running -= 1;
              return isOver ? { kind: 'answered', status: 429, body: {} } : good;
            },
          },
          model: 'm-1',
        }),
        clock: world.clock,
        random: seeded(3),
        ids: core.ids,
        log: core.log,
        breakers: breakerBoard(core),
      });
    await run(started(world.newProcess('aws')), minute, 200);
    expect(most).toBeGreaterThanOrEqual(16);
    // Nothing was held off, so nothing is said to ramp.
    const [note] = await readBreakers(world.newProcess('aws'), world.aws.site);
    expect(note).toMatchObject({ state: 'closed', until: note!.since });
    most = 0;
    expect(await run(started(world.newProcess('aws')), 2_000, 20)).toBe(20);
    expect(most).toBeLessThanOrEqual(5);
  });

  test('a line that was refused and then served: for five minutes no process of the site fails a line on a refusal', async () => {
    const refused: BackendReply = { kind: 'answered', status: 400, body: { error: { message: 'no' } } };
    /** Answers to what is no canary, in turn; then the last one again. */
    let answers: BackendReply[];
    const process = (core: Core) => {
      const { self, clock, ids, log } = core;
      const call = async ({ body }: { body: unknown }): Promise<BackendReply> => {
        await clock.sleep(10);
        if (JSON.stringify(body).includes('Say yes.')) return good;
        return answers.length > 1 ? answers.shift()! : answers[0]!;
      };
      const route = () => ({ backend: { name: 'vendor', call }, model: 'm-1' });
      return createBatchingCore({
        site: self,
        route,
        clock,
        random: seeded(3),
        ids,
        log,
        breakers: breakerBoard(core),
      });
    };
    const outcomeOf = async (batching: BatchingCore) => {
      const body = { model: 'm', messages: [{ role: 'user', content: 'hello' }] };
      const line: LineRequest = { line: 0, customId: 'l0', body, bytes: 50 };
      const deadline = world.clock.now() + 60_000;
      const rows = batching.run({ endpoint: '/v1/chat/completions', model: 'm', lines: [line], deadline });
      await world.clock.advance(60_000);
      const [row] = await rows;
      return row!.outcome === 'answered' ? row!.status : row!.outcome;
    };
    answers = [refused];
    expect(await outcomeOf(process(world.newProcess('aws')))).toBe(400);
    answers = [refused, good];
    expect(await outcomeOf(process(world.newProcess('aws')))).toBe(200);
    answers = [refused];
    // Seldom, and of one site: what a vendor does to one cloud is no word on the other.
    expect(await outcomeOf(process(world.newProcess('azure')))).toBe(400);
    expect(await outcomeOf(process(world.newProcess('aws')))).toBe('retry');
    expect((await readBreakers(world.newProcess('azure'), world.aws.site))[0]).toMatchObject({ state: 'closed' });
    await world.clock.advance(5 * minute);
    expect(await outcomeOf(process(world.newProcess('aws')))).toBe(400);
  });

  test('a form of it that this process does not know costs the observation nothing else', async () => {
    const core = world.newProcess('aws');
    const text = {
      v: 1,
      kind: 'observation',
      observer: 'aws',
      home: 'aws',
      at: 1,
      trustsItself: true,
      verdicts: [],
      backlog: [],
    };
    const bytes = Buffer.from(JSON.stringify({ ...text, breakers: { v: 2 } }));
    await world.aws.site.state.putIfAbsent(observationKey('aws'), bytes);
    const [seen] = await readObservations(core, new Map(), ['aws']);
    expect(seen!.observation).toEqual(text);
  });

  test('what is torn, or cannot be read or written, holds nobody off', async () => {
    await world.aws.site.state.putIfAbsent(breakersKey('aws'), Buffer.from('{"v":1,'));
    expect(await readBreakers(world.newProcess('aws'), world.aws.site)).toEqual([]);
    reply = good;
    expect(await run(worker('first', world.newProcess('aws')), 5_000)).toBe(20);
  });
});
