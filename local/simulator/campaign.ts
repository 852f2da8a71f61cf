import { unreached } from './reach.ts';
import { drawRun, type RunOptions, type RunReport, type RunTotals, simulate } from './run.ts';
import { breaksTheSame, shrink } from './shrink.ts';

/** A seed that broke a promise, and what is left of its faults once all that do not matter are taken away. */
export interface FailedSeed {
  report: RunReport;
  /** Positions in the drawn schedule, of which `report` holds those that happened. */
  keep: number[];
}

/** Totals of all seeds together. */
export interface CampaignTotals extends Omit<RunTotals, 'events'> {
  seeds: number;
  failed: number;
}

export interface CampaignReport {
  totals: CampaignTotals;
  failures: FailedSeed[];
  reached: Record<string, number>;
  /** What had to be reached and was not. */
  unreached: string[];
  /** Hash over the hashes of all runs. */
  hash: string;
}

export interface CampaignOptions extends Omit<RunOptions, 'seed'> {
  first: number;
  seeds: number;
  /** Told of each run at once: a failing one is shrunk after that. */
  onRun?: (report: RunReport, done: number) => void;
  /** Looked at between runs, those that shrink a failing one as well. */
  signal?: AbortSignal;
  /** False: failing schedules are reported as they were drawn. Default true, and never of a chosen part of one. */
  shrinks?: boolean;
  /** Simulators among which the seeds are shared, each one at a time. Default: this process alone. */
  simulators?: readonly Simulator[];
}

/** What runs one seed. */
export type Simulator = (run: RunOptions) => Promise<RunReport>;

/** Seeds one after the other, as many at once as there are simulators; a failing one is shrunk at once. */
export async function runCampaign(options: CampaignOptions): Promise<CampaignReport> {
  const { first, seeds, onRun, signal, shrinks = true, simulators = [simulate], ...given } = options;
  const reached: Record<string, number> = {};
  const failures: FailedSeed[] = [];
  const totals: CampaignTotals = {
    seeds: 0,
    failed: 0,
    virtualHours: 0,
    skippedHours: 0,
    batches: 0,
    lines: 0,
    repeats: 0,
    faults: 0,
    struckCalls: 0,
    calls: 0,
    processes: 0,
    epochs: 0,
  };
  const hashes: string[] = [];
  const note = async (i: number, run: RunOptions, report: RunReport, simulateOne: Simulator) => {
    hashes[i] = report.hash;
    totals.seeds += 1;
    for (const [name, count] of Object.entries(report.totals))
      if (name in totals) totals[name as keyof CampaignTotals] += count;
    for (const [point, count] of Object.entries(report.reached)) reached[point] = (reached[point] ?? 0) + count;
    if (report.violations.length > 0) totals.failed += 1;
    onRun?.(report, totals.seeds);
    if (report.violations.length === 0) return;
    const all = given.keep ?? report.schedule.map((_, at) => at);
    const isShrunk = shrinks && given.keep === undefined;
    const keep = isShrunk ? await smallest(run, report, simulateOne, signal) : [...all];
    failures.push({ report, keep });
  };
  const numbers = Array.from({ length: seeds }, (_, i) => i).values();
  await Promise.all(
    simulators.map(async (simulateOne) => {
      for (const i of numbers) {
        if (signal?.aborted) return;
        const run = { ...given, seed: String(first + i) };
        await note(i, run, await simulateOne(run), simulateOne);
      }
    }),
  );
  failures.sort((a, b) => Number(a.report.seed) - Number(b.report.seed));
  const sorted = Object.fromEntries(Object.entries(reached).sort());
  return { totals, failures, reached: sorted, unreached: unreached(reached), hash: hashes.join(' ') };
}

/** Positions of the disturbances that it takes to fail as `report` did. */
async function smallest(
  run: RunOptions,
  report: RunReport,
  simulateOne: Simulator,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const all = drawRun(run).schedule.map((_, at) => at);
  const { keep } = await shrink(all, async (some) => {
    if (signal?.aborted) return undefined;
    const again = await simulateOne({ ...run, keep: some });
    return breaksTheSame(report, again) ? again : undefined;
  });
  return keep;
}
