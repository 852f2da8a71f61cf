import type { Knobs } from '../../local/simulator/knobs.ts';

/** Short runs: what a seed does in a day it tries here in minutes. */
export const short: Partial<Knobs> = {
  hours: 0.12,
  tickMs: 60_000,
  batches: 2,
  linesMax: 6,
  chunkLines: 3,
  observer: false,
};
