import type { DurationMs, EpochMs } from '../units.ts';

/** Time, passed in. The shell uses the machine's; tests and the simulator move their own. */
export interface Clock {
  now(): EpochMs;
  /** Resolves after `ms` (≥ 0) of this clock; rejects with the signal's reason when aborted. */
  sleep(ms: DurationMs, signal?: AbortSignal): Promise<void>;
  /**
   * Calls `run` once, after `ms`, unless what it returns was called before: a sleep that is mostly cut short costs less
   * this way. Absent: whoever needs it sleeps.
   */
  after?(ms: DurationMs, run: () => void): () => void;
}
