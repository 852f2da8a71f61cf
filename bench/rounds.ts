/** Interleaved rounds of rival functions: each round runs all of them, so that whatever the machine does hits all alike. */
export function rounds(count: number, rivals: Record<string, () => void>): Record<string, number[]> {
  const names = Object.keys(rivals);
  const times: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (const name of names) rivals[name]!();
  for (let round = 0; round < count; round++)
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const from = performance.now();
      rivals[name]!();
      times[name]!.push(performance.now() - from);
    }
  return times;
}

/**
 * As `rounds`, for rivals that end later. Processor time of this process is counted, ms, not the time of day: what other
 * processes take from the machine is nobody's cost, and nobody here waits for anything else.
 * @param before runs before each sample, and is not counted: what one rival leaves to be collected is no other's cost
 */
export async function roundsAsync(
  count: number,
  rivals: Record<string, () => Promise<unknown>>,
  before: () => void = () => {},
): Promise<Record<string, number[]>> {
  const names = Object.keys(rivals);
  const times: Record<string, number[]> = Object.fromEntries(names.map((name) => [name, []]));
  for (const name of names) await rivals[name]!();
  for (let round = 0; round < count; round++)
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      before();
      const from = process.cpuUsage();
      await rivals[name]!();
      const { user, system } = process.cpuUsage(from);
      times[name]!.push((user + system) / 1000);
    }
  return times;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Median of the ratios within each round: what is slow in one round is slow for both. */
export function medianRatio(of: readonly number[], to: readonly number[]): number {
  return median(of.map((value, i) => value / to[i]!));
}
