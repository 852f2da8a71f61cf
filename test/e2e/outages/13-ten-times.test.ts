import { expect, test } from '@jest/globals';
import { seeded } from '../../support/world.ts';
import { childrenOf } from '../support.ts';
import { withOutage } from './faults.ts';
import { type Batch, gsm8kIds, other, patienceMs, victims } from './support.ts';

test(
  'ten failovers and failbacks in a row under load, with random kills: equal key sets at the end, every id once',
  () =>
    withOutage(async (outage) => {
      const random = seeded(13);
      const force = ['minimum-interval', 'target-healthy', 'target-has-models-and-headroom'];
      await outage.slow(300);
      const batches: Batch[] = [];
      for (let round = 0; round < 10; round++) {
        const from = victims[round % 2]!;
        const to = other(from);
        batches.push(await outage.submit(to));
        const kill = random();
        // The functions of one side or the other die in the middle of it; they are started again by their cloud.
        const killed = kill < 0.35 ? from : kill < 0.7 ? to : undefined;
        const strike = () => {
          if (killed === undefined) return;
          for (const pid of childrenOf(outage.world.clouds[killed]!.pid)) process.kill(pid, 'SIGKILL');
        };
        if (random() < 0.5) strike();
        const reason = `round ${round + 1} of ten`;
        await outage.ops.command('failover', { from, to, mode: 'forced', reason, force });
        await outage.untilState(from, 'fenced', to);
        strike();
        await outage.ops.command('failback', { site: from, reason, force });
        // Every fact has to be there before it may serve again: the rule no-solo-flip says so, and is not overridden.
        for (const ends = Date.now() + patienceMs; ; ) {
          const answer = await outage.ops
            .command('failback', { site: from, weight: 50, reason, force })
            .catch((error) => error);
          if (answer.status === 'done' || answer.status === 'unchanged') break;
          if (Date.now() > ends) throw answer;
          await new Promise((resolve) => setTimeout(resolve, 1_000));
        }
        // The next batch goes through its own front door, which looks the entry up anew after a while.
        await outage.untilState(from, 'active', from);
        await new Promise((resolve) => setTimeout(resolve, 3_000));
      }
      for (const batch of batches) await outage.expectComplete('aws', batch, gsm8kIds);
      for (const batch of batches) await outage.expectComplete('azure', batch, gsm8kIds);
      await outage.untilConverged();
      expect(await outage.deadLetters()).toBe(0);
      const entries = (await outage.log()).length;
      expect(entries).toBeGreaterThanOrEqual(20);
    }),
  3_600_000,
);
