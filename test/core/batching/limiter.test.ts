import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import { type Ended, type Grant, Limiter, type LimiterOptions } from '../../../shared/batching/limiter.ts';
import type { RateLimits } from '../../../shared/inference/rate-limits.ts';

const far = 1e15;

describe('a limiter', () => {
  let clock: ManualClock;
  beforeEach(() => {
    clock = new ManualClock(1_000_000);
  });
  const limiterOf = (options: LimiterOptions = {}) => new Limiter(clock, options);

  /** Asks for `count` starts; gives those granted so far. */
  async function ask(limiter: Limiter, count: number, { tokens = 1, deadline = far } = {}): Promise<Grant[]> {
    const grants: Grant[] = [];
    for (let i = 0; i < count; i++)
      void limiter.acquire(tokens, deadline).then((grant) => grant !== undefined && grants.push(grant));
    await clock.advance(0);
    return grants;
  }

  /** Whole rounds: as many calls as may run, all ending alike. */
  async function rounds(limiter: Limiter, count: number, ended: Ended): Promise<void> {
    for (let i = 0; i < count; i++) {
      const grants = await ask(limiter, limiter.limit);
      await clock.advance(1_000);
      for (const grant of grants) limiter.done(grant, ended);
    }
  }

  test('starts no more than its limit at once, and one more for each that ends', async () => {
    const limiter = limiterOf({ start: 3 });
    const grants = await ask(limiter, 5);
    expect(grants).toHaveLength(3);
    limiter.done(grants[0]!, { how: 'neutral' });
    await clock.advance(0);
    expect(grants).toHaveLength(4);
  });

  test('says how many more may start, and when the next place should be free: of the calls that somebody timed', async () => {
    const limiter = limiterOf({ start: 3 });
    expect(limiter.nextEndAt).toBe(Number.POSITIVE_INFINITY);
    const now = clock.now();
    const [slow, quick] = await Promise.all([
      limiter.acquire(1, far, { expectedMs: 500 }),
      limiter.acquire(1, far, { expectedMs: 200 }),
    ]);
    await limiter.acquire(1, far);
    expect([limiter.room, limiter.nextEndAt - now]).toEqual([0, 200]);
    limiter.done(quick!, { how: 'neutral' });
    expect([limiter.room, limiter.nextEndAt - now]).toEqual([1, 500]);
    limiter.done(slow!, { how: 'neutral' });
    expect(limiter.nextEndAt).toBe(Number.POSITIVE_INFINITY);
  });

  test('doubles each round up to the first refusal, then holds just below what was refused', async () => {
    const limiter = limiterOf({ start: 2 });
    await rounds(limiter, 3, { how: 'good' });
    expect(limiter.limit).toBe(16);
    const grants = await ask(limiter, 16);
    await clock.advance(1_000);
    limiter.done(grants[12]!, { how: 'refused' });
    expect(limiter.ceiling).toBe(12);
    expect(limiter.limit).toBe(10);
    for (const [i, grant] of grants.entries()) if (i !== 12) limiter.done(grant, { how: 'good' });
    await rounds(limiter, 15, { how: 'good' });
    expect(limiter.limit).toBe(12);
  });

  test('many refusals of one overload cut it once; refusals that go on halve it each round', async () => {
    const limiter = limiterOf({ start: 64 });
    await rounds(limiter, 1, { how: 'refused' });
    const once = limiter.limit;
    expect(once).toBeGreaterThan(0);
    await rounds(limiter, 1, { how: 'refused' });
    expect(limiter.limit).toBeLessThanOrEqual(Math.ceil(once / 2));
    await rounds(limiter, 20, { how: 'refused' });
    expect(limiter.limit).toBe(1);
  });

  test('whoever does not use what he has is not given more', async () => {
    const limiter = limiterOf({ start: 16 });
    for (let i = 0; i < 100; i++) {
      const [grant] = await ask(limiter, 1);
      limiter.done(grant!, { how: 'good' });
    }
    expect(limiter.limit).toBe(16);
  });

  test('after a shortage that is over it finds its way back', async () => {
    const limiter = limiterOf({ start: 64, max: 64 });
    await rounds(limiter, 6, { how: 'refused' });
    expect(limiter.limit).toBeLessThan(4);
    await rounds(limiter, 150, { how: 'good' });
    expect(limiter.limit).toBeGreaterThan(32);
  });

  test('after a recovery it begins with one call, and doubles', async () => {
    const limiter = limiterOf({ start: 32 });
    limiter.ramp();
    expect(limiter.limit).toBe(1);
    await rounds(limiter, 3, { how: 'good' });
    expect(limiter.limit).toBe(8);
  });

  test('on a warm start it begins near the ceiling that another process met, unless it knows better', async () => {
    const cold = limiterOf();
    cold.startFrom(100);
    expect(cold.limit).toBe(90);
    await rounds(cold, 1, { how: 'refused' });
    const { limit } = cold;
    cold.startFrom(200);
    expect(cold.limit).toBe(limit);
  });

  test('a slow server with few places is used, also where it names a time to come back, as if it had a quota', async () => {
    const [places, callMs, spanMs] = [8, 15_000, 600_000];
    const limiter = limiterOf();
    let [running, served, refused] = [0, 0, 0];
    const work = async () => {
      for (;;) {
        const grant = await limiter.acquire(1, 1_000_000 + spanMs);
        if (grant === undefined) return;
        const hasPlace = running < places;
        running += Number(hasPlace);
        await clock.sleep(hasPlace ? callMs : 5);
        running -= Number(hasPlace);
        if (hasPlace) served += 1;
        else refused += 1;
        limiter.done(grant, hasPlace ? { how: 'good' } : { how: 'refused', retryAfterMs: 2_000 });
      }
    };
    for (let i = 0; i < 50; i++) void work();
    for (let passed = 0; passed < spanMs; passed += 100) await clock.advance(100);
    expect(served).toBeGreaterThan((0.85 * places * spanMs) / callMs);
    expect(refused).toBeLessThan(0.1 * served);
  });

  test('starts nothing before a Retry-After has passed, and obeys none for longer than ten minutes', async () => {
    const limiter = limiterOf();
    const [first] = await ask(limiter, 1);
    limiter.done(first!, { how: 'refused', retryAfterMs: 365 * 24 * 3_600_000 });
    const later = await ask(limiter, 1);
    await clock.advance(599_000);
    expect(later).toHaveLength(0);
    await clock.advance(2_000);
    expect(later).toHaveLength(1);
  });

  test('a wait ends at its deadline, also behind one that may wait for longer', async () => {
    const limiter = limiterOf({ start: 1 });
    await ask(limiter, 1);
    const ends: string[] = [];
    void limiter.acquire(1, clock.now() + 60_000).then((grant) => ends.push(`long ${grant !== undefined}`));
    void limiter.acquire(1, clock.now() + 1_000).then((grant) => ends.push(`short ${grant !== undefined}`));
    await clock.advance(1_000);
    expect(ends).toEqual(['short false']);
  });

  test('the earliest deadline goes first', async () => {
    const limiter = limiterOf({ start: 1 });
    const [running] = await ask(limiter, 1);
    const order: number[] = [];
    for (const ms of [3_000, 1_000, 2_000])
      void limiter.acquire(1, clock.now() + ms).then((grant) => {
        order.push(ms);
        limiter.done(grant!, { how: 'neutral' });
      });
    limiter.done(running!, { how: 'neutral' });
    await clock.advance(0);
    expect(order).toEqual([1_000, 2_000, 3_000]);
  });

  test.each<[string, LimiterOptions, number, number]>([
    ['requests', { requestsPerMinute: 120 }, 1, 2],
    ['tokens', { tokensPerMinute: 6_000 }, 50, 2],
    ['whichever is scarcer', { requestsPerMinute: 600, tokensPerMinute: 6_000 }, 100, 1],
  ])('a budget per minute of %s is kept in every second', async (_, options, tokens, perSecond) => {
    const limiter = limiterOf({ start: 256, ...options });
    const grants = await ask(limiter, 200, { tokens });
    for (let second = 1; second <= 20; second++) {
      await clock.advance(1_000);
      expect(grants.length).toBeLessThanOrEqual(perSecond * (second + 1) + 1);
      expect(grants.length).toBeGreaterThanOrEqual(perSecond * second - 1);
    }
  });

  test('tokens that were not used are given back to the budget, and those used beyond are taken', async () => {
    const start = async (used: number) => {
      const limiter = limiterOf({ tokensPerMinute: 60_000 });
      const [first] = await ask(limiter, 1, { tokens: 1_000 });
      limiter.done(first!, { how: 'good', tokens: used });
      const next = await ask(limiter, 1, { tokens: 900 });
      await clock.advance(500);
      return next.length;
    };
    expect(await start(10)).toBe(1);
    expect(await start(3_000)).toBe(0);
  });

  const quota = (requests: RateLimits['requests']): Ended => ({ how: 'good', rateLimits: { requests: requests! } });

  test('sends no more than the server says is left, and goes on as its quota refills', async () => {
    const limiter = limiterOf({ start: 64 });
    const [first] = await ask(limiter, 1);
    limiter.done(first!, quota({ limit: 60, remaining: 3, resetMs: 57_000 }));
    const grants = await ask(limiter, 20);
    expect(grants).toHaveLength(3);
    await clock.advance(5_000);
    expect(grants).toHaveLength(8);
  });

  test('where nothing refills before the end of a window, one refusal is enough to wait for it', async () => {
    const limiter = limiterOf({ start: 64 });
    const [first] = await ask(limiter, 1);
    limiter.done(first!, quota({ limit: 100, remaining: 50, resetMs: 50_000 }));
    await clock.advance(10_000);
    const [refused] = await ask(limiter, 1);
    await clock.advance(10);
    limiter.done(refused!, { how: 'refused', rateLimits: { requests: { limit: 100, remaining: 0, resetMs: 40_000 } } });
    const later = await ask(limiter, 1);
    await clock.advance(39_000);
    expect(later).toHaveLength(0);
    await clock.advance(2_000);
    expect(later).toHaveLength(1);
  });

  test('a quota of nothing for a year holds nobody for longer than ten minutes', async () => {
    const limiter = limiterOf();
    const [first] = await ask(limiter, 1);
    limiter.done(first!, quota({ remaining: 0, resetMs: 1e12 }));
    const later = await ask(limiter, 1);
    await clock.advance(601_000);
    expect(later).toHaveLength(1);
  });

  test('whatever the server says, every wait ends by its deadline and never more run than the most allowed', async () => {
    const reading = fc.record({ remaining: fc.nat(5), limit: fc.nat(5), resetMs: fc.nat(1e6) });
    const step = fc.record({
      how: fc.constantFrom<Ended['how']>('good', 'neutral', 'refused'),
      retryAfterMs: fc.oneof(fc.constant(0), fc.nat(1e9)),
      rateLimits: fc.record({ requests: reading, tokens: reading }),
      tokens: fc.nat(1e6),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        clock = new ManualClock(0);
        const limiter = limiterOf({ max: 8, tokensPerMinute: 1_000 });
        let [waiting, running, most] = [0, 0, 0];
        for (const ended of steps) {
          waiting += 1;
          void limiter.acquire(100, clock.now() + 30_000).then(async (grant) => {
            waiting -= 1;
            if (grant === undefined) return;
            most = Math.max(most, ++running);
            await clock.sleep(50);
            running -= 1;
            limiter.done(grant, ended);
          });
        }
        await clock.advance(30_000);
        expect(waiting).toBe(0);
        expect(most).toBeLessThanOrEqual(8);
      }),
      { numRuns: 100 },
    );
  });

  test('of lines that each need four calls in a row some come to their end, where there is room for few of the calls', async () => {
    const limiter = limiterOf({ start: 1, max: 1 });
    let ended = 0;
    const needsFour = async () => {
      for (let asked = 0; asked < 4; asked++) {
        const grant = await limiter.acquire(1, 1_240_000, { asked });
        if (grant === undefined) return;
        await clock.sleep(15_000);
        limiter.done(grant, { how: 'neutral' });
      }
      ended += 1;
    };
    for (let line = 0; line < 8; line++) void needsFour();
    await clock.advance(240_000);
    // 16 calls in 240 s: four lines, and not two calls for each of eight.
    expect(ended).toBe(4);
  });
});
