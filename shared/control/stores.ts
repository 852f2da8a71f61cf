import type { Core } from '../core.ts';
import { controlPrefix } from '../journal/keys.ts';
import type { JournalCore } from '../journal/replicas.ts';
import { withDeadline } from '../ports/deadline.ts';
import { listAll, type ObjectStore } from '../ports/object-store.ts';
import type { Stores } from '../ports/site.ts';

/** What the control log needs of `Core`: everything but the view that it provides. */
export type ControlCore = JournalCore & Pick<Core, 'random'>;

/** The own store first, the witness last. */
export function storesInOrder(core: Pick<Core, 'self' | 'sites' | 'witness'>): Stores[] {
  const sites = [...core.sites.values()].sort((a, b) => Number(b.id === core.self) - Number(a.id === core.self));
  return core.witness === undefined ? sites : [...sites, core.witness];
}

/** One bounded call of a journal, the own one included: a view must not hang on a store that is black-holed. */
export function call<T>(
  core: Pick<Core, 'clock' | 'settings'>,
  stores: Stores,
  run: (journal: ObjectStore, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withDeadline(core.clock, core.settings.peerTimeoutMs, stores.id, (signal) => run(stores.journal, signal));
}

/** Epochs of the entries in one journal, ascending. Solo entries have names of their own and do not count. */
export async function epochsIn(core: ControlCore, stores: Stores): Promise<number[]> {
  const entries = await call(core, stores, (journal, signal) =>
    Array.fromAsync(listAll(journal, controlPrefix, { signal })),
  );
  return entries.flatMap(({ key }) => {
    const epoch = /^control\/(\d{8})\.json$/.exec(key)?.[1];
    return epoch === undefined ? [] : [Number(epoch)];
  });
}
