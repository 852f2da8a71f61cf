import type { DurationMs, EpochMs } from '../units.ts';

/** Time, passed in. The shell uses the machine's; tests and the simulator move their own. */
export interface Clock {
  now(): EpochMs;
  /** Resolves after `ms` (≥ 0) of this clock; rejects with the signal's reason when aborted. */
  sleep(ms: DurationMs, signal?: AbortSignal): Promise<void>;
}
