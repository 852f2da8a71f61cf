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

  describe('held up until the last place was free', () => {
    /** 100 items, one each ten ms, due at 2,000; calls cost 100 ms + 10 ms an item; at 1,000 a place is free. */
    const heldUp = async (nextEndAt: number | undefined, deadlineOf = (n: number) => 2_000 + 10 * n) => {
      const cost = new CostModel({ baseMs: 100, perItemMs: 10 });
      for (let n = 1; n <= 200; n++) cost.learn(n, 100 + 10 * n);
      let mayStart = false;
      const one = coalescer({ cost, itemsMax: 1_000, mayStart: () => mayStart, nextEndAt: () => nextEndAt });
      for (let n = 0; n < 100; n++) {
        one.add(item(n, deadlineOf(n)));
        await clock.advance(10);
      }
      mayStart = true;
      one.look();
      mayStart = false;
      return one;
    };

    test('it sends half of what waits and comes until the next place is free, oldest first; the rest waits on', async () => {
      const one = await heldUp(1_200);
      expect(sent).toEqual([{ at: 1_000, items: Array.from({ length: 60 }, (_, n) => n), why: 'due' }]);
      expect(one.size).toBe(40);
      one.flush();
      expect(sent[1]!.items).toEqual(Array.from({ length: 40 }, (_, n) => 60 + n));
    });

    test('it sends all, where that leaves half of what waits and comes to the next place', async () => {
      await heldUp(2_000);
      expect(sent).toMatchObject([{ items: { length: 100 } }]);
    });

    test('it sends all, where one more call may start', async () => {
      await heldUp(undefined);
      expect(sent).toMatchObject([{ items: { length: 100 } }]);
    });

    test('it sends all, where all are in time together', async () => {
      await heldUp(1_200, (n) => 3_000 + 10 * n);
      expect(sent).toMatchObject([{ items: { length: 100 } }]);
    });

    test('it sends all, where the oldest is late already', async () => {
      await heldUp(1_200, (n) => 1_000 + 10 * n);
      expect(sent).toMatchObject([{ items: { length: 100 } }]);
    });

    test('it sends all, where one that came later is due sooner: that one must not wait for the next place', async () => {
      await heldUp(1_200, (n) => (n === 99 ? 1_999 : 2_000 + 10 * n));
      expect(sent).toMatchObject([{ items: { length: 100 } }]);
    });
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

  test('what large calls take at most is known from small ones, where a call is off by a share of itself', () => {
    const random = seeded(3);
    const spread = () => Math.exp(0.1 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()));
    const cost = new CostModel();
    for (let i = 0; i < 200; i++) {
      const n = 40 + Math.floor(20 * random());
      cost.learn(n, (60 + 0.6 * n) * spread());
    }
    let over = 0;
    for (let i = 0; i < 1_000; i++) if ((60 + 0.6 * 400) * spread() > cost.atMost(400)) over += 1;
    expect(over).toBeLessThan(5);
  });

  test('two first calls of about the same size say nothing of what an item costs', () => {
    const cost = new CostModel({ baseMs: 200, perItemMs: 0.5 });
    cost.learn(31, 79);
    cost.learn(29, 87);
    expect((cost.expect(500) - cost.expect(0)) / 500).toBeCloseTo(0.5, 0);
    expect(cost.expect(500)).toBeGreaterThan(250);
  });
});
