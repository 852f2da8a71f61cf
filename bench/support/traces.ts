import { existsSync, readFileSync } from 'node:fs';
import { seededRandom } from '../../local/model-server/random.ts';

/** Arrival times, ms, ascending. */
export interface Trace {
  name: string;
  arrivals: Float64Array;
  /** More arrives than can be served in time: what is missed is nobody's fault. */
  isOverload: boolean;
}

/** Arrivals at random, with the mean rate that `perMs` gives for a moment. */
function poisson(name: string, spanMs: number, perMs: (at: number) => number, seed: number): Trace {
  const random = seededRandom(seed);
  const arrivals: number[] = [];
  for (let at = 0; ; ) {
    at += -Math.log(1 - random()) / perMs(at);
    if (at >= spanMs) return { name, arrivals: Float64Array.from(arrivals), isOverload: false };
    arrivals.push(at);
  }
}

/**
 * Draws to choose the constants of `shared/batching/coalescer.ts` and `cost-model.ts` by, and draws that must not be looked
 * at for that: only those are reported. (The constants in force were chosen by earlier draws, which are neither.)
 */
export const tuningSeeds = [1, 2, 3, 4] as const;
export const heldOutSeeds = [101, 211, 307, 401, 503] as const;

/** @param capacity jobs per ms that can be served in time */
export function syntheticTraces(capacity: number, spanMs: number, seed: number): Trace[] {
  const steady = (share: number, draw: number) =>
    poisson(`${100 * share} %`, spanMs, () => share * capacity, seed * 1_000 + draw);
  return [
    steady(0.1, 1),
    // Loads and bursts that no constant was chosen by are there as well: 25 %, 75 %, and others than 2 s in 10 s.
    steady(0.25, 2),
    steady(0.5, 3),
    steady(0.75, 4),
    steady(0.9, 5),
    poisson('bursty', spanMs, (at) => (at % 10_000 < 2_000 ? 0.9 : 0.05) * capacity, seed * 1_000 + 6),
    poisson('bursts of 7 s', spanMs, (at) => (at % 17_000 < 7_000 ? 0.7 : 0.02) * capacity, seed * 1_000 + 7),
  ];
}

/** Ten seconds' worth at once, then nothing. */
export function backlogTrace(capacity: number): Trace {
  return { name: 'backlog', arrivals: new Float64Array(Math.floor(10_000 * capacity)), isOverload: true };
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
    { name: 'Azure', arrivals: asItWas, isOverload: false },
    { name: `Azure × ${speed.toFixed(0)}`, arrivals: asItWas.map((at) => at / speed), isOverload: false },
  ];
}
