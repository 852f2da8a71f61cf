import { type Core, peersOf } from '../core.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { bounded } from '../journal/replicas.ts';
import type { LeasedMessage, Queue } from '../ports/queue.ts';
import type { Site } from '../ports/site.ts';
import { parsePointer } from '../worker/pointers.ts';

const receivedAtOnce = 100;

/**
 * Takes stale pointers off the queues of fenced sites that still answer, so that they come back to empty queues. Nothing
 * depends on it: their own workers forget stale pointers, too (F34). What is not surely stale is put back.
 * @param budget messages looked at per queue
 * @returns pointers taken off
 */
export async function drainStale(core: Core, control: ControlEntry, budget = 500): Promise<number> {
  const fenced = peersOf(core).filter(({ id }) => control.sites[id]?.state === 'fenced');
  const queues = fenced.flatMap((site) => [drain(core, control, site, 'intake'), drain(core, control, site, 'work')]);
  const taken = await Promise.all(
    queues.map(async (drainOne) => {
      try {
        return await drainOne(budget);
      } catch {
        return 0;
      }
    }),
  );
  return taken.reduce((sum, one) => sum + one, 0);
}

function drain(core: Core, control: ControlEntry, site: Site, kind: 'intake' | 'work') {
  const queue: Queue = site[kind];
  const { fencedEpoch } = control.sites[site.id]!;
  const isStale = ({ body }: LeasedMessage) => {
    const parsed = parsePointer(body);
    // Not by the state of the site: it may be active again under an entry that we have not learned.
    return 'fact' in parsed && parsed.fact.epoch < fencedEpoch;
  };
  const settle = (message: LeasedMessage, stale: boolean) =>
    bounded(core, site.id, (signal) =>
      stale ? queue.complete(message, { signal }) : queue.giveBack(message, 0, { signal }),
    );
  return async (budget: number): Promise<number> => {
    let taken = 0;
    for (let looked = 0; looked < budget; ) {
      const max = Math.min(receivedAtOnce, budget - looked);
      const messages = await bounded(core, site.id, (signal) => queue.receive({ max, signal }));
      if (messages.length === 0) break;
      looked += messages.length;
      const stale = messages.map(isStale);
      await Promise.all(messages.map((message, i) => settle(message, stale[i]!)));
      taken += stale.filter(Boolean).length;
      // What was put back would come again at once.
      if (stale.includes(false)) break;
    }
    return taken;
  };
}
