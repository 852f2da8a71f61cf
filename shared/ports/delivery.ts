import type { DurationMs } from '../units.ts';

/**
 * One message as a trigger hands it over: the worker settles it once, last. Lambda and Functions handlers build these;
 * nothing in `shared/` knows which cloud is behind one.
 */
export interface Delivery {
  /** As received: text that may be anything. */
  readonly body: unknown;
  /** Times handed out, this one included. */
  readonly deliveryCount: number;
  /** Keeps the lease for `leaseMs` from now; a no-op where the host renews by itself. Never rejects: false if lost. */
  extend(leaseMs: DurationMs): Promise<boolean>;
  /** How it ended. The first call counts. Never rejects; `undefined` where there is nothing to wait for. */
  settle(settlement: Settlement): Promise<unknown> | undefined;
}

/** `complete`: done with it. `giveBack`: again, not before `delayMs`. `deadLetter`: nobody can read it. */
export type Settlement =
  | { kind: 'complete' }
  | { kind: 'giveBack'; delayMs: DurationMs }
  | { kind: 'deadLetter'; reason: string; description: string };
