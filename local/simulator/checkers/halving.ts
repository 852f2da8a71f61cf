import { dispatchSchema } from '../../../shared/journal/facts.ts';
import { batchOfKey } from '../../../shared/journal/keys.ts';
import type { World } from '../world.ts';
import { factOf } from './journal.ts';
import type { Judge } from './judge.ts';

/** A batch of n lines can be halved n - 1 times; more often only where its pointers were lost, or were sent anew. */
const timesOver = 4;

/**
 * I9: a range that kills its workers is halved, and not once for each copy of its pointer: with stores and queues half
 * broken there are many of these, and the copies of their halves would be twice as many.
 */
export function halvingIsBounded({ record }: World): Judge {
  const batches = new Map<string, { lines: number; split: Set<string> }>();
  return {
    watcher: {
      created({ container }, key, bytes) {
        if (container !== 'journal' || !key.includes('/dispatches/')) return;
        const parsed = factOf(dispatchSchema, bytes);
        const batch = batchOfKey(key)?.batch;
        if ('fault' in parsed || batch === undefined) return;
        const seen = batches.get(batch) ?? { lines: 0, split: new Set() };
        batches.set(batch, seen);
        seen.lines = Math.max(seen.lines, ...parsed.fact.ranges.map(([first, count]) => first + count));
        if (parsed.fact.reason !== 'split' || seen.split.has(key)) return;
        seen.split.add(key);
        if (seen.split.size === timesOver * seen.lines + 1)
          record.violated('I9', `${batch} of ${seen.lines} lines was halved more than ${timesOver * seen.lines} times`);
      },
    },
  };
}
