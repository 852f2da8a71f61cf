import { expect, test } from '@jest/globals';
import { lastingMs, withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test.each(victims)(
  'a failover to a sick %s is refused by name; --force with a reason passes, and is logged as such',
  (sick) =>
    withOutage(async (outage, faults) => {
      const well = other(sick);
      // Reads work, so that it is no dark site: what is refused is refused by the verdict.
      await faults.inject({ site: sick, service: 'store', kind: 'readonly', ttlMs: lastingMs });
      // Whoever acts by himself moves away from it first; here a person wants the opposite.
      await outage.untilState(sick, 'fenced', well);
      const command = { from: well, to: sick, mode: 'forced', reason: 'the wrong way' } as const;
      const refused = await outage.ops.command('failover', command).catch((error) => error);
      expect(refused).toMatchObject({ status: 409 });
      expect(refused.message).toContain('target-healthy');
      expect((await outage.control()).sites[well]!.state).toBe('active');
      const force = ['target-healthy', 'no-solo-flip', 'minimum-interval'];
      const reason = 'I know better';
      const done = await outage.ops.command('failover', { ...command, reason, force });
      expect(done).toMatchObject({ status: 'done' });
      const entry = (await outage.log()).find(({ epoch }) => epoch === done.epoch)!;
      expect(entry).toMatchObject({ reason, actor: expect.stringMatching(/^key:/) });
      expect(entry.forced).toContain('target-healthy');
      expect(entry.evidence.join(' ')).toContain('target-healthy overridden');
      expect(entry.changes.join(' ')).toContain(`${sick}: fenced → active`);
    }),
  600_000,
);
