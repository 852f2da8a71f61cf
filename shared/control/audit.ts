import type { FactFault } from '../journal/facts.ts';
import { equalBytes } from '../journal/json.ts';
import { controlKey } from '../journal/keys.ts';
import { verifyChain } from './chain.ts';
import { type ControlCore, call, epochsIn, storesInOrder } from './stores.ts';

/** What is wrong with the log in one store. */
export interface ChainFault {
  store: string;
  epoch: number;
  fault: FactFault;
}

/**
 * Reads the whole control log of every store that answers and verifies it (I12): the chain within each store, and equal
 * bytes between them, so that whoever rewrites both clouds is betrayed by the witness.
 * @returns faults, and the stores that did not answer
 */
export async function auditControl(core: ControlCore): Promise<{ faults: ChainFault[]; unseen: string[] }> {
  const unseen: string[] = [];
  /** By epoch, what each store holds. A store that lacks an entry is late, not wrong. */
  const held = new Map<number, [store: string, bytes: Uint8Array][]>();
  for (const stores of storesInOrder(core)) {
    try {
      for (const epoch of await epochsIn(core, stores)) {
        const found = await call(core, stores, (journal, signal) => journal.get(controlKey(epoch), { signal }));
        if (found !== undefined) held.set(epoch, [...(held.get(epoch) ?? []), [stores.id, found.bytes]]);
      }
    } catch {
      unseen.push(stores.id);
    }
  }
  const faults: ChainFault[] = [];
  const last = Math.max(0, ...held.keys());
  const log = Array.from(
    { length: last },
    (_, i) => held.get(i + 1)?.[0] ?? (['every store', new Uint8Array()] as const),
  );
  const broken = verifyChain(log.map(([, bytes]) => bytes));
  if (broken !== undefined) faults.push({ store: log[broken.epoch - 1]![0], ...broken });
  for (const [epoch, [reference, ...others]] of held)
    for (const [store, bytes] of others)
      if (!equalBytes(bytes, reference![1]))
        faults.push({ store, epoch, fault: { fault: 'invalid', detail: `differs from ${reference![0]}` } });
  return { faults, unseen };
}
