import { expect, test } from '@jest/globals';
import { lastingMs, withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test(
  'the witness is gone for the whole of a normal run: nothing visible changes (I13)',
  () =>
    withOutage(async (outage, faults) => {
      await faults.inject({ site: 'witness', kind: 'refuse', ttlMs: lastingMs });
      const { epoch } = await outage.control();
      const batches = await Promise.all(victims.map((cloud) => outage.submit(cloud)));
      for (const batch of batches) {
        expect(batch.holdfast.receipt).toBe('dual');
        for (const cloud of victims) expect((await outage.expectComplete(cloud, batch)).holdfast.repeats).toBe(0);
      }
      const page = await outage.ops.status();
      expect(page.witness).toBe('silent');
      expect(page.sites.map(({ health, state, causes }) => [health, state, causes])).toEqual([
        ['healthy', 'active', []],
        ['healthy', 'active', []],
      ]);
      expect((await outage.control()).epoch).toBe(epoch);
    }),
  600_000,
);

test.each(victims)(
  'the witness is gone when %s goes dark: nothing moves by itself, the page says what is blocked and what a person may do, and that works',
  (victim) =>
    withOutage(async (outage, faults) => {
      const survivor = other(victim);
      const batch = await outage.underWay(victim, 0.2);
      await faults.inject({ site: 'witness', kind: 'refuse', ttlMs: lastingMs });
      outage.world.kill(victim);
      const page = await outage.untilStatus(
        `${victim} is seen to be down`,
        ({ sites }) => sites.some(({ site, causes }) => site === victim && causes.includes('site-dark')),
        { by: survivor },
      );
      expect(page.witness).toBe('silent');
      expect(page.byItself[0]).toMatch(/^Nothing/);
      expect(page.byItself[0]).toMatch(/witness|two of three/);
      const advice = page.type.find(({ command }) => command.startsWith(`holdfast failover --from ${victim}`))!;
      expect(advice.why).toContain('no-witness');
      const forced = { from: victim, to: survivor, mode: 'forced', reason: 'it is dark, I saw it' } as const;
      const undecided = await outage
        .client()
        .on(survivor)
        .ops.command('failover', forced)
        .catch((error) => error);
      expect(`${undecided.message}`).toMatch(/no-witness|undecided|not now/);
      await outage
        .client()
        .on(survivor)
        .ops.command('failover', { ...forced, force: ['no-witness'] });
      await outage.expectComplete(survivor, batch);
    }),
  900_000,
);
