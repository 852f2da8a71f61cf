import { expect, test } from '@jest/globals';
import { runCampaign } from '../../local/simulator/campaign.ts';
import { short } from './seeds.ts';

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
