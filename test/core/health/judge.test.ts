import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { judge, rank } from '../../../shared/health/judge.ts';
import { type Cause, type Health, profiles, type Reading, type Verdict } from '../../../shared/health/types.ts';
import { Eye, type Ills, roundOf, start, wordOf } from './support.ts';

const { balanced, fast, careful } = profiles;

describe('a pattern of failing looks gets the name of its cause', () => {
  const table: [string, Ills, Health, Cause[]][] = [
    ['nothing answers', { '*': 'timeout' }, 'down', ['site-dark']],
    ['everything is refused at the connection', { '*': 'refused', credentials: null }, 'down', ['site-dark']],
    [
      'the store takes and gives nothing',
      { 'store.read': 'server_error', 'store.write': 'server_error' },
      'down',
      ['store-down'],
    ],
    ['the store gives nothing, and takes', { 'store.read': 'server_error' }, 'down', ['store-down']],
    ['F47 reads work, writes do not', { 'store.write': 'readonly' }, 'down', ['store-read-only']],
    ['one queue does not answer', { 'queue work': 'timeout' }, 'down', ['queue-stuck']],
    ['the queue counts and takes no message', { 'queue send': 'timeout' }, 'down', ['queue-stuck']],
    [
      'F41 the queue answers, has work, and nothing comes out',
      { 'progress m': 'stalled' },
      'down',
      ['trigger-detached'],
    ],
    ['F41 without a backlog, canaries do not come through', { canary: 'overdue' }, 'down', ['trigger-detached']],
    [
      'the queue does not answer, and so nothing comes out',
      { queue: 'timeout', 'progress m': 'stalled', canary: 'overdue' },
      'down',
      ['queue-stuck'],
    ],
    [
      'F15 every store and queue answers 401',
      { 'store.read': 'credentials', 'store.write': 'credentials', queue: 'credentials', credentials: 'credentials' },
      'down',
      ['credentials-expired', 'store-down', 'queue-stuck'],
    ],
    ['one model is throttled', { 'model m': 'throttled' }, 'degraded', ['model-throttled']],
    [
      'one model hangs, another is throttled',
      { 'model m': 'timeout', 'model n': 'throttled' },
      'degraded',
      ['model-down', 'model-throttled'],
    ],
    ['only the front door is broken', { api: 'server_error' }, 'degraded', ['api-down']],
    [
      'the functions are gone: nobody polls, nobody answers',
      { api: 'reset', 'progress m': 'stalled' },
      'down',
      ['trigger-detached', 'api-down'],
    ],
    ['F45 no look gives an answer', { '*': null, credentials: null }, 'unknown', []],
    ['F45 the queue tells nothing, the rest is well', { queue: null }, 'unknown', []],
  ];
  test.each(table)('%s', (_, ills, health, causes) => {
    const eye = new Eye().well();
    expect(eye.of('aws').health).toBe('healthy');
    // Old enough that what was well before does not count any more.
    eye.now += 60 * 60_000;
    eye.look(6, () => ({ aws: ills }));
    expect(eye.of('aws')).toMatchObject({ health, causes });
    if (causes.length > 0)
      expect(eye.of('aws').evidence[0]).toMatch(/6 of the last 6 looks failed \(.+\), last at 2026-/);
    expect(eye.of('azure').health).not.toBe('down');
  });

  test('one stalled model beside one that moves is no detached trigger', () => {
    const eye = new Eye().well().look(10, () => ({ aws: { 'progress m': 'stalled', 'progress n': 'ok' } }));
    expect(eye.of('aws').health).toBe('healthy');
  });

  test('a canary that came through of late contradicts a stall; real jobs that move contradict a late canary', () => {
    const canaryOk = new Eye().well().look(8, () => ({ aws: { 'progress m': 'stalled', canary: 'ok' } }));
    expect(canaryOk.of('aws').health).toBe('healthy');
    const moving = new Eye().well().look(8, () => ({ aws: { 'progress m': 'ok', canary: 'overdue' } }));
    expect(moving.of('aws').health).toBe('healthy');
  });

  test('models are named', () => {
    const eye = new Eye()
      .well()
      .look(6, () => ({ aws: { 'model m': 'throttled', 'model a': 'timeout', 'model ok': 'ok' } }));
    expect(eye.of('aws').models).toEqual(['a', 'm']);
  });
});

describe('k of n, hysteresis, hold-down', () => {
  test.each([
    ['balanced', balanced],
    ['fast', fast],
    ['careful', careful],
  ] as const)(
    '%s: down at its k-th failure and not before, healthy after its row of good looks and the hold-down',
    (_, profile) => {
      const eye = new Eye('azure', profile).well(80);
      const dark = () => ({ aws: { '*': 'timeout' } });
      eye.look(profile.failed - 1, dark);
      expect(eye.of('aws').health).toBe('healthy');
      eye.look(1, dark);
      expect(eye.of('aws').health).toBe('down');
      const fell = eye.now;
      const { holdUntil } = eye.of('aws');
      expect(holdUntil).toBe(fell + profile.holdDownMs);
      let ticks = 0;
      while (eye.of('aws').health === 'down') {
        eye.well(1);
        ticks += 1;
      }
      expect(ticks).toBeGreaterThanOrEqual(profile.good);
      expect(eye.now).toBeGreaterThanOrEqual(holdUntil);
      expect(eye.now - Math.max(fell + profile.good * profile.tickMs, holdUntil)).toBeLessThanOrEqual(profile.tickMs);
    },
  );

  test('the hold-down doubles with each change of the last hour, up to an hour; flaps are counted and forgotten', () => {
    const eye = new Eye('azure', fast).well();
    const holds: number[] = [];
    for (let fall = 0; fall < 5; fall++) {
      eye.look(6, () => ({ aws: { '*': 'timeout' } }));
      const { since, holdUntil } = eye.of('aws');
      holds.push((holdUntil - since) / 1000);
      while (eye.of('aws').health !== 'healthy' && holds.length < 4) eye.well(1);
    }
    // The change up counts as well as the change down.
    expect(holds.slice(0, 3)).toEqual([60, 240, 960]);
    expect(Math.max(...holds)).toBeLessThanOrEqual(3600);
    eye.well(1).well((2 * 3_600_000) / fast.tickMs);
    expect(eye.of('aws')).toMatchObject({ health: 'healthy', flaps: 0 });
  });

  test('F46 a square wave of 10 s on and 10 s off for 3 minutes is at most one change to down, in every profile', () => {
    for (const profile of [balanced, fast, careful])
      for (let phase = 0; phase < 20_000; phase += 2500) {
        const eye = new Eye('azure', profile).well(80);
        const began = eye.now + phase;
        eye.look(180_000 / profile.tickMs, () => ({
          aws: Math.floor((eye.now - began) / 10_000) % 2 === 0 ? { '*': 'timeout' } : {},
        }));
        expect(eye.falls('aws')).toBeLessThanOrEqual(1);
        const changes = eye.history.filter(({ site }) => site === 'aws').map(({ health }) => health);
        expect(changes.filter((one, i) => i > 0 && one !== changes[i - 1]).length).toBeLessThanOrEqual(2);
      }
  });

  test('F46 the control: without hysteresis the same wave flaps', () => {
    const hasty = { ...fast, window: 1, failed: 1, good: 1, holdDownMs: 0 };
    const eye = new Eye('azure', hasty).well();
    const began = eye.now;
    eye.look(90, () => ({ aws: Math.floor((eye.now - began) / 10_000) % 2 === 0 ? { '*': 'timeout' } : {} }));
    expect(eye.falls('aws')).toBeGreaterThan(5);
  });

  test('F35 green for 25 minutes, then down again: the second hold-down is longer', () => {
    const eye = new Eye().well().look(6, () => ({ aws: { '*': 'timeout' } }));
    eye.well((25 * 60_000) / balanced.tickMs);
    expect(eye.of('aws').health).toBe('healthy');
    eye.look(6, () => ({ aws: { '*': 'timeout' } }));
    expect(eye.of('aws').holdUntil - eye.of('aws').since).toBe(4 * balanced.holdDownMs);
  });

  test('an intermittent queue (a tenth of calls lost) is no verdict at all', () => {
    const eye = new Eye().well().look(600, (tick) => ({ azure: {}, aws: tick % 10 === 0 ? { queue: 'timeout' } : {} }));
    expect(eye.falls('aws')).toBe(0);
  });

  test('down, then nothing answers any look: unknown, and not healthy before a whole row of good looks', () => {
    const eye = new Eye().well().look(6, () => ({ aws: { '*': 'timeout' } }));
    eye.now += 30 * 60_000;
    eye.look(1, () => ({ aws: { '*': null, credentials: null } }));
    expect(eye.of('aws').health).toBe('unknown');
    eye.well(balanced.good - 1);
    expect(eye.of('aws').health).toBe('unknown');
    eye.well(1);
    expect(eye.of('aws').health).toBe('healthy');
  });

  test('an observer that has just started says unknown until it has looked for a window', () => {
    const eye = new Eye().well(5);
    expect(eye.of('aws').health).toBe('unknown');
    expect(eye.well(1).of('aws').health).toBe('healthy');
  });
});

describe('second opinions', () => {
  test('F42 the link is cut one way: this side says link-cut and not down, the other says healthy', () => {
    const a = new Eye('aws').well().look(10, () => ({ azure: { '*': 'timeout' } }), [wordOf('azure')]);
    expect(a.of('azure')).toMatchObject({ health: 'degraded', causes: ['link-cut'] });
    expect(a.of('azure').evidence[0]).toBe('azure says of itself that it is healthy');
    const b = new Eye('azure').well().look(10, () => ({}), [wordOf('aws')]);
    expect(b.of('aws').health).toBe('healthy');
  });

  test.each<[string, ReturnType<typeof wordOf>]>([
    ['silent', wordOf('azure', {}, true)],
    ['down, too', wordOf('azure', { health: 'down', causes: ['site-dark'] })],
    [
      'not sure of itself',
      { ...wordOf('azure'), observation: { ...wordOf('azure').observation, trustsItself: false } },
    ],
  ])('the control: a site that is %s by its own word is dark', (_, word) => {
    const a = new Eye('aws').well().look(10, () => ({ azure: { '*': 'timeout' } }), [word]);
    expect(a.of('azure')).toMatchObject({ health: 'down', causes: ['site-dark'] });
  });

  test('a detached trigger is not the link, whatever the site says of itself', () => {
    const a = new Eye('aws').well().look(10, () => ({ azure: { canary: 'overdue' } }), [wordOf('azure')]);
    expect(a.of('azure')).toMatchObject({ health: 'down', causes: ['trigger-detached'] });
  });

  test('credentials refused on the way across, while the site is well by its own word: degraded, and named', () => {
    const ills = {
      'store.read': 'credentials',
      'store.write': 'credentials',
      queue: 'credentials',
      credentials: 'credentials',
    };
    const a = new Eye('azure').well().look(10, () => ({ aws: ills }), [wordOf('aws')]);
    expect(a.of('aws').health).toBe('degraded');
    expect(a.of('aws').causes).toContain('credentials-expired');
  });

  test('F43 an observer to whom everybody looks dead, and who reaches no neutral place, accuses nobody', () => {
    const sick = new Eye('aws').well().look(10, () => ({ aws: {}, azure: { '*': 'timeout' } }), [], 2);
    expect(sick.last.trustsItself).toBe(false);
    for (const site of ['aws', 'azure'])
      expect(sick.of(site)).toMatchObject({ health: 'unknown', causes: ['observer-sick'] });
  });

  test('F43 nor does one that reaches nothing of its own site', () => {
    const sick = new Eye('aws').well().look(10, () => ({ aws: { '*': 'timeout' }, azure: { '*': 'timeout' } }));
    expect(sick.last.trustsItself).toBe(false);
  });

  test('F43 the control: with neutral places in reach the same looks accuse', () => {
    const well = new Eye('aws').well().look(10, () => ({ azure: { '*': 'timeout' } }));
    expect(well.last.trustsItself).toBe(true);
    expect(well.of('azure').health).toBe('down');
  });

  test('F43 a store of the own site alone that is down is not the observer being sick', () => {
    const eye = new Eye('aws').well().look(10, () => ({ aws: { 'store.read': 'refused', 'store.write': 'refused' } }));
    expect(eye.of('aws')).toMatchObject({ health: 'down', causes: ['store-down'] });
  });

  test('F44 the model vendor behind both clouds is down: common cause in both, and nothing moves', () => {
    const bad = { 'model m': 'server_error' };
    const a = new Eye('aws')
      .well()
      .look(6, () => ({ aws: bad }), [wordOf('azure', { health: 'degraded', causes: ['model-down'], models: ['m'] })]);
    expect(a.of('aws')).toMatchObject({ health: 'degraded', causes: ['common-cause', 'model-down'], models: ['m'] });
    const other = new Eye('aws')
      .well()
      .look(6, () => ({ aws: bad }), [wordOf('azure', { health: 'degraded', causes: ['model-down'], models: ['n'] })]);
    expect(other.of('aws').causes).toEqual(['model-down']);
  });

  test('F44 the model vendor behind both clouds is down, and the other monitor is a tick behind: common cause', () => {
    const behind = (outcome: Reading['outcome']) => {
      const word = wordOf('azure');
      const look: Reading = { observer: 'azure', site: 'azure', signal: 'model', subject: 'm', at: 0, outcome };
      return { ...word, observation: { ...word.observation, readings: [look] } };
    };
    const judged = (outcome: Reading['outcome']) =>
      new Eye('aws')
        .well()
        .look(6, () => ({ aws: { 'model m': 'server_error' } }), [behind(outcome)])
        .of('aws').causes;
    expect(judged('failed')).toEqual(['common-cause', 'model-down']);
    expect(judged('ok')).toEqual(['model-down']);
  });

  test('F44 the same fault that begins in both clouds a few ticks apart is never taken for one cloud alone', () => {
    const detached = { canary: 'overdue' };
    const eye = new Eye(null).well().look(12, (tick) => ({ aws: detached, azure: tick >= 2 ? detached : {} }));
    const accused = eye.history.filter(({ health, causes }) => health === 'down' && !causes.includes('common-cause'));
    expect(accused).toEqual([]);
    expect(eye.of('aws').causes).toEqual(['common-cause', 'trigger-detached']);
  });

  test('different faults in both clouds are no common cause', () => {
    const eye = new Eye(null)
      .well()
      .look(10, () => ({ aws: { queue: 'timeout' }, azure: { 'store.write': 'readonly' } }));
    expect(eye.of('aws').causes).toEqual(['queue-stuck']);
    expect(eye.of('azure').causes).toEqual(['store-read-only']);
  });
});

describe('judge is total, deterministic and monotone', () => {
  const signal = fc.constantFrom(
    'store.read',
    'store.write',
    'queue',
    'credentials',
    'model',
    'api',
    'canary',
    'progress',
    'link',
    'reference',
  );
  const reading: fc.Arbitrary<Reading> = fc.record(
    {
      observer: fc.constant('aws'),
      site: fc.constantFrom('aws', 'azure'),
      signal,
      subject: fc.constantFrom('m', 'n'),
      at: fc.integer({ min: start - 600_000, max: start + 10_000 }),
      outcome: fc.constantFrom('ok', 'failed', 'unknown'),
      code: fc.constantFrom('timeout', 'throttled', 'credentials'),
    },
    { requiredKeys: ['observer', 'site', 'signal', 'at', 'outcome'] },
  ) as fc.Arbitrary<Reading>;
  const verdict: fc.Arbitrary<Verdict | undefined> = fc.option(
    fc.record({
      site: fc.constant('aws'),
      health: fc.constantFrom<Health>('healthy', 'degraded', 'down', 'unknown'),
      causes: fc.constant<Cause[]>([]),
      models: fc.constant<string[]>([]),
      since: fc.constant(start - 100_000),
      at: fc.constant(start - 10_000),
      evidence: fc.constant<string[]>([]),
      flaps: fc.nat(5),
      holdUntil: fc.integer({ min: start - 100_000, max: start + 100_000 }),
      changes: fc.array(fc.integer({ min: start - 4_000_000, max: start })),
    }),
    { nil: undefined },
  );
  const profile = fc.constantFrom(balanced, fast, careful);
  const window = fc.array(reading, { maxLength: 120 });

  /** Ticks of a site with some looks failing: what random single readings hardly ever amount to. */
  const ticks = fc
    .array(
      fc.subarray(['store.read', 'store.write', 'queue', 'api', 'model m', 'canary', 'progress m', 'credentials']),
      { minLength: 1, maxLength: 12 },
    )
    .map((bad) =>
      bad.flatMap((names, i) =>
        roundOf('aws', 'aws', start - i * 10_000, Object.fromEntries(names.map((name) => [name, 'timeout']))),
      ),
    );

  test('any readings in any order give the same verdict, and replays are equal', () => {
    fc.assert(
      fc.property(window, verdict, profile, fc.integer({ min: 0, max: 1000 }), (readings, previous, p, turn) => {
        const turned = [
          ...readings.slice(turn % (readings.length + 1)),
          ...readings.slice(0, turn % (readings.length + 1)),
        ];
        const once = judge('aws', readings, previous, p, start);
        expect(judge('aws', readings, previous, p, start)).toEqual(once);
        expect(judge('aws', turned.reverse(), previous, p, start)).toEqual(once);
        expect(once.site).toBe('aws');
        expect(once.evidence.length).toBeLessThanOrEqual(10);
        expect(once.flaps).toBeGreaterThanOrEqual(0);
        if (once.health === 'healthy') expect(once.causes).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });

  test('strange moments and empty windows give a verdict, too', () => {
    const odd = [Number.NaN, Number.POSITIVE_INFINITY, -1, 1e300].map(
      (at): Reading => ({ observer: 'x', site: 'aws', signal: 'queue', at, outcome: 'failed' }),
    );
    for (const now of [0, start, Number.MAX_SAFE_INTEGER, 1e300])
      expect(judge('aws', odd, undefined, balanced, now).site).toBe('aws');
    expect(judge('aws', [], undefined, balanced, start)).toMatchObject({ health: 'unknown', causes: [] });
  });

  test('a failure more never makes a verdict better', () => {
    fc.assert(
      fc.property(fc.oneof(window, ticks), verdict, profile, fc.nat(), (readings, previous, p, pick) => {
        fc.pre(readings.length > 0);
        const index = pick % readings.length;
        const worsened = readings.map((one, i): Reading => (i === index ? { ...one, outcome: 'failed' } : one));
        const before = judge('aws', readings, previous, p, start);
        const after = judge('aws', worsened, previous, p, start);
        expect(rank[after.health]).toBeGreaterThanOrEqual(rank[before.health]);
      }),
      { numRuns: 1500 },
    );
  });

  test('one failure alone changes nothing', () => {
    fc.assert(
      fc.property(signal, fc.constantFrom('timeout', 'throttled', 'credentials'), (name, code) => {
        const eye = new Eye().well().look(1, () => ({ aws: { [name]: code } }));
        expect(eye.of('aws').health).toBe('healthy');
      }),
    );
  });
});
