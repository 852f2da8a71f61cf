import { expect, test } from '@jest/globals';
import { withOutage } from './faults.ts';
import { gsm8k, other, victims } from './support.ts';

test.each(victims)(
  '%s killed and started again after the failover: stale messages cost no model call, the stores converge, it returns by itself',
  (victim) =>
    withOutage(async (outage) => {
      const survivor = other(victim);
      const batch = await outage.underWay(victim, 0.3);
      // What lies in its queue then is stale when it comes back.
      const held = await outage.world.core.sites.get(victim)!.work.depth();
      expect(held.visible + held.inFlight).toBeGreaterThan(0);
      const { epoch } = await outage.control();
      const at = Date.now();
      outage.world.kill(victim);
      await outage.untilState(victim, 'fenced', survivor);
      await outage.world.restart(victim);
      await outage.expectComplete(survivor, batch);
      const rtoMs = await outage.expectRedriven(survivor, batch, { epoch, at });
      console.log(`${victim} killed, and started again: first redriven result after ${rtoMs} ms`);
      await outage.untilReturned(victim);
      await outage.untilConverged();
      // Its model server was started with it: whatever it had been asked for since, it would have counted.
      expect(await outage.computed(victim, gsm8k)).toBe(0);
      const states = (await outage.log()).flatMap(({ changes }) => changes).filter((one) => one.startsWith(victim));
      expect(states.join('; ')).toMatch(/active → fenced.*fenced → recovering.*recovering → active.*weight 50 → 100/);
      // What is new is worked there again.
      await outage.homeIs(victim);
      const { batch: next, ids } = await outage.submitGenerated(survivor, 20, 'after-return');
      const ended = await outage.expectComplete(victim, next, ids);
      expect(ended.holdfast.answered_by).toEqual({ [victim]: 20 });
    }),
  1_200_000,
);
