import { afterAll, expect, test } from '@jest/globals';
import { Apart } from './apart.ts';

const apart = new Apart();
afterAll(() => apart.end());

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
    const { failures, seeds, reached } = await apart.run('seeds', { first, count: seedsInGroup });
    for (const [point, count] of Object.entries(reached)) reachedByAll[point] = (reachedByAll[point] ?? 0) + count;
    expect(failures).toEqual([]);
    expect(seeds).toBe(seedsInGroup);
  },
);

test('all these seeds together met what they had to meet', () => {
  expect(everyday.filter((point) => !(point in reachedByAll))).toEqual([]);
});
