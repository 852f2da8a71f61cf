import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Breaker, type BreakerNote } from '../../../shared/batching/breaker.ts';
import { withNote } from '../../../shared/health/breakers.ts';

const breaker = () => new Breaker(() => 0.5);
const failTimes = (one: Breaker, times: number, now = 0) => {
  for (let i = 0; i < times; i++) one.failed('backend', 'status 500', now);
};

describe('a breaker', () => {
  test('stays closed while failures are not in a row', () => {
    const one = breaker();
    for (let i = 0; i < 20; i++) {
      failTimes(one, 4);
      one.good(0);
    }
    expect(one.at(0).kind).toBe('closed');
  });

  test('opens at the fifth failure in a row, and is half open after its pause', () => {
    const one = breaker();
    failTimes(one, 5);
    expect(one.at(0)).toMatchObject({ kind: 'open', since: 0, until: 1000, cause: 'backend', reason: 'status 500' });
    expect(one.at(999).kind).toBe('open');
    expect(one.at(1000).kind).toBe('halfOpen');
  });

  test('half open, it lets one call go, and the next only when that one told nothing', () => {
    const one = breaker();
    failTimes(one, 5);
    expect(one.takeProbe(500)).toBe(false);
    expect(one.takeProbe(1000)).toBe(true);
    expect(one.takeProbe(1000)).toBe(false);
    one.neither();
    expect(one.takeProbe(1000)).toBe(true);
    one.good(1100);
    expect(one.at(1100).kind).toBe('closed');
  });

  test('each probe that fails doubles the pause, up to a minute; it is open since the first failure', () => {
    const one = breaker();
    failTimes(one, 5);
    let now = 0;
    const pauses = Array.from({ length: 9 }, () => {
      const state = one.at(now);
      if (state.kind !== 'open') throw new Error(state.kind);
      expect(state.since).toBe(0);
      const pause = state.until - now;
      now = state.until;
      expect(one.takeProbe(now)).toBe(true);
      one.failed('backend', 'status 500', now);
      return pause;
    });
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  test('calls that were under way when it opened do not open it for longer', () => {
    const one = breaker();
    failTimes(one, 30);
    expect(one.at(0)).toMatchObject({ until: 1000 });
  });

  test('after it was well for long, the next outage begins with a short pause again', () => {
    const one = breaker();
    for (const now of [0, 1_000, 3_000, 7_000]) {
      failTimes(one, 5, now);
      expect(one.takeProbe(now + 60_000)).toBe(true);
      one.failed('backend', 'x', now);
    }
    one.good(200_000);
    for (let now = 200_000; now < 400_000; now += 1000) one.good(now);
    failTimes(one, 5, 400_000);
    expect(one.at(400_000)).toMatchObject({ until: 401_000 });
  });

  test('on the word of another process it is never held open for longer than about a minute', () => {
    const one = breaker();
    one.open('site', 'told', 0, 1e12);
    expect(one.at(72_000).kind).toBe('halfOpen');
  });

  test('whatever happens, it is half open within 72 s of the last failure', () => {
    const step = fc.record({
      what: fc.constantFrom('good', 'failed', 'neither', 'probe', 'doubt'),
      ms: fc.nat(30_000),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const one = new Breaker(() => 0.999);
        let now = 0;
        for (const { what, ms } of steps) {
          now += ms;
          if (what === 'good') one.good(now);
          else if (what === 'failed') one.failed('site', 'x', now);
          else if (what === 'neither') one.neither();
          else if (what === 'doubt') one.doubt(now);
          else one.takeProbe(now);
        }
        expect(one.at(now + 72_000).kind).not.toBe('open');
      }),
    );
  });
});

describe('what processes tell each other', () => {
  const note = (more: Partial<BreakerNote>): BreakerNote => ({
    site: 'aws',
    backend: 'b',
    model: 'm',
    state: 'open',
    since: 100,
    until: 1100,
    cause: 'backend',
    reason: 'status 500',
    at: 100,
    ...more,
  });

  test.each<[string, Partial<BreakerNote>, boolean]>([
    ['a later word that it opened for longer', { at: 200, since: 200, until: 2200 }, true],
    ['a later word that it is open, for no longer', { at: 200, since: 200, until: 1000 }, false],
    ['an older word', { at: 50, state: 'closed' }, false],
    ['a later word that it closed', { at: 200, state: 'closed', since: 200, until: 200 }, true],
  ])('%s is written: %#', (_, more, isWritten) => {
    const after = withNote([note({})], note(more));
    expect(after !== undefined).toBe(isWritten);
    if (after !== undefined) expect(after).toHaveLength(1);
  });

  test('it has been open since the first process saw it so', () => {
    expect(withNote([note({})], note({ at: 200, since: 200, until: 2200 }))).toMatchObject([
      { since: 100, until: 2200 },
    ]);
  });

  test('other backends and models are left as they are, the newest fifty', () => {
    const many = Array.from({ length: 60 }, (_, i) => note({ model: `m${i}` }));
    const after = withNote(many, note({ model: 'new' }))!;
    expect(after).toHaveLength(50);
    expect(after[0]).toMatchObject({ model: 'new' });
  });
});
