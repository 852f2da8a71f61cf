import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../shared/ports/clock.ts';
import type { Ids, Random } from '../shared/ports/random.ts';

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    sleep(ms, undefined, { signal }).catch((error: unknown) => {
      // Node rejects with an AbortError of its own; callers are promised the signal's reason.
      throw signal?.aborted ? signal.reason : error;
    }),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

export const systemRandom: Random = Math.random;

export const systemIds: Ids = { uuid: () => randomBytes(16).toString('hex') };
