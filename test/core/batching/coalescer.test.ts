import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { ManualClock } from '../../../local/in-memory/clock.ts';
import { Coalescer, type CoalescerOptions } from '../../../shared/batching/coalescer.ts';
import { CostModel } from '../../../shared/batching/cost-model.ts';
import { seeded } from '../../support/world.ts';

interface Item {
  n: number;
  items: number;
  weight: number;
  deadline: number;
}
const never = Number.POSITIVE_INFINITY;

describe('a coalescer', () => {
  let clock: ManualClock;
  let sent: { at: number; items: number[]; why: string }[];
  beforeEach(() => {
    clock = new ManualClock(0);
    sent = [];
  });
  const coalescer = (options: Partial<CoalescerOptions<Item>> = {}) =>
    new Coalescer<Item>({
      clock,
      itemsMax: 4,
      weightMax: 1_000,
      lingerMs: 1_000,
      cost: new CostModel({ baseMs: 100, perItemMs: 0 }),
      send(items, why) {
        sent.push({ at: clock.now(), items: items.map(({ n }) => n), why });
        return undefined;
      },
      ...options,
    });
  const item = (n: number, deadline = never, weight = 1): Item => ({ n, items: 1, weight, deadline });

  test('with slack, waits for more as long as it lingers', async () => {
    const one = coalescer();
    one.add(item(1));
    await clock.advance(600);
    one.add(item(2));
    await clock.advance(399);
    expect(sent).toEqual([]);
    await clock.advance(1);
    expect(sent).toEqual([{ at: 1_000, items: [1, 2], why: 'due' }]);
  });

  test('without slack, goes at once; a later item in a hurry takes along those that were not', async () => {
    const one = coalescer();
    one.add(item(1));
    await clock.advance(100);
    one.add(item(2, 150));
    await clock.advance(0);
    expect(sent).toEqual([{ at: 100, items: [1, 2], why: 'due' }]);
  });

  test('goes in time for the earliest deadline, by what calls have cost', async () => {
    const cost = new CostModel();
    for (let i = 0; i < 100; i++) cost.learn(1, 300);
    const one = coalescer({ cost, lingerMs: 10_000 });
    one.add(item(1, 5_000));
    await clock.advance(10_000);
    expect(sent[0]!.at).toBeGreaterThan(4_000);
    expect(sent[0]!.at).toBeLessThanOrEqual(4_700);
  });

  test('a full call goes at once, with all that came in the same turn; what it gives back waits on', async () => {
    const one = coalescer({
      send(items, why) {
        sent.push({ at: clock.now(), items: items.slice(0, 4).map(({ n }) => n), why });
        return why === 'full' ? items.slice(4) : undefined;
      },
    });
    for (let n = 0; n < 6; n++) one.add(item(n));
    await clock.advance(2_000);
    expect(sent).toEqual([
      { at: 0, items: [0, 1, 2, 3], why: 'full' },
      { at: 1_000, items: [4, 5], why: 'due' },
    ]);
  });

  test('weight fills a call as well as items do', async () => {
    const one = coalescer();
    one.add(item(1, never, 600));
    one.add(item(2, never, 600));
    await clock.advance(0);
    expect(sent).toMatchObject([{ items: [1, 2], why: 'full' }]);
  });

  test('while no call may start it gathers on, and goes when one has ended', async () => {
    let mayStart = false;
    const one = coalescer({ mayStart: () => mayStart });
    one.add(item(1));
    await clock.advance(3_000);
    one.add(item(2));
    expect(sent).toEqual([]);
    mayStart = true;
    one.look();
    expect(sent).toEqual([{ at: 3_000, items: [1, 2], why: 'due' }]);
  });

  test('where places are short it waits for less, but for what a call costs by itself', async () => {
    const whenAt = async (occupancy: number) => {
      clock = new ManualClock(0);
      sent = [];
      coalescer({ occupancy: () => occupancy }).add(item(1));
      await clock.advance(1_000);
      return sent[0]!.at;
    };
    expect(await whenAt(0.5)).toBe(1_000);
    expect(await whenAt(0.75)).toBe(500);
    expect(await whenAt(1)).toBe(80);
  });

  test('has one timer, however many items come, and none when all are gone', async () => {
    const one = coalescer({ itemsMax: 1_000, lingerMs: 60_000 });
    for (let n = 0; n < 500; n++) {
      one.add(item(n, 50_000 - n));
      await clock.advance(0);
      expect(clock.sleeping).toBe(1);
    }
    one.flush();
    await clock.advance(0);
    expect(clock.sleeping).toBe(0);
    expect(sent).toMatchObject([{ why: 'flushed' }]);
  });

  test('every item goes once, in order, none later than it may linger', async () => {
    const arrivals = fc.array(fc.record({ ms: fc.nat(700), slack: fc.oneof(fc.nat(3_000), fc.constant(never)) }));
    await fc.assert(
      fc.asyncProperty(arrivals, async (steps) => {
        clock = new ManualClock(0);
        sent = [];
        const one = coalescer();
        const at: number[] = [];
        for (const [n, { ms, slack }] of steps.entries()) {
          await clock.advance(ms);
          at.push(clock.now());
          one.add(item(n, clock.now() + slack));
        }
        await clock.advance(1_001);
        expect(sent.flatMap(({ items }) => items)).toEqual(steps.map((_, n) => n));
        for (const { at: when, items } of sent) for (const n of items) expect(when - at[n]!).toBeLessThanOrEqual(1_000);
      }),
    );
  });
});

describe('a cost model', () => {
  test('learns a + b·n from noisy calls of all sizes within five per cent', () => {
    const random = seeded(1);
    const cost = new CostModel();
    for (let i = 0; i < 300; i++) {
      const n = 1 + Math.floor(random() * 500);
      cost.learn(n, (80 + 0.6 * n) * (0.9 + 0.2 * random()));
    }
    for (const n of [1, 100, 500]) expect(cost.expect(n) / (80 + 0.6 * n)).toBeCloseTo(1, 1);
  });

  test('what it says a call takes at most holds for all but one in a hundred', () => {
    const random = seeded(2);
    const cost = new CostModel();
    let over = 0;
    for (let i = 0; i < 2_000; i++) {
      const n = 1 + Math.floor(random() * 500);
      const gauss = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
      const ms = (80 + 0.6 * n) * Math.exp(0.1 * gauss);
      if (i > 100 && ms > cost.atMost(n)) over += 1;
      cost.learn(n, ms);
    }
    expect(over).toBeLessThan(20);
  });

  test('one call that stalled for a minute is no new normal; a server that became slow is', () => {
    const cost = new CostModel();
    for (let i = 0; i < 100; i++) cost.learn(10, 100 + (i % 10));
    cost.learn(10, 60_000);
    expect(cost.expect(10)).toBeLessThan(120);
    for (let i = 0; i < 150; i++) cost.learn(10, 1_000 + (i % 10));
    expect(cost.expect(10)).toBeGreaterThan(900);
  });

  test('calls that end too close to their deadlines make the next ones start earlier, for a while', () => {
    const cost = new CostModel();
    for (let i = 0; i < 100; i++) cost.learn(10, 100 + (i % 10), 1_000);
    const before = cost.atMost(10);
    cost.learn(10, 100, -200);
    expect(cost.atMost(10)).toBeGreaterThan(before + 150);
    for (let i = 0; i < 100; i++) cost.learn(10, 100 + (i % 10), 1_000);
    expect(cost.atMost(10)).toBeLessThan(before + 20);
  });
});
