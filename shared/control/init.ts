import { ConfigError } from '../errors.ts';
import { type ControlEntry, factBytes, factVersion } from '../journal/facts.ts';
import { canonicalJson, equalBytes } from '../journal/json.ts';
import { controlKey } from '../journal/keys.ts';
import type { Stores } from '../ports/site.ts';
import { assertControl, parseLink } from './chain.ts';
import { type ControlCore, call, epochsIn, storesInOrder } from './stores.ts';
import { verifyWitness } from './witness.ts';

/** What the first entry says. Every site starts active. */
export interface FirstEntry {
  /** `weight`: share of new batches, default equal shares. */
  sites: Record<string, { cloud: 'aws' | 'azure'; region: string; generation?: number; weight?: number }>;
  /** Three; `incarnation` is new for every store that was ever emptied or restored. */
  voters: { store: string; incarnation: string }[];
  actor: string;
  reason: string;
}

/**
 * Writes the same `control/1` to the journals of all sites and of the witness, all of which must answer. Run again, or
 * by two people at once, it ends with the one entry that was written first, as long as both wanted the same sites and
 * voters.
 * The witness has to prove itself each time (`verifyWitness`).
 * @throws ConfigError `witness` for a store that ignores conditions; `control` where another entry 1 stands; where the log has gone on and a store has lost it: such a
 * store may vote only under a new incarnation, which takes a control entry, not this
 */
export async function initControl(core: ControlCore, wanted: FirstEntry): Promise<ControlEntry> {
  if (core.witness !== undefined) await verifyWitness(core.witness, core.ids);
  const stores = storesInOrder(core).sort((a, b) => (a.id < b.id ? -1 : 1));
  const held = await Promise.all(stores.map((one) => epochsIn(core, one)));
  const longest = Math.max(0, ...held.flat());
  for (const [i, epochs] of held.entries())
    if (longest > 1 && !epochs.includes(1))
      throw refused(`${stores[i]!.id} holds no entry 1, but entry ${longest} stands elsewhere: its store was emptied`);
  const draft = firstEntry(core, wanted);
  // One after the other, in an order that everybody shares: whoever is first at the first store has written the log.
  let bytes = await standing(core, stores, draft);
  for (const one of stores) bytes = await put(core, one, bytes, draft, one === stores[0]);
  return sameWish(bytes, draft, 'control');
}

function firstEntry(core: ControlCore, wanted: FirstEntry): ControlEntry {
  const ids = Object.keys(wanted.sites);
  const entry: ControlEntry = {
    v: factVersion,
    kind: 'control',
    epoch: 1,
    previous: null,
    at: core.clock.now(),
    actor: wanted.actor,
    reason: wanted.reason,
    operation: core.ids.uuid(),
    evidence: [],
    forced: [],
    sites: Object.fromEntries(
      ids.map((id) => {
        const { cloud, region, generation = 1, weight = Math.floor(100 / ids.length) } = wanted.sites[id]!;
        return [id, { cloud, region, generation, state: 'active' as const, weight, fencedEpoch: 0 }];
      }),
    ),
    voters: wanted.voters,
    frozen: false,
    moves: [],
  };
  const parsed = parseLink(1, factBytes(entry), undefined);
  if ('fault' in parsed) throw refused(parsed.detail);
  assertControl(entry, undefined);
  for (const { store } of wanted.voters)
    if (store !== 'witness' && !core.sites.has(store)) throw refused(`voter ${store} is not a configured site`);
  return entry;
}

/** The bytes that some store holds already, else the draft's. */
async function standing(core: ControlCore, stores: Stores[], draft: ControlEntry): Promise<Uint8Array> {
  for (const one of stores) {
    const found = await call(core, one, (journal, signal) => journal.get(controlKey(1), { signal }));
    if (found !== undefined) return found.bytes;
  }
  return factBytes(draft);
}

/** The bytes that stand in the store afterwards. */
async function put(
  core: ControlCore,
  one: Stores,
  bytes: Uint8Array,
  draft: ControlEntry,
  isFirst: boolean,
): Promise<Uint8Array> {
  const key = controlKey(1);
  const written = await call(core, one, (journal, signal) => journal.putIfAbsent(key, bytes, { signal }));
  if (written.status === 'created') return bytes;
  const found = await call(core, one, (journal, signal) => journal.get(key, { signal }));
  if (found === undefined || equalBytes(found.bytes, bytes)) return bytes;
  sameWish(found.bytes, draft, one.id);
  // Whoever was first at the first store has begun the log, and we go on with theirs; anywhere else there would be two.
  if (!isFirst || !equalBytes(bytes, factBytes(draft)))
    throw refused(`${one.id} holds another entry 1 than the other stores`);
  return found.bytes;
}

function sameWish(bytes: Uint8Array, draft: ControlEntry, where: string): ControlEntry {
  const parsed = parseLink(1, bytes, undefined);
  if ('fault' in parsed) throw refused(`entry 1 in ${where} cannot be read: ${parsed.detail}`);
  const wish = ({ sites, voters }: ControlEntry) =>
    canonicalJson({ sites, voters: [...voters].sort((a, b) => (a.store < b.store ? -1 : 1)) });
  if (wish(parsed.entry) !== wish(draft))
    throw refused(`another entry 1 stands in ${where}, for other sites or voters`);
  return parsed.entry;
}

const refused = (message: string) => new ConfigError('control', message);
