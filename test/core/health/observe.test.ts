import { describe, expect, test } from '@jest/globals';
import type { BreakerNote } from '../../../shared/batching/breaker.ts';
import { type Decision, decide } from '../../../shared/control/decide.ts';
import { controlPolicy } from '../../../shared/control/policy.ts';
import { SiteUnavailableError } from '../../../shared/errors.ts';
import { breakerBoard } from '../../../shared/health/breakers.ts';
import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { readObservations, writeObservation } from '../../../shared/health/observation.ts';
import { probeSite } from '../../../shared/health/probe.ts';
import type { Observation } from '../../../shared/health/types.ts';
import { batchesPrefix, observationKey } from '../../../shared/journal/keys.ts';
import type { Clock } from '../../../shared/ports/clock.ts';
import { work } from '../../../shared/worker/index.ts';
import { answered, deliveryOf } from '../../support/world.ts';
import { Watched } from './watched.ts';

const minute = 60_000;

describe('two monitors', () => {
  test('an idle pair is healthy to both, canaries come through, and nothing of them piles up', async () => {
    const watched = await new Watched().begin();
    await watched.run(2 * 60 * minute);
    const { world } = watched;
    for (const observer of ['aws', 'azure'])
      for (const site of ['aws', 'azure'])
        expect(watched.verdict(observer, site)).toMatchObject({ health: 'healthy', causes: [], flaps: 0 });
    expect(world.asked.get('canary')).toBeGreaterThan(10);
    for (const site of [world.aws, world.azure]) {
      const left = (await site.journal.list(batchesPrefix(canaryTenant))).entries.map(({ key }) => key.split('/')[3]);
      expect(new Set(left).size).toBeLessThanOrEqual(2);
      expect((await site.journal.list(`t/${canaryTenant}/`)).entries.length).toBeLessThan(40);
      expect((await site.state.list('observations/')).entries.length).toBeLessThanOrEqual(5);
      expect((await site.state.list('open/')).entries.length).toBeLessThanOrEqual(1);
    }
  });

  test('F49 canaries are in no count of progress, and in no backlog', async () => {
    const watched = await new Watched().begin();
    watched.polling = [];
    await watched.run(2 * minute);
    for (const { observation } of watched.seen) expect(observation.backlog).toEqual([]);
  });

  test('what workers found of a backend is in the observation of their own site one tick later, while there is work', async () => {
    const watched = await new Watched().begin();
    const { world } = watched;
    watched.polling = ['azure'];
    await world.accept({ home: 'aws', lines: 30 });
    await watched.run(minute);
    const now = world.clock.now();
    const note: BreakerNote = {
      site: 'aws',
      backend: 'vendor',
      model: 'm-1',
      state: 'open',
      since: now,
      until: now + 8_000,
      cause: 'backend',
      reason: 'status 500',
      at: now,
    };
    await world.settled(breakerBoard(world.core('aws')).write(note));
    await watched.run(world.settings.tickMs);
    for (const store of [world.aws, world.azure, world.witness]) {
      const written = JSON.parse(Buffer.from((await store.state.get(observationKey('aws')))!.bytes).toString());
      expect(written.breakers).toEqual([note]);
    }
    const other = JSON.parse(Buffer.from((await world.aws.state.get(observationKey('azure')))!.bytes).toString());
    expect(other.breakers).toBeUndefined();
  });

  test('F41 nobody polls in one cloud while every call answers: named within two minutes, by both, from progress', async () => {
    const watched = await new Watched().begin();
    await watched.run(10 * minute);
    watched.world.control = { ...watched.world.control };
    watched.polling = ['azure'];
    await watched.world.accept({ home: 'aws', lines: 30 });
    const took = await watched.run(10 * minute, () =>
      ['aws', 'azure'].every((observer) => watched.verdict(observer, 'aws')?.health === 'down'),
    );
    expect(took).toBeLessThanOrEqual(2 * minute);
    for (const observer of ['aws', 'azure']) {
      expect(watched.verdict(observer, 'aws')?.causes).toEqual(['trigger-detached']);
      expect(watched.verdict(observer, 'azure')?.health).toBe('healthy');
    }
  });

  test('F41 without any backlog the canary notices, and a third place sees it too', async () => {
    const watched = await new Watched().begin();
    await watched.run(10 * minute);
    watched.polling = ['azure'];
    let third: string[] = [];
    await watched.run(30 * minute, () => watched.verdict('azure', 'aws')?.health === 'down');
    for (let i = 0; i < 12; i++) {
      third = (await watched.third()).find(({ site }) => site === 'aws')!.causes;
      await watched.run(10_000);
    }
    expect(watched.verdict('aws', 'aws')?.causes).toEqual(['trigger-detached']);
    expect(third).toEqual(['trigger-detached']);
  });

  test.each([
    ['work', 'hands that are slow', 'healthy'],
    ['hold still', 'hands that froze', 'down'],
  ] as const)(
    'Service Bus counts what is in work as waiting: workers that %s, %s, and the site is %s',
    async (does, _, health) => {
      const watched = await new Watched().begin();
      await watched.run(10 * minute);
      const { world } = watched;
      for (const queue of [world.azure.site.intake, world.azure.site.work]) {
        const { depth } = queue;
        queue.depth = async (options) => {
          const { visible, inFlight, ...rest } = await depth(options);
          return { ...rest, visible: visible + inFlight, inFlight: 0 };
        };
      }
      world.answer = async (line, site) => {
        await world.clock.sleep(3 * minute);
        return answered(line, site);
      };
      await world.accept({ home: 'azure', lines: 10 });
      await world.serve('azure', 'intake');
      // One place takes messages, and it is taken: neither the second chunk nor a canary has its turn.
      watched.polling = ['aws'];
      const [message] = await world.azure.work.receive({ max: 1 });
      const frozen: Clock = { now: () => world.clock.now(), sleep: () => new Promise(() => {}) };
      const core = { ...world.core('azure'), ...(does === 'hold still' && { clock: frozen }) };
      const working = work(core, [deliveryOf(world.azure.work, message!)], { queue: 'work' });
      working.catch(() => {});
      const healths = new Set<string | undefined>();
      await watched.run(2.5 * minute, () => {
        for (const observer of ['aws', 'azure']) healths.add(watched.verdict(observer, 'azure')?.health);
        return false;
      });
      expect([...healths].at(-1)).toBe(health);
      expect(healths.size).toBe(health === 'healthy' ? 1 : 2);
    },
  );

  test('one canary that is lost accuses nobody: its site stays healthy, and the next one comes through', async () => {
    const watched = await new Watched().begin();
    await watched.run(10 * minute);
    const { world } = watched;
    let lost = 0;
    world.aws.queueFaults.after = async (op) => {
      // The pointer of one canary was taken, and is gone.
      if (op !== 'send' || lost > 0) return;
      lost += 1;
      const messages = await world.aws.intake.receive({ max: 10 });
      for (const message of messages) await world.aws.intake.complete(message);
    };
    const healths = new Set<string | undefined>();
    await watched.run(30 * minute, () => {
      for (const observer of ['aws', 'azure']) healths.add(watched.verdict(observer, 'aws')?.health);
      return false;
    });
    expect(lost).toBe(1);
    expect([...healths]).toEqual(['healthy']);
  });

  test('a canary that is worked and cannot be published, two voters being away, accuses nobody', async () => {
    const watched = await new Watched().begin();
    await watched.run(10 * minute);
    const { world } = watched;
    for (const { faults } of [world.aws, world.witness]) faults.set('all', { refuse: true });
    watched.watching = ['azure'];
    watched.polling = ['azure'];
    const healths = new Set<string | undefined>();
    await watched.run(20 * minute, () => {
      healths.add(watched.verdict('azure', 'azure')?.health);
      return false;
    });
    expect(watched.verdict('azure', 'aws')?.health).toBe('down');
    expect([...healths]).toEqual(['healthy']);
  });

  test('a model that takes longer than a tick is not down, and holds no tick up', async () => {
    const watched = await new Watched({ health: 'fast', tickMs: 2_000 }).begin();
    await watched.run(2 * minute);
    const { world } = watched;
    // Nobody works it off, so that the model is asked in each tick, and it takes five seconds for a token.
    watched.polling = ['azure'];
    watched.modelMs = 5_000;
    await world.accept({ home: 'aws', lines: 10 });
    await world.serve('aws', 'intake');
    const models = new Set<string>();
    await watched.run(minute / 2, () => {
      for (const model of watched.verdict('aws', 'aws')?.models ?? []) models.add(model);
      return false;
    });
    expect(watched.modelCalls).toBeGreaterThan(0);
    expect([...models]).toEqual([]);
  });

  test('a canary that could not be stored as its site went dark does not hold it down once it is fenced and answers again', async () => {
    const watched = await new Watched().begin();
    const { world } = watched;
    await watched.run(10 * minute);
    world.aws.faults.before = (op, key) => {
      if (op === 'putIfAbsent' && key.includes('/batches/')) throw new SiteUnavailableError('gone', 'gone', 'aws');
    };
    await watched.run(12 * minute, () =>
      watched.seen.some(({ observation }) =>
        observation.readings?.some(({ subject, outcome }) => subject === 'journal' && outcome === 'failed'),
      ),
    );
    world.aws.faults.set('all', { refuse: true });
    watched.watching = ['azure'];
    await watched.run(5 * minute, () => watched.verdict('azure', 'aws')?.health === 'down');
    const aws = { ...world.control.sites.aws!, state: 'fenced' as const, weight: 0, fencedEpoch: 2 };
    world.control = { ...world.control, epoch: 2, sites: { ...world.control.sites, aws } };
    world.aws.faults.clear();
    const { profile } = controlPolicy(world.core('azure'));
    const took = await watched.run(55 * minute, () => watched.verdict('azure', 'aws')?.health === 'healthy');
    expect(took).toBeLessThanOrEqual(profile.holdDownMs + (profile.good + profile.window) * profile.tickMs);
  });

  test('when somebody polls again the late canary comes through, and the site is healthy after its hold-down', async () => {
    const watched = await new Watched({ health: 'fast', tickMs: 2000 }).begin();
    await watched.run(3 * minute);
    watched.polling = ['azure'];
    await watched.run(10 * minute, () => watched.verdict('aws', 'aws')?.health === 'down');
    watched.polling = ['aws', 'azure'];
    const took = await watched.run(10 * minute, () => watched.verdict('aws', 'aws')?.health === 'healthy');
    expect(took).toBeLessThanOrEqual(3 * minute);
  });

  test('F47 a store that reads and does not write is named by both', async () => {
    const watched = await new Watched().begin();
    await watched.run(5 * minute);
    for (const op of ['putIfAbsent', 'putStreamIfAbsent', 'putIfMatch', 'delete'] as const)
      watched.world.aws.faults.set(op, { refuse: true });
    await watched.run(80_000);
    for (const observer of ['aws', 'azure'])
      expect(watched.verdict(observer, 'aws')).toMatchObject({ health: 'down', causes: ['store-read-only'] });
  });

  test('a queue that swallows everything is stuck, not detached', async () => {
    const watched = await new Watched().begin();
    await watched.run(5 * minute);
    watched.world.aws.queueFaults.set('all', { delayMs: 600_000 });
    watched.patient = false;
    watched.polling = ['azure'];
    await watched.run(3 * minute, () => watched.verdict('azure', 'aws')?.health === 'down');
    expect(watched.verdict('azure', 'aws')?.causes).toEqual(['queue-stuck']);
  });

  test('a queue that counts and takes no message is stuck', async () => {
    const watched = await new Watched().begin();
    await watched.run(5 * minute);
    watched.world.aws.queueFaults.set('send', { refuse: true });
    await watched.run(30 * minute, () => watched.verdict('azure', 'aws')?.health === 'down');
    expect(watched.verdict('azure', 'aws')?.causes).toEqual(['queue-stuck']);
  });

  test('one model down in one cloud is degraded, by its name; the site stays', async () => {
    const watched = await new Watched().begin();
    await watched.run(5 * minute);
    watched.broken.models.set('aws m', 'throttled');
    watched.world.answer = async (line) => ({
      outcome: 'retry',
      line: line.line,
      customId: line.customId,
      cause: 'backend',
      reason: '429',
      counts: false,
    });
    await watched.world.accept({ home: 'aws', lines: 10 });
    await watched.run(5 * minute, () => watched.verdict('aws', 'aws')?.health === 'degraded');
    expect(watched.verdict('aws', 'aws')).toMatchObject({ causes: ['model-throttled'], models: ['m'] });
  });

  test.each([
    ['of late: our own calls have every place', 30_000, 'healthy'],
    ['long ago', 5 * minute, 'degraded'],
    ['tomorrow: their clock is wrong', -24 * 60 * minute, 'degraded'],
  ])(
    'a look at a model is refused, and workers say that it served them %s: %j ago it is %s',
    async (_, agoMs, health) => {
      const watched = await new Watched().begin();
      const { world } = watched;
      await watched.run(5 * minute);
      watched.broken.models.set('aws m', 'throttled');
      world.answer = async ({ line, customId }) => {
        return { outcome: 'retry', line, customId, cause: 'backend', reason: '429', counts: false };
      };
      await world.accept({ home: 'aws', lines: 10 });
      const board = breakerBoard(world.core('aws'));
      let worst = 'healthy';
      for (let minutes = 0; minutes < 5; minutes++) {
        const now = world.clock.now();
        const note = {
          site: 'aws',
          backend: 'b',
          model: 'm-1',
          state: 'closed',
          cause: 'backend',
          reason: '',
        } as const;
        const serves = { aliases: ['m'], at: now - agoMs };
        await world.settled(board.write({ ...note, since: now, until: now, serves, at: now }));
        await watched.run(minute / 2, () => {
          if (watched.verdict('aws', 'aws')?.health === 'degraded') worst = 'degraded';
          return false;
        });
      }
      expect(worst).toBe(health);
    },
  );

  test.each([
    ['answers there', [], 'change'],
    ['is away there, too', ['azure m'], 'none'],
  ] as const)(
    'F44 a model that is ill in one cloud and %s: the idle cloud is asked, and %j decides',
    async (_, alsoAway, kind) => {
      const watched = await new Watched().begin();
      const { world } = watched;
      await watched.run(5 * minute);
      for (const away of ['aws m', ...alsoAway]) watched.broken.models.set(away, 'refused');
      world.answer = async ({ line, customId }) => {
        return { outcome: 'retry', line, customId, cause: 'backend', reason: 'refused', counts: false };
      };
      // All the work is at aws: nobody at azure has any reason of its own to ask the model.
      await world.accept({ home: 'aws', lines: 10 });
      const decisions: Decision[] = [];
      await watched.run(10 * minute, () => {
        decisions.push(decide(watched.seen, world.control, controlPolicy(world.core('aws')), world.clock.now()));
        return decisions.at(-1)!.kind === 'change';
      });
      expect(watched.verdict('aws', 'aws')).toMatchObject({ health: 'degraded', models: ['m'] });
      expect(decisions.at(-1)).toMatchObject({
        kind,
        ...(kind === 'change' && { command: { from: 'aws', to: 'azure', scope: { kind: 'model', name: 'm' } } }),
      });
    },
  );

  test.each([
    ['refuses', 'with work', 0, 10],
    ['refuses', 'without any', 0, 0],
    ['swallows calls', 'with work', 600_000, 10],
    ['swallows calls', 'without any', 600_000, 0],
  ])(
    'F44 a vendor that %s behind both clouds, %s, is never taken for a detached trigger',
    async (_, __, modelMs, lines) => {
      const watched = await new Watched().begin();
      const { world } = watched;
      await watched.run(10 * minute);
      for (const away of ['aws m', 'azure m']) watched.broken.models.set(away, 'server_error');
      watched.modelMs = modelMs;
      // Workers hold off a backend that does not answer: what they take goes back at once, and lies in the queue.
      world.answer = async ({ line, customId }) => {
        return { outcome: 'retry', line, customId, cause: 'backend', reason: 'server_error', counts: false };
      };
      if (lines > 0) await world.accept({ home: 'aws', lines });
      const found = new Set<string>();
      await watched.run(30 * minute, () => {
        for (const { observation } of watched.seen)
          for (const { causes } of observation.verdicts) for (const cause of causes) found.add(cause);
        return false;
      });
      expect([...found].sort()).toEqual(
        lines > 0 ? ['common-cause', 'model-down'] : expect.not.arrayContaining(['trigger-detached']),
      );
    },
  );

  test('a dark cloud is judged dark in time, its monitor gone with it, and the own site stays healthy', async () => {
    const watched = await new Watched().begin();
    await watched.run(10 * minute);
    for (const faults of [watched.world.aws.faults, watched.world.aws.queueFaults])
      faults.set('all' as never, { delayMs: 600_000 });
    watched.broken.doors.add('aws');
    watched.watching = ['azure'];
    watched.polling = ['azure'];
    const took = await watched.run(5 * minute, () => watched.verdict('azure', 'aws')?.health === 'down');
    expect(took).toBeLessThanOrEqual(100_000);
    expect(watched.verdict('azure', 'aws')?.causes).toEqual(['site-dark']);
    expect(watched.verdict('azure', 'azure')?.health).toBe('healthy');
    expect(watched.seen.find(({ observation }) => observation.observer === 'aws')?.stale).toBe(true);
  });

  test('a process that starts takes up the verdict of the one before', async () => {
    const watched = await new Watched().begin();
    await watched.run(5 * minute);
    watched.world.aws.queueFaults.set('all', { refuse: true });
    await watched.run(2 * minute);
    const before = watched.verdict('azure', 'aws')!;
    expect(before.health).toBe('down');
    watched.world.aws.queueFaults.clear();
    const fresh = new Watched();
    const { observe, observeMemory } = await import('../../../shared/health/observe.ts');
    const core = watched.world.newProcess('azure');
    const { verdicts } = await watched.world.settled(observe(core, fresh.deps('azure', 'azure'), observeMemory()));
    expect(verdicts.find(({ site }) => site === 'aws')).toMatchObject({
      health: 'down',
      since: before.since,
      holdUntil: before.holdUntil,
    });
  });
});

describe('a look', () => {
  /** A clock of a process that is starved: whatever it sleeps takes three times as long. */
  const starved = (clock: Clock): Clock => ({
    now: () => clock.now(),
    sleep: (ms, signal) => clock.sleep(3 * ms, signal),
  });
  const readingsUnder = async (clock: (clock: Clock) => Clock) => {
    const watched = await new Watched().begin();
    const { world } = watched;
    world.azure.faults.set('all', { delayMs: 600_000 });
    const core = { ...world.core('aws'), clock: clock(world.clock) };
    const look = await world.settled(probeSite(core, world.azure.site, watched.deps('aws', 'aws')));
    return look.readings.filter(({ signal }) => signal.startsWith('store'));
  };

  test('that ran out of time accuses the site', async () => {
    const outcomes = (await readingsUnder((clock) => clock)).map(({ outcome, code }) => [outcome, code]);
    expect(outcomes).toEqual([
      ['failed', 'timeout'],
      ['failed', 'timeout'],
    ]);
  });

  test('that this very process was too late to keep says nothing', async () => {
    const outcomes = (await readingsUnder(starved)).map(({ outcome, code }) => [outcome, code]);
    expect(outcomes).toEqual([
      ['unknown', 'observer_late'],
      ['unknown', 'observer_late'],
    ]);
  });
});

describe('observations', () => {
  const observation = (observer: string, at: number): Observation => ({
    v: 1,
    kind: 'observation',
    observer,
    home: null,
    at,
    trustsItself: true,
    verdicts: [],
    backlog: [],
  });

  test('the newest of any store that answers is read, with where it stands', async () => {
    const { world } = new Watched();
    const core = world.core('aws');
    const now = world.clock.now();
    await writeObservation(core, observation('third', now - 2000), new Map());
    world.azure.faults.set('all', { refuse: true });
    const etags = new Map<string, string>();
    const written = await writeObservation(core, observation('third', now - 1000), etags);
    expect(written.map(({ store, error }) => [store, error === undefined])).toEqual([
      ['aws', true],
      ['azure', false],
      ['witness', true],
    ]);
    world.azure.faults.clear();
    const [seen] = await readObservations(core);
    expect(seen).toMatchObject({ observation: { at: now - 1000 }, stale: false, stores: ['aws', 'witness'] });
  });

  test('what does not parse, is of a later version, or says another name, is not taken', async () => {
    const { world } = new Watched();
    const core = world.core('aws');
    const put = (name: string, text: string) => world.aws.state.putIfAbsent(observationKey(name), Buffer.from(text));
    await put('torn', '{"v":1,"kind":"obser');
    await put('later', JSON.stringify({ ...observation('later', 1), v: 2 }));
    await put('other', JSON.stringify(observation('someone', 1)));
    await put('wild', JSON.stringify({ ...observation('wild', 1), verdicts: [{ site: '../x' }] }));
    expect(await readObservations(core)).toEqual([]);
  });

  test('silence is measured by the own clock: an observer whose clock is two minutes behind is not silent', async () => {
    const { world } = new Watched();
    const core = world.core('aws');
    const seen = new Map();
    const etags = new Map<string, string>();
    for (let tick = 0; tick < 10; tick++) {
      await writeObservation(core, observation('third', world.clock.now() - 120_000), etags);
      const [one] = await readObservations(core, seen);
      if (tick > 0) expect(one!.stale).toBe(false);
      await world.clock.advance(10_000);
    }
    await world.clock.advance(60_000);
    expect((await readObservations(core, seen))[0]!.stale).toBe(true);
  });
});
