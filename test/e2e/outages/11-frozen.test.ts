import { expect, test } from '@jest/globals';
import { lastingMs, withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test.each(victims)(
  'the pollers of %s are frozen while every call of it is green: noticed by progress, named, failed over within 60 s',
  (victim) =>
    withOutage(async (outage, faults) => {
      const survivor = other(victim);
      await outage.homeIs(victim);
      await outage.slow(700);
      // More than its workers take in hand at a time: what they have, they still finish.
      const batches = [];
      for (let i = 0; i < 4; i++) batches.push(await outage.submit(survivor));
      await outage.untilAnswered(survivor, batches[0]!, 0.2);
      const { epoch } = await outage.control();
      const frozenAt = Date.now();
      await faults.inject({ site: victim, service: 'functions', kind: 'freeze', ttlMs: lastingMs });
      await outage.untilState(victim, 'fenced', survivor);
      const entry = (await outage.log()).findLast(({ changes }) => changes.some((one) => one.includes('→ fenced')))!;
      expect(entry.reason).toContain('trigger-detached');
      expect(entry.evidence.join(' ')).toMatch(/progress|canary/);
      for (const batch of batches) await outage.expectComplete(survivor, batch);
      const first = await Promise.all(batches.map((batch) => outage.firstRedriven(survivor, batch, epoch)));
      const rtoMs = Math.min(...first) - frozenAt;
      console.log(`pollers of ${victim} frozen: first redriven result after ${rtoMs} ms`);
      expect(rtoMs).toBeLessThan(60_000);
    }),
  900_000,
);
