import type { RunReport } from './run.ts';

/**
 * The fewest disturbances of a failing run that still break the same promise: takes away halves, then quarters, then
 * single ones, as long as it fails without them. Everything else stays as the seed drew it.
 * @param fails runs with the disturbances at these positions; gives the report if it still fails
 * @param runsMax default 60
 */
export async function shrink(
  positions: readonly number[],
  fails: (keep: readonly number[]) => Promise<RunReport | undefined>,
  runsMax = 60,
): Promise<{ keep: number[]; report: RunReport | undefined; runs: number }> {
  let keep = [...positions];
  let report: RunReport | undefined;
  let runs = 0;
  for (let size = Math.ceil(keep.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < keep.length && runs < runsMax; ) {
      const without = [...keep.slice(0, from), ...keep.slice(from + size)];
      runs += 1;
      const failed = await fails(without);
      if (failed === undefined) from += size;
      else {
        keep = without;
        report = failed;
      }
    }
  }
  return { keep, report, runs };
}

/** Whether a report breaks a promise that another one broke. */
export function breaksTheSame(first: RunReport, other: RunReport): boolean {
  const broken = new Set(first.violations.map(({ invariant }) => invariant));
  return other.violations.some(({ invariant }) => broken.has(invariant));
}
