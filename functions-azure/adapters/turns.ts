let last: Promise<void> = Promise.resolve();

/**
 * Resolves in a turn of the event loop that no other caller gets. To be awaited before each settlement: `rhea`, inside
 * the SDK, joins neighbouring dispositions of one turn without comparing their outcomes, so that an abandoned message
 * next to a completed one would be completed, too.
 * @source rhea 3.0.5, lib/session.js (`write_dispositions`), seen with `@azure/service-bus` 7.9.5, 2026-11
 */
export function ownTurn(): Promise<void> {
  last = last.then(() => new Promise((resolve) => setImmediate(resolve)));
  return last;
}
