import * as z from 'zod';
import type { Core } from '../core.ts';
import { FactMemo } from '../journal/fact-memo.ts';
import { factVersion } from '../journal/facts.ts';
import { canonicalBytes } from '../journal/json.ts';
import { observationKey, observationsPrefix, observerPattern, sitePattern } from '../journal/keys.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { Stores } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import { breakerNoteSchema } from './breaker-note.ts';
import {
  causes,
  type HealthProfile,
  type Observation,
  profileOf,
  type SeenObservation,
  signals,
  windowMs,
} from './types.ts';

/** What reading and writing observations needs of `Core`. */
export type ObservationCore = Pick<Core, 'sites' | 'witness' | 'clock' | 'log' | 'settings'>;

const at = z.number().int().min(0).max(8.64e15);
const site = z.string().regex(sitePattern);
const observer = z.string().regex(observerPattern);
const text = z.string().max(2000);

const verdictSchema = z.object({
  site,
  health: z.enum(['healthy', 'degraded', 'down', 'unknown']),
  causes: z.array(z.enum(causes)).max(20),
  models: z.array(z.string().max(200)).max(1000),
  since: at,
  at,
  evidence: z.array(text).max(10),
  flaps: z.int().min(0),
  holdUntil: at,
  changes: z.array(at).max(100).optional(),
});

const readingSchema = z.object({
  observer,
  /** A site, or the witness. */
  site,
  signal: z.enum(signals),
  subject: z.string().max(500).optional(),
  at,
  outcome: z.enum(['ok', 'failed', 'unknown']),
  latencyMs: z.number().min(0).optional(),
  code: z.string().max(64).optional(),
});

const observationSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('observation'),
  observer,
  home: site.nullable(),
  at,
  trustsItself: z.boolean(),
  verdicts: z.array(verdictSchema).max(100),
  backlog: z
    .array(
      z.object({
        site,
        model: z.string().max(200),
        openLines: z.int().min(0),
        oldestMs: z.number(),
        answeredOfLate: z.int().min(0),
      }),
    )
    .max(10_000),
  // A later form of it, which this process does not know, must not cost it the rest.
  breakers: z.array(breakerNoteSchema).max(200).optional().catch(undefined),
  readings: z.array(readingSchema).max(1000).optional(),
});

/** By observer: what it said last, and when *our* clock first saw that: two clocks may be minutes apart. */
export type SeenBefore = Map<string, { at: EpochMs; seenAt: EpochMs }>;

/**
 * The latest observation of every observer, from every store that answers, the witness too; newest wins. What does not
 * parse is left out. Silence is measured from when this process first saw the observation, or, where `seen` does not
 * know it, from the moment that it carries itself.
 * @param names observers to ask for; default: all that any store lists
 */
export async function readObservations(
  core: ObservationCore,
  seen: SeenBefore = new Map(),
  names?: readonly string[],
): Promise<SeenObservation[]> {
  const stores = storesOf(core);
  const asked = names ?? (await listObservers(core));
  const found = await Promise.all(
    stores.flatMap((store) => asked.map(async (name) => ({ store: store.id, read: await readOne(core, store, name) }))),
  );
  const now = core.clock.now();
  const profile = profileOf(core.settings);
  const newest = new Map<string, SeenObservation>();
  for (const { store, read } of found) {
    if (read === undefined) continue;
    const known = newest.get(read.observer);
    if (known !== undefined && known.observation.at > read.at) continue;
    if (known?.observation.at === read.at) known.stores.push(store);
    else newest.set(read.observer, { observation: read, stale: isStale(read, seen, now, profile), stores: [store] });
  }
  return [...newest.values()].sort((a, b) => (a.observation.observer < b.observation.observer ? -1 : 1));
}

/** Names of all observers that ever wrote to a store that answers. */
export async function listObservers(core: ObservationCore): Promise<string[]> {
  const lists = await Promise.all(
    storesOf(core).map((store) =>
      // Every object below `observations/` is ours, and there are a few for each observer: one page holds them.
      bounded(core, store, (signal) => store.state.list(observationsPrefix, { signal })).catch(() => undefined),
    ),
  );
  const names = lists.flatMap(
    (page) => page?.entries.flatMap(({ key }) => /^observations\/([^/]+)\.json$/.exec(key)?.[1] ?? []) ?? [],
  );
  return [...new Set(names)].filter((name) => observerPattern.test(name)).sort();
}

function isStale(read: Observation, seen: SeenBefore, now: EpochMs, profile: HealthProfile): boolean {
  const before = seen.get(read.observer);
  const seenAt = before === undefined ? Math.min(read.at, now) : before.at === read.at ? before.seenAt : now;
  seen.set(read.observer, { at: read.at, seenAt });
  return now - seenAt > windowMs(profile);
}

/** Three stores show the same, and at most ticks nothing new. */
const observations = new FactMemo(observationSchema);

async function readOne(core: ObservationCore, store: Stores, name: string): Promise<Observation | undefined> {
  try {
    const found = await bounded(core, store, (signal) => store.state.get(observationKey(name), { signal }));
    if (found === undefined) return undefined;
    const read = observations.parse(found.bytes);
    if ('fault' in read)
      core.log.warn('observation.unreadable', { observer: name, store: store.id, detail: read.detail });
    return 'fact' in read && read.fact.observer === name ? read.fact : undefined;
  } catch {
    return undefined;
  }
}

/** How writing to one store went. */
export interface Written {
  store: string;
  error?: unknown;
}

/**
 * Writes an observation to every store, over whatever this observer wrote there before; the last writer wins. Never
 * rejects: where it went, and where not, is news in itself.
 * @param etags by store, what this process left there last; kept up to date
 */
export async function writeObservation(
  core: ObservationCore,
  observation: Observation,
  etags: Map<string, string>,
): Promise<Written[]> {
  const bytes = canonicalBytes(observation);
  return Promise.all(
    storesOf(core).map(async (store): Promise<Written> => {
      try {
        await bounded(core, store, (signal) => replace(store, observation.observer, bytes, etags, signal));
        return { store: store.id };
      } catch (error) {
        // Whether it was written is not known: look before the next time.
        etags.delete(store.id);
        return { store: store.id, error };
      }
    }),
  );
}

async function replace(
  { id, state }: Stores,
  name: string,
  bytes: Uint8Array,
  etags: Map<string, string>,
  signal: AbortSignal,
): Promise<void> {
  const key = observationKey(name);
  // A few times: another process of the same observer (an invocation that overlaps) writes as often as we do.
  for (let round = 0; round < 3; round++) {
    const etag = etags.get(id) ?? (await state.head(key, { signal }))?.etag;
    const put =
      etag === undefined
        ? await state.putIfAbsent(key, bytes, { signal })
        : await state.putIfMatch(key, bytes, etag, { signal });
    if ('etag' in put) {
      etags.set(id, put.etag);
      return;
    }
    etags.delete(id);
  }
}

/** Every store that holds observations, the witness last. */
function storesOf({ sites, witness }: ObservationCore): Stores[] {
  return witness === undefined ? [...sites.values()] : [...sites.values(), witness];
}

function bounded<T>(core: ObservationCore, store: Stores, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  return withDeadline(core.clock, core.settings.peerTimeoutMs, store.id, call);
}
