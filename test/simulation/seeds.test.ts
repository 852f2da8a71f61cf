import { expect, test } from '@jest/globals';
import { runCampaign } from '../../local/simulator/campaign.ts';
import type { Knobs } from '../../local/simulator/knobs.ts';
import { simulate } from '../../local/simulator/run.ts';

/** Short runs: what a seed does in a day it tries here in minutes. */
const short: Partial<Knobs> = { hours: 0.12, tickMs: 60_000, batches: 2, linesMax: 6, chunkLines: 3, observer: false };
/** In groups, so that none takes long. */
const groups = 10;
const seedsInGroup = 30;

/** Points that so short runs come to as well. */
const everyday = [
  'chunk given back',
  'dispatched for plan',
  'frozen process woke up',
  'lease expired',
  'own value decided',
  'process crashed',
  'published completed',
  'reply lost',
  'same key gave the same batch',
  'value of another adopted',
];

const reachedByAll: Record<string, number> = {};

test.each(Array.from({ length: groups }, (_, group) => [1 + group * seedsInGroup]))(
  `${seedsInGroup} seeds of short outages from %i on: no promise is broken`,
  async (first) => {
    const { failures, totals, reached } = await runCampaign({
      first,
      seeds: seedsInGroup,
      knobs: short,
      shrinks: false,
    });
    for (const [point, count] of Object.entries(reached)) reachedByAll[point] = (reachedByAll[point] ?? 0) + count;
    expect(failures.map(({ report }) => ({ seed: report.seed, violations: report.violations.slice(0, 3) }))).toEqual(
      [],
    );
    expect(totals.seeds).toBe(seedsInGroup);
  },
);

test('all these seeds together met what they had to meet', () => {
  expect(everyday.filter((point) => !(point in reachedByAll))).toEqual([]);
});

test('a seed run twice: the same trace, byte for byte; another seed: another one', async () => {
  const run = (seed: string) => simulate({ seed, knobs: { ...short, hours: 0.3, batches: 4 }, keepTrace: 100_000 });
  const [first, again, other] = [await run('11'), await run('11'), await run('12')];
  expect(again.trace).toEqual(first.trace);
  expect(again.hash).toBe(first.hash);
  expect(other.hash).not.toBe(first.hash);
});
