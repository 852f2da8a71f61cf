import { expect, test } from '@jest/globals';
import { runCampaign } from '../../local/simulator/campaign.ts';
import { simulate } from '../../local/simulator/run.ts';
import { short } from './seeds.ts';

// What the gate has time for; `npm run simulation` runs all of it.

test('twenty seeds of short outages: no promise is broken', async () => {
  const { failures, totals } = await runCampaign({ first: 1, seeds: 20, knobs: short, shrinks: false });
  expect(failures.map(({ report }) => ({ seed: report.seed, violations: report.violations.slice(0, 3) }))).toEqual([]);
  expect(totals.seeds).toBe(20);
});

test('a seed run twice: the same trace, byte for byte; another seed: another one', async () => {
  const run = (seed: string) => simulate({ seed, knobs: { ...short, hours: 0.3, batches: 4 }, keepTrace: 100_000 });
  const [first, again, other] = [await run('11'), await run('11'), await run('12')];
  expect(again.trace).toEqual(first.trace);
  expect(again.hash).toBe(first.hash);
  expect(other.hash).not.toBe(first.hash);
});
