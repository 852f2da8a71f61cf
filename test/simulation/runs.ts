import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCampaign } from '../../local/simulator/campaign.ts';
import { type RunOptions, type RunReport, simulate } from '../../local/simulator/run.ts';
import { parseScenarios } from '../../local/simulator/scenario/index.ts';
import { simulateScenario } from '../../local/simulator/scenario-run.ts';
import { type Mistake, mistakes } from './mistakes.ts';
import { short } from './seeds.ts';

/**
 * What the tests of this folder let run, in a process of its own (`apart.ts`): questions and answers are plain data.
 */

/** A scenario of a file of `scenarios/`. */
async function scenario({ file, id }: { file: string; id: string }): Promise<RunReport['violations']> {
  const text = readFileSync(join(import.meta.dirname, 'scenarios', file), 'utf8');
  const found = parseScenarios(text, file).scenarios.find((one) => one.id === id)!;
  return (await simulateScenario(found, { seed: '1' })).violations;
}

const seedsMax = 1_000;

/** The first seed in which a mistake is seen, of a thousand, and what breaks in that seed without it. */
async function mistake({ name }: { name: string }): Promise<{ seed: number; without: RunReport['violations'] }> {
  const made = mistakes.find((one) => one.name === name)!;
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { violations } = await simulate(optionsOf(made, seed, true));
    if (!violations.some(({ invariant }) => made.breaks.includes(invariant))) continue;
    return { seed, without: (await simulate(optionsOf(made, seed, false))).violations };
  }
  throw new Error(`${name}: not seen in ${seedsMax} seeds`);
}

function optionsOf({ knobs, schedule, restHours, variant }: Mistake, seed: number, isMade: boolean): RunOptions {
  return {
    seed: `mistake ${seed}`,
    ...(knobs !== undefined && { knobs }),
    ...(schedule !== undefined && { schedule }),
    ...(restHours !== undefined && { restHours }),
    ...(isMade && { variant }),
  };
}

/** Short outages, from one seed on. */
async function seeds({ first, count }: { first: number; count: number }) {
  const { failures, totals, reached } = await runCampaign({ first, seeds: count, knobs: short, shrinks: false });
  return {
    failures: failures.map(({ report }) => ({ seed: report.seed, violations: report.violations.slice(0, 3) })),
    seeds: totals.seeds,
    reached,
  };
}

export const runs = { scenario, mistake, seeds };
