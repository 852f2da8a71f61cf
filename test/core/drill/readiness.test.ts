import { describe, expect, test } from '@jest/globals';
import type { ModelEntry } from '../../../shared/core.ts';
import { type ReadinessFacts, readinessOf } from '../../../shared/drill/readiness.ts';
import type { Observation, Reading, SeenObservation } from '../../../shared/health/types.ts';

const now = 1_000_000;
const look = (signal: Reading['signal'], outcome: Reading['outcome'], subject?: string, code?: string): Reading => ({
  observer: 'azure',
  site: 'azure',
  signal,
  at: now - 5_000,
  outcome,
  ...(subject !== undefined && { subject }),
  ...(code !== undefined && { code }),
});

function seen(home: string, more: Partial<Observation>, stale = false): SeenObservation {
  const observation = {
    v: 1,
    kind: 'observation',
    observer: home,
    home,
    at: now,
    trustsItself: true,
    verdicts: [],
    backlog: [],
    ...more,
  };
  return { observation: observation as Observation, stale, stores: ['aws', 'azure', 'witness'] };
}
const open = (site: string, openLines: number, answeredOfLate: number) => ({
  site,
  model: 'm',
  openLines,
  oldestMs: 0,
  answeredOfLate,
});
const depth = { visible: 3, inFlight: 0, delayed: 0, deadLettered: 0 };

function facts(limits: ModelEntry['backends'][number]['limits'], more: Partial<ReadinessFacts> = {}): ReadinessFacts {
  return {
    from: 'aws',
    to: 'azure',
    sites: { aws: { cloud: 'aws' }, azure: { cloud: 'azure' } } as never,
    observations: [seen('aws', { backlog: [open('aws', 600, 10)] }), seen('azure', { backlog: [open('azure', 0, 5)] })],
    entryOf: () => ({ backends: [{ cloud: 'azure', name: 'b', limits, isPermitted: true }] }) as unknown as ModelEntry,
    tickMs: 10_000,
    pointerLines: 50,
    depth,
    canary: { outcome: 'ok', at: now - 60_000 },
    now,
    ...more,
  };
}
const row = (name: RegExp, given: ReadinessFacts) => readinessOf(given).find((one) => name.test(one.name));

describe('capacity', () => {
  test.each([
    // 15 lines in 10 s are 90 a minute in both clouds.
    [{ requestsPerMinute: 89 }, 'failed', /90 lines a minute now, .* 89 a minute is all/],
    [{ requestsPerMinute: 90 }, 'ok', /leaves nothing for them/],
    [{ requestsPerMinute: 150 }, 'ok', /which clears them in 10 min$/],
    [{ requestsPerMinute: 10, inputsMax: 100 }, 'ok', /takes 1000 a minute/],
    [{}, 'unknown', /no requestsPerMinute is configured/],
  ] as const)('limits %j: %s', (limits, outcome, why) => {
    expect(row(/capacity for m at azure/, facts(limits))).toMatchObject({ outcome, why: expect.stringMatching(why) });
  });

  test('a backend that may not stand in for the other is none', () => {
    const entryOf = () => ({ backends: [{ cloud: 'azure', name: 'b', limits: {}, isPermitted: false }] }) as never;
    expect(row(/capacity for m/, facts({}, { entryOf }))).toMatchObject({ outcome: 'failed' });
  });

  test('a queue that is full, or tells nothing', () => {
    expect(row(/room/, facts({}))).toMatchObject({
      outcome: 'ok',
      why: 'it holds 3 messages, and about 12 pointers would come',
    });
    const full = { ...depth, visible: 5_000_000 };
    expect(row(/room/, facts({}, { depth: full }))?.outcome).toBe('failed');
    expect(row(/room/, facts({}, { depth: undefined }))?.outcome).toBe('unknown');
  });
});

describe('permission', () => {
  const readings = [
    look('credentials', 'ok'),
    look('store.write', 'failed', undefined, 'readonly'),
    look('queue', 'ok', 'intake'),
    look('model', 'failed', 'm', 'credentials'),
  ];
  const told = (given: ReadinessFacts) =>
    readinessOf(given)
      .filter(({ name }) => name.startsWith('functions'))
      .map(({ name, outcome }) => `${name.slice(19)}: ${outcome}`);

  test('what the survivor was seen to do itself; what nobody looked at is unknown, and no failure', () => {
    expect(told(facts({}, { observations: [seen('azure', { readings })] }))).toEqual([
      'hold credentials that are taken: ok',
      'write their store: failed',
      'reach the intake queue: ok',
      'reach the work queue: unknown',
      'call m: failed',
      'send, receive and settle a pointer, and publish what it asks for: ok',
    ]);
  });

  test('a silent observer, or the word of the other cloud, proves nothing', () => {
    for (const observations of [[seen('azure', { readings }, true)], [seen('aws', { readings })]])
      expect(told(facts({}, { observations, canary: undefined })).every((one) => one.endsWith('unknown'))).toBe(true);
  });
});
