import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { lastingMs, withOutage } from './faults.ts';
import { gsm8k, victims } from './support.ts';

// A thousand deliveries take hours: test/core/worker/faults.test.ts counts them on a clock of its own.
test(
  'the model is away in both clouds for two minutes: nothing fails over, fails or is dead-lettered, and all completes when it is back',
  () =>
    withOutage(async (outage, faults) => {
      const batches = [];
      for (const cloud of victims) {
        await outage.homeIs(cloud);
        batches.push(await outage.submit(cloud));
      }
      const { epoch } = await outage.control();
      for (const site of victims)
        await faults.inject({ site, service: 'model', kind: 'error', model: gsm8k, ttlMs: lastingMs });
      await sleep(120_000);
      expect(await outage.deadLetters()).toBe(0);
      for (const batch of batches) expect((await outage.batch('aws', batch)).request_counts!.failed).toBe(0);
      const { sites, moves } = await outage.control();
      expect(Object.values(sites).map(({ state }) => state)).toEqual(['active', 'active']);
      expect(moves).toEqual([]);
      expect((await outage.control()).epoch).toBe(epoch);
      await faults.clear();
      for (const batch of batches) await outage.expectComplete('azure', batch);
      expect(await outage.deadLetters()).toBe(0);
    }),
  900_000,
);
