import { describe, expect, test } from '@jest/globals';
import { type RunOptions, type RunReport, simulate } from '../../local/simulator/run.ts';
import { type Mistake, mistakes } from './mistakes.ts';

const seedsMax = 1_000;

function optionsOf({ knobs, schedule, restHours, variant }: Mistake, seed: number, isMade: boolean): RunOptions {
  return {
    seed: `mistake ${seed}`,
    ...(knobs !== undefined && { knobs }),
    ...(schedule !== undefined && { schedule }),
    ...(restHours !== undefined && { restHours }),
    ...(isMade && { variant }),
  };
}

/** The first seed in which a mistake is seen. */
async function find(mistake: Mistake): Promise<{ seed: number; report: RunReport }> {
  for (let seed = 1; seed <= seedsMax; seed++) {
    const report = await simulate(optionsOf(mistake, seed, true));
    if (report.violations.some(({ invariant }) => mistake.breaks.includes(invariant))) return { seed, report };
  }
  throw new Error(`${mistake.name}: not seen in ${seedsMax} seeds`);
}

describe('a deliberate mistake is caught, and its seed without the mistake is clean:', () => {
  test.each(mistakes.map((mistake) => [mistake.name, mistake] as const))('one that %s', async (_name, mistake) => {
    const { seed } = await find(mistake);
    expect(seed).toBeLessThanOrEqual(seedsMax);
    const control = await simulate(optionsOf(mistake, seed, false));
    expect(control.violations).toEqual([]);
  });
});

test('there are at least twelve mistakes', () => {
  expect(mistakes.length).toBeGreaterThanOrEqual(12);
});
