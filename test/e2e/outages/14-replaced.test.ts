import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test.each(victims)(
  'F38 F39 F58 %s is lost for good with all it held, and a new, empty one is named in its place: it votes once it knows what the others know, gets every fact, and returns',
  (victim) =>
    withOutage(async (outage) => {
      const survivor = other(victim);
      const batch = await outage.underWay(victim, 0.3);
      outage.world.kill(victim);
      await outage.untilState(victim, 'fenced', survivor);
      const ended = await outage.expectComplete(survivor, batch);
      rmSync(join(outage.world.dataDir, victim), { recursive: true });
      const answer = await outage.ops.command('replace-store', {
        store: victim,
        reason: 'the region is gone for good',
      });
      expect(answer).toMatchObject({ status: 'done' });
      const voter = async () => (await outage.control()).voters.find(({ store }) => store === victim)!;
      const { incarnation } = await voter();
      expect(await voter()).toEqual({ store: victim, incarnation, joining: true });
      await outage.world.restart(victim);
      await outage.untilReturned(victim);
      expect(await voter()).toEqual({ store: victim, incarnation });
      await outage.untilConverged();
      expect(await outage.output(victim, await outage.expectComplete(victim, batch))).toBe(
        await outage.output(survivor, ended),
      );
      await outage.homeIs(victim);
      const { batch: next, ids } = await outage.submitGenerated(survivor, 20, 'after-replacement');
      await outage.expectComplete(victim, next, ids);
    }),
  1_200_000,
);
