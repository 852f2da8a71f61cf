import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test.each(victims)(
  'the store of %s is away for 10 s of every 20 s, three minutes long: at most one failover, and no way back meanwhile',
  (victim) =>
    withOutage(async (outage, faults) => {
      const survivor = other(victim);
      await outage.homeIs(victim);
      await outage.slow(700);
      const batch = await outage.submit(survivor);
      const { epoch } = await outage.control();
      for (const ends = Date.now() + 180_000; Date.now() < ends; await sleep(20_000))
        await faults.inject({ site: victim, service: 'store', kind: 'refuse', ttlMs: 10_000 });
      const changes = (await outage.log()).filter((entry) => entry.epoch > epoch).flatMap((entry) => entry.changes);
      const falls = changes.filter((one) => one.includes('→ fenced'));
      const returns = changes.filter((one) => one.includes('fenced →'));
      expect(falls.length).toBeLessThanOrEqual(1);
      expect(returns).toEqual([]);
      await outage.expectComplete(survivor, batch);
    }),
  900_000,
);
