import type { Clock } from '../ports/clock.ts';
import type { Delivery } from '../ports/delivery.ts';
import type { DurationMs } from '../units.ts';

/**
 * Runs `task` while the delivery's lease is cut to `leaseMs` at once and renewed every third of it. A lease that is lost
 * stops the renewing and nothing else: whoever works the message twice writes a second candidate, and one is chosen.
 */
export async function withLease<T>(
  clock: Clock,
  delivery: Delivery,
  leaseMs: DurationMs,
  task: () => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const renew = async () => {
    while (!end.signal.aborted && (await delivery.extend(leaseMs))) await clock.sleep(leaseMs / 3, end.signal);
  };
  renew().catch(() => {});
  try {
    return await task();
  } finally {
    end.abort('over');
  }
}
