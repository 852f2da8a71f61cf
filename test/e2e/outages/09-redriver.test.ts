import { expect, test } from '@jest/globals';
import { childrenOf, until } from '../support.ts';
import { withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test.each(victims)(
  '%s is lost, and the functions of the other cloud are killed in the middle of the redrive: each line still comes once',
  (victim) =>
    withOutage(async (outage) => {
      const survivor = other(victim);
      await outage.homeIs(victim);
      await outage.slow(1_500);
      const batches = [];
      for (let i = 0; i < 4; i++) batches.push(await outage.submit(survivor));
      await outage.untilAnswered(survivor, batches[0]!, 0.1);
      const { epoch } = await outage.control();
      outage.world.kill(victim);
      await outage.untilState(victim, 'fenced', survivor);
      // As soon as it has begun.
      await until(async () => {
        const depth = await outage.world.core.sites.get(survivor)!.work.depth();
        return depth.visible + depth.inFlight > 0 ? true : undefined;
      }, 'the redrive has begun');
      for (const pid of childrenOf(outage.world.clouds[survivor]!.pid)) process.kill(pid, 'SIGKILL');
      for (const batch of batches) await outage.expectComplete(survivor, batch);
      const fencings = (await outage.log()).filter(
        (one) => one.epoch > epoch && one.changes.join().includes('→ fenced'),
      );
      expect(fencings).toHaveLength(1);
    }),
  1_200_000,
);
