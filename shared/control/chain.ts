import { InvariantError } from '../errors.ts';
import { FactMemo } from '../journal/fact-memo.ts';
import { type ControlEntry, controlSchema, type FactFault } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';

/** An entry together with its bytes: the hash of the next one is over bytes, not over what we understood of them. */
export interface LearnedEntry {
  entry: ControlEntry;
  bytes: Uint8Array;
}

/** Entries as they were parsed: each process reads the latest again whenever it looks, from every store. */
export const controlEntries = new FactMemo(controlSchema);

/** Parses the entry of `epoch` and holds it against its predecessor (`undefined` for entry 1). Never throws. */
export function parseLink(
  epoch: number,
  bytes: Uint8Array,
  previous: Uint8Array | undefined,
): LearnedEntry | FactFault {
  const parsed = controlEntries.parse(bytes);
  if ('fault' in parsed) return parsed;
  const entry = parsed.fact;
  if (entry.epoch !== epoch) return { fault: 'invalid', detail: `epoch ${entry.epoch} stands at ${epoch}` };
  const hash = previous === undefined ? null : sha256(previous);
  if (entry.previous !== hash) return { fault: 'invalid', detail: `entry ${epoch} does not follow the one before it` };
  return { entry, bytes };
}

/**
 * Verifies a whole log, entry 1 first: no gap, every entry names the hash of the one before it, entry 1 names none.
 * @returns the first fault, or `undefined` if the chain holds
 */
export function verifyChain(entries: readonly Uint8Array[]): { epoch: number; fault: FactFault } | undefined {
  for (const [i, bytes] of entries.entries()) {
    const link = parseLink(i + 1, bytes, entries[i - 1]);
    if ('fault' in link) return { epoch: i + 1, fault: link };
  }
  return undefined;
}

/**
 * What holds in every entry, whoever wrote it; safety rules, which a person may override, come on top.
 * @throws InvariantError naming what does not hold
 */
export function assertControl(next: ControlEntry, previous: ControlEntry | undefined): void {
  const sites = Object.entries(next.sites);
  const broken = (code: string, detail: string) => {
    throw new InvariantError(code, `control ${next.epoch}: ${detail}`);
  };
  if (!sites.some(([, { state }]) => state === 'active')) broken('no_active_site', 'it would leave no site active');
  if (new Set(next.voters.map(({ store }) => store)).size !== 3) broken('voters_invalid', 'two votes in one store');
  for (const [id, site] of sites) {
    const before = previous?.sites[id];
    if (site.fencedEpoch > next.epoch || site.fencedEpoch < (before?.fencedEpoch ?? 0))
      broken('fence_invalid', `${id} cannot have been fenced last by epoch ${site.fencedEpoch}`);
    if (site.state === 'fenced' && before?.state !== 'fenced' && site.fencedEpoch !== next.epoch)
      broken('fence_invalid', `${id} is fenced by this very entry, not by epoch ${site.fencedEpoch}`);
  }
}
