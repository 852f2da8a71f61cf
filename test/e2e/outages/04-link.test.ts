import { describe, expect, test } from '@jest/globals';
import { HoldfastApiError } from '../../../client/index.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { lastingMs, withOutage } from './faults.ts';
import { gsm8kIds, type Outage, other, victims } from './support.ts';

const directions = ['to', 'from', 'both'] as const;

/** A batch in work at each cloud, submitted through its own front door, and soon too slow to end before it may. */
async function bothBusy(outage: Outage) {
  const batches = [];
  for (const cloud of victims) {
    await outage.homeIs(cloud);
    await outage.behave({ latency: { ms: 700 } }, { clouds: [cloud] });
    const batch = await outage.submit(cloud);
    batches.push({ cloud, batch });
    await outage.untilAnswered(cloud, batch, 0.1);
    await outage.behave({ latency: { ms: 5_000 } }, { clouds: [cloud] });
  }
  return batches;
}

describe('the link between the clouds is cut, with a witness', () => {
  test.each(directions)(
    '%s aws: both go on, each batch is published once, nothing fails over, and the stores converge when it heals',
    (direction) =>
      withOutage(async (outage, faults) => {
        const batches = await bothBusy(outage);
        await faults.inject({ site: 'aws', service: 'link', kind: 'blackhole', direction, ttlMs: lastingMs });
        await outage.slow(700);
        const { epoch } = await outage.control();
        const named = direction === 'both' ? victims : direction === 'to' ? ['azure'] : ['aws'];
        for (const cloud of named)
          await outage.untilStatus(
            `${cloud} names the link`,
            ({ sites }) => sites.some(({ causes }) => causes.includes('link-cut')),
            { by: cloud as 'aws' | 'azure' },
          );
        // While it lasts, each cloud ends its own batch with the witness.
        const ended = await Promise.all(batches.map(({ cloud, batch }) => outage.untilEnded(cloud, batch)));
        expect(ended.map(({ status }) => status)).toEqual(['completed', 'completed']);
        if (direction === 'both') {
          const refused = await outage.submit('aws').catch((error) => error);
          expect(refused).toMatchObject({ status: 503 });
        }
        await faults.clear();
        for (const { cloud, batch } of batches) await outage.expectComplete(other(cloud), batch, gsm8kIds);
        await outage.untilConverged();
        const { sites } = await outage.control();
        expect(Object.values(sites).map(({ state }) => state)).toEqual(['active', 'active']);
        expect((await outage.log()).filter((entry) => entry.epoch > epoch).flatMap(({ changes }) => changes)).toEqual(
          [],
        );
        for (const { cloud, batch } of batches)
          expect(await outage.output('aws', await outage.batch('aws', batch))).toBe(
            await outage.output('azure', await outage.batch(cloud, batch)),
          );
      }),
    900_000,
  );
});

describe('the link is cut both ways, and no witness answers', () => {
  test(
    'nothing fails over and nothing is decided; when the link heals, all completes',
    () =>
      withOutage(async (outage, faults) => {
        const batches = await bothBusy(outage);
        await faults.inject({ site: 'witness', kind: 'refuse', ttlMs: lastingMs });
        await faults.inject({ site: 'aws', service: 'link', kind: 'blackhole', ttlMs: lastingMs });
        const { epoch } = await outage.control();
        for (const cloud of victims) {
          const page = await outage.untilStatus(
            `${cloud} is alone`,
            ({ witness, observers }) =>
              witness === 'silent' && observers.some(({ observer, silent }) => observer === other(cloud) && silent),
            { by: cloud },
          );
          expect(page.byItself.join(' ')).toMatch(/Nothing now/);
          expect(page.type.map(({ command }) => command).join(' ')).not.toBe('');
          const refused = await outage
            .client()
            .on(cloud)
            .ops.command('failover', { from: other(cloud), to: cloud, mode: 'forced', reason: 'is it decided?' })
            .catch((error) => error);
          expect(refused).toBeInstanceOf(HoldfastApiError);
        }
        await outage.slow(700);
        for (const { cloud, batch } of batches) {
          await outage.untilAnswered(cloud, batch, 1);
          expect((await outage.batch(cloud, batch)).status).not.toBe('completed');
        }
        await faults.clear();
        for (const { cloud, batch } of batches) await outage.expectComplete(other(cloud), batch, gsm8kIds);
        await outage.untilConverged();
        expect((await outage.control()).epoch).toBe(epoch);
      }),
    900_000,
  );

  test(
    'a person makes each side go on alone: both publish, and when the link heals one history and one publication stand, the loser kept and reported',
    () =>
      withOutage(async (outage, faults) => {
        const batches = await bothBusy(outage);
        await faults.inject({ site: 'witness', kind: 'refuse', ttlMs: lastingMs });
        await faults.inject({ site: 'aws', service: 'link', kind: 'blackhole', ttlMs: lastingMs });
        for (const cloud of victims) {
          const answer = await outage
            .client()
            .on(cloud)
            .ops.command('failover', {
              from: other(cloud),
              to: cloud,
              mode: 'forced',
              reason: 'the other side is taken for dead',
              force: ['no-witness', 'target-healthy', 'minimum-interval'],
            });
          expect(answer).toMatchObject({ status: 'done', solo: true });
        }
        await outage.slow(700);
        // Each side redrives what the other one had, and publishes both batches for itself.
        for (const cloud of victims) for (const { batch } of batches) await outage.untilEnded(cloud, batch);
        await faults.clear();
        await outage.untilConverged();
        const entries = (await outage.control()).epoch;
        expect(entries).toBeGreaterThan(1);
        for (const { batch } of batches) {
          const [aws, azure] = await Promise.all(victims.map((cloud) => outage.expectComplete(cloud, batch, gsm8kIds)));
          expect(await outage.output('aws', aws!)).toBe(await outage.output('azure', azure!));
        }
        const solos = await Promise.all(
          [...outage.world.core.sites.values()].map(async ({ journal }) =>
            (await Array.fromAsync(listAll(journal, ''))).flatMap(({ key }) => (key.includes('.solo-') ? [key] : [])),
          ),
        );
        expect(solos[0]!.length).toBeGreaterThan(0);
        expect(solos[0]).toEqual(solos[1]);
        const page = await outage.ops.status();
        expect(page.superseded.length).toBeGreaterThan(0);
      }),
    900_000,
  );
});
