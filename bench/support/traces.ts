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

/** @param capacity jobs per ms that can be served in time */
export function syntheticTraces(capacity: number, spanMs: number): Trace[] {
  return [
    poisson('10 %', spanMs, () => 0.1 * capacity, 1),
    poisson('50 %', spanMs, () => 0.5 * capacity, 2),
    poisson('90 %', spanMs, () => 0.9 * capacity, 3),
    poisson('bursty', spanMs, (at) => (at % 10_000 < 2_000 ? 0.9 : 0.05) * capacity, 4),
    // Ten seconds' worth at once, then nothing.
    { name: 'backlog', arrivals: new Float64Array(Math.floor(10_000 * capacity)), isOverload: true },
  ];
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
