import { existsSync, readFileSync } from 'node:fs';
import { seededRandom } from '../../local/model-server/random.ts';

/** Arrival times, ms, ascending. */
export interface Trace {
  name: string;
  arrivals: Float64Array;
}

/** Arrivals at random, with the mean rate that `perMs` gives for a moment. */
function poisson(name: string, spanMs: number, perMs: (at: number) => number, seed: number): Trace {
  const random = seededRandom(seed);
  const arrivals: number[] = [];
  for (let at = 0; ; ) {
    at += -Math.log(1 - random()) / perMs(at);
    if (at >= spanMs) return { name, arrivals: Float64Array.from(arrivals) };
    arrivals.push(at);
  }
}

/**
 * The constants of `shared/batching/coalescer.ts` and `cost-model.ts` were chosen by the draws 1 to 60, of which these four
 * stand for all. The others must not be looked at for that: only they are reported.
 */
export const tuningSeeds = [1, 2, 3, 4] as const;
export const heldOutSeeds = [101, 211, 307, 401, 503, 601, 701, 809, 907, 1_009] as const;

/** @param capacity jobs per ms that can be served in time */
export function syntheticTraces(capacity: number, spanMs: number, seed: number): Trace[] {
  const steady = (share: number, draw: number) =>
    poisson(`${100 * share} %`, spanMs, () => share * capacity, seed * 1_000 + draw);
  return [
    steady(0.1, 1),
    steady(0.25, 2),
    steady(0.5, 3),
    steady(0.75, 4),
    steady(0.9, 5),
    poisson('bursty', spanMs, (at) => (at % 10_000 < 2_000 ? 0.9 : 0.05) * capacity, seed * 1_000 + 6),
    poisson('bursts of 7 s', spanMs, (at) => (at % 17_000 < 7_000 ? 0.7 : 0.02) * capacity, seed * 1_000 + 7),
  ];
}

/** Kinds of load that no constant was chosen by. */
export function otherTraces(capacity: number, spanMs: number, seed: number): Trace[] {
  return [
    poisson('35 %', spanMs, () => 0.35 * capacity, seed * 1_000 + 8),
    poisson('bursts of 0.5 s', spanMs, (at) => (at % 3_000 < 500 ? 0.9 : 0.1) * capacity, seed * 1_000 + 9),
    poisson('5 to 90 %', spanMs, (at) => (0.05 + (0.85 * at) / spanMs) * capacity, seed * 1_000 + 10),
  ];
}

/** Ten seconds' worth at once, then nothing. */
export function backlogTrace(capacity: number): Trace {
  return { name: 'backlog', arrivals: new Float64Array(Math.floor(10_000 * capacity)) };
}

/**
 * An hour of conversations with an LLM service of Azure's, as it was and run so much faster that it makes half the
 * capacity in the mean. `undefined` where `../shared/data` is not.
 * @source https://github.com/Azure/AzurePublicDataset (Splitwise, ISCA 2024)
 */
export function azureTraces(capacity: number): Trace[] | undefined {
  const path = ['../shared/data', '../../shared/data', `${import.meta.dirname}/../../../shared/data`]
    .map((folder) => `${folder}/azure-llm-trace-2023-conv.csv`)
    .find((candidate) => existsSync(candidate));
  if (path === undefined) return undefined;
  const lines = readFileSync(path, 'utf8').trim().split('\n').slice(1);
  const times = lines.map((line) => Date.parse(`${line.slice(0, 23).replace(' ', 'T')}Z`)).sort((a, b) => a - b);
  const first = times[0]!;
  const asItWas = Float64Array.from(times, (at) => at - first);
  const speed = (0.5 * capacity * asItWas.at(-1)!) / asItWas.length;
  return [
    { name: 'Azure', arrivals: asItWas },
    { name: `Azure × ${speed.toFixed(0)}`, arrivals: asItWas.map((at) => at / speed) },
  ];
}
