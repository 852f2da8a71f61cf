import { expect, test } from '@jest/globals';
import { holdfast } from '../files.ts';
import { withOutage } from './faults.ts';
import { type Outage, other, victims } from './support.ts';

/** Lines that the workers of one local cloud can have in work at a time: 4 environments of ten messages, or 16 calls. */
const inWorkMax = 4 * 10 * 50;

function failover(outage: Outage, from: 'aws' | 'azure', ...more: string[]) {
  const to = other(from);
  const { aws, azure, key } = outage.world.clouds;
  const where = ['--aws', aws!.api, '--azure', azure!.api, '--key', key];
  return holdfast([
    'failover',
    '--from',
    from,
    '--to',
    to,
    '--reason',
    'a case of the suite',
    ...more,
    ...where,
    '--json',
  ]);
}

test.each(victims)(
  'failover --mode graceful from %s under load: zero lines computed twice',
  (from) =>
    withOutage(async (outage) => {
      const to = other(from);
      const batch = await outage.underWay(from, 0.2);
      const { code, stdout, stderr } = await failover(outage, from, '--mode', 'graceful');
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({ status: 'done' });
      expect((await outage.control()).sites[from]!.state).toBe('fenced');
      const ended = await outage.expectComplete(to, batch);
      expect(ended.holdfast.repeats).toBe(0);
      expect(await outage.computedTwice()).toBe(0);
      // What is new goes to the other one.
      const next = await outage.submitGenerated(to, 20, 'after-graceful');
      const served = await outage.expectComplete(to, next.batch, next.ids);
      expect(served.holdfast.answered_by).toEqual({ [to]: 20 });
    }),
  900_000,
);

test.each(victims)(
  'failover --mode forced from %s under load: the first redriven result comes within 30 s, repeats are counted and bounded',
  (from) =>
    withOutage(async (outage) => {
      const to = other(from);
      const batch = await outage.underWay(from, 0.1, 1_500);
      // However long the command takes on a busy machine, lines are left by then.
      await outage.behave({ latency: { ms: 20_000 } }, { clouds: [from] });
      const { epoch } = await outage.control();
      const commandedAt = Date.now();
      const { code, stderr } = await failover(outage, from, '--mode', 'forced');
      expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
      const ended = await outage.expectComplete(to, batch);
      const rtoMs = (await outage.firstRedriven(to, batch, epoch)) - commandedAt;
      const computedTwice = await outage.computedTwice();
      console.log(`forced from ${from}: first redriven result after ${rtoMs} ms; ${computedTwice} computed twice`);
      expect(rtoMs).toBeLessThan(30_000);
      // Both clouds are up, so every line that a model worked on twice is known: in flight at the command, or worked by
      // a process that had not learned of it yet (I9).
      expect(ended.holdfast.repeats).toBeLessThanOrEqual(computedTwice);
      expect(computedTwice).toBeLessThanOrEqual(inWorkMax);
    }),
  900_000,
);
