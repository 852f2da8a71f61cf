import type { z } from 'zod';
import { type Core, ownSite, peersOf } from '../core.ts';
import { withDeadline } from '../ports/deadline.ts';
import type {
  GetOptions,
  ListEntry,
  ObjectStore,
  PutResult,
  StoredObject,
  StoredStream,
} from '../ports/object-store.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId, Stores } from '../ports/site.ts';
import { type FactFault, factBytes, parseFact } from './facts.ts';
import { compareText } from './keys.ts';
import { quarantine } from './quarantine.ts';

/** The part of `Core` that reading and writing facts needs. */
export type JournalCore = Pick<Core, 'self' | 'sites' | 'witness' | 'clock' | 'ids' | 'log' | 'settings'>;

/** Which sites may hold payload (file contents, results, outputs) of something bound to `boundTo`. */
export function payloadSites(core: JournalCore, boundTo: SiteId | null): SiteId[] {
  return boundTo === null ? [...core.sites.keys()] : [boundTo];
}

/** How a write to several sites went; `failed` holds the error of each site that did not take it. */
export interface MirrorOutcome {
  /** Sites where the bytes are now durable. */
  written: SiteId[];
  failed: { site: SiteId; error: unknown }[];
}

/**
 * Puts the same fact into the journals of `sites` (default: all) at once. A fact that is there already counts as
 * written: its key names one value, or an equal one. Every call to another site is bounded by `peerTimeoutMs`.
 */
export async function putEverywhere(
  core: JournalCore,
  key: string,
  bytes: Uint8Array,
  sites: readonly SiteId[] = [...core.sites.keys()],
): Promise<MirrorOutcome> {
  const outcome: MirrorOutcome = { written: [], failed: [] };
  await Promise.all(
    sites.map(async (id) => {
      try {
        await bounded(core, id, (signal) => core.sites.get(id)!.journal.putIfAbsent(key, bytes, { signal }));
        outcome.written.push(id);
      } catch (error) {
        outcome.failed.push({ site: id, error });
      }
    }),
  );
  return outcome;
}

/**
 * Puts a fact into the own journal, then, best effort and bounded, into the others that may hold it.
 * @throws what the own store throws; a peer that does not answer is left to the sweeper
 */
export async function putOwnFirst(
  core: JournalCore,
  key: string,
  bytes: Uint8Array,
  sites: readonly SiteId[] = [...core.sites.keys()],
): Promise<PutResult> {
  const result = sites.includes(core.self)
    ? await ownSite(core).journal.putIfAbsent(key, bytes)
    : ({ status: 'exists' } as const);
  const others = sites.filter((id) => id !== core.self);
  const outcome = await putEverywhere(core, key, bytes, others);
  if (outcome.failed.length > 0 && !sites.includes(core.self)) throw outcome.failed[0]!.error;
  for (const { site, error } of outcome.failed)
    core.log.warn('mirror.failed', { key, site, error: String((error as Error)?.message).slice(0, 200) });
  return result;
}

/** Writes a fact in canonical bytes with `putOwnFirst`. */
export function recordFact(
  core: JournalCore,
  key: string,
  fact: { v: number; kind: string },
  sites?: readonly SiteId[],
): Promise<PutResult> {
  return putOwnFirst(core, key, factBytes(fact), sites);
}

/**
 * The object from the first store that has it: own journal, then the peers'. `undefined` if every store answered and
 * none has it.
 * @throws the last store's error if none has it and not all could be asked
 */
export async function getAnywhere(
  core: JournalCore,
  key: string,
  options: GetOptions = {},
): Promise<StoredObject | undefined> {
  return firstThatHas(core, (store, signal) => store.get(key, { ...options, signal }));
}

/** As `getAnywhere`, streamed. Only the head of the answer is bounded in time, not its body. */
export async function streamAnywhere(
  core: JournalCore,
  key: string,
  options: GetOptions = {},
): Promise<StoredStream | undefined> {
  return firstThatHas(core, (store) => store.getStream(key, options));
}

/**
 * Reads and parses one fact from anywhere. A copy that is not taken is quarantined and reported, and the next store is
 * asked: bytes torn in one store are whole in another. A fault is given where there are only such copies.
 */
export async function readFact<S extends z.ZodType>(
  core: JournalCore,
  schema: S,
  key: string,
  bytesMax?: number,
): Promise<{ fact: z.infer<S>; bytes: Uint8Array } | FactFault | undefined> {
  return takeAnywhere(core, key, (bytes) => {
    const parsed = parseFact(schema, bytes, bytesMax);
    return 'fact' in parsed ? { fact: parsed.fact, bytes } : parsed;
  });
}

/**
 * As `readFact`, for what has a parser of its own.
 * @throws the last store's error if no copy was seen and not all stores could be asked
 */
export async function takeAnywhere<T extends object>(
  core: JournalCore,
  key: string,
  parse: (bytes: Uint8Array) => T | FactFault,
): Promise<T | FactFault | undefined> {
  let fault: FactFault | undefined;
  try {
    const taken = await firstThatHas(core, async (store, signal) => {
      const found = await store.get(key, { signal });
      if (found === undefined) return undefined;
      const parsed = parse(found.bytes);
      if (!('fault' in parsed)) return parsed;
      fault = parsed;
      await quarantine(core, key, fault);
      return undefined;
    });
    return taken ?? fault;
  } catch (error) {
    if (fault === undefined) throw error;
    return fault;
  }
}

/** A key and the sites whose journal was seen to hold it. */
export interface PlacedKey extends Pick<ListEntry, 'key' | 'bytes'> {
  sites: SiteId[];
  /** A site whose list shows another size: the bytes diverged (I5). */
  differsIn?: SiteId;
}

/** `key`, seen in `site` after it was seen elsewhere. */
export function seenIn(key: PlacedKey, site: SiteId, bytes: number): void {
  key.sites.push(site);
  if (key.bytes !== bytes) key.differsIn = site;
}

/**
 * The union of a prefix over the journals of all sites, in key order. A peer that does not answer is left out and named
 * in `unseen`; the own journal must answer.
 */
export async function listEverywhere(
  core: JournalCore,
  prefix: string,
): Promise<{ keys: PlacedKey[]; unseen: SiteId[] }> {
  const unseen: SiteId[] = [];
  const merged = new Map<string, PlacedKey>();
  await Promise.all(
    [...core.sites.values()].map(async (site) => {
      try {
        const entries = await bounded(core, site.id, (signal) =>
          Array.fromAsync(listAll(site.journal, prefix, { signal })),
        );
        for (const entry of entries) {
          const seen = merged.get(entry.key);
          if (seen === undefined) merged.set(entry.key, { key: entry.key, bytes: entry.bytes, sites: [site.id] });
          else seenIn(seen, site.id, entry.bytes);
        }
      } catch (error) {
        if (site.id === core.self) throw error;
        unseen.push(site.id);
      }
    }),
  );
  return { keys: [...merged.values()].sort((a, b) => compareText(a.key, b.key)), unseen };
}

async function firstThatHas<T>(
  core: JournalCore,
  read: (store: ObjectStore, signal: AbortSignal | undefined) => Promise<T | undefined>,
): Promise<T | undefined> {
  let failure: { error: unknown } | undefined;
  for (const { id, journal } of readOrder(core)) {
    try {
      const found = await bounded(core, id, (signal) => read(journal, signal));
      if (found !== undefined) return found;
    } catch (error) {
      failure = { error };
    }
  }
  if (failure !== undefined) throw failure.error;
  return undefined;
}

/**
 * The witness is not asked: it holds no facts but control entries, and a fact that is nowhere must stay a fact that is
 * nowhere when the witness is dark (I13).
 */
function readOrder(core: JournalCore): Stores[] {
  return [ownSite(core), ...peersOf(core)];
}

/** Calls the own site without a bound of ours, anybody else under `peerTimeoutMs`. */
export function bounded<T>(
  core: Pick<Core, 'self' | 'clock' | 'settings'>,
  id: SiteId | 'witness',
  call: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  if (id === core.self) return call(undefined);
  return withDeadline(core.clock, core.settings.peerTimeoutMs, id, call);
}
