import type { ControlEntry } from '../journal/facts.ts';
import { type ControlCore, readEntry } from './log.ts';
import { epochsToRead } from './plan.ts';

/** Entries read at once. */
const parallel = 16;
/** Decided entries never change, so each process reads each of them once. */
const known = new WeakMap<ControlCore['sites'], Map<number, ControlEntry>>();

/**
 * Entries before `control`, latest first: those that rules and `decide` look back on, or all of them. What no store that
 * answers holds is left out.
 * @param whole all, so that an operation is recognised however long ago it was; default false
 */
export async function readPast(
  core: ControlCore,
  control: ControlEntry,
  { whole = false }: { whole?: boolean } = {},
): Promise<ControlEntry[]> {
  const memory = known.get(core.sites) ?? new Map<number, ControlEntry>();
  known.set(core.sites, memory);
  const epochs = whole ? Array.from({ length: control.epoch - 1 }, (_, i) => i + 1) : epochsToRead(control);
  const missing = epochs.filter((epoch) => !memory.has(epoch)).values();
  const walk = async () => {
    for (const epoch of missing) {
      const found = await readEntry(core, epoch);
      if (found !== undefined) memory.set(epoch, found.entry);
    }
  };
  await Promise.all(Array.from({ length: parallel }, walk));
  return epochs.flatMap((epoch) => memory.get(epoch) ?? []).sort((a, b) => b.epoch - a.epoch);
}
