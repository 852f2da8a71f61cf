import { SiteUnavailableError } from '../errors.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { CallOptions, ListPage, ObjectStore, StateStore } from '../ports/object-store.ts';
import type { Site } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { ApiCore } from './placement.ts';

/** How long a peer that timed out is left alone. */
const pauseMs: DurationMs = 10_000;

/**
 * The core as the front door uses it, so that a voter which is not needed changes no answer when it is gone (I13): the
 * witness is not asked at all, since nothing that a client may read lies there alone; and a fenced site that does not
 * answer is taken to hold nothing. A missing file is a 404 and a wrong key a 401, whoever is dark.
 */
export function frontCore(core: ApiCore): ApiCore {
  return { ...core, witness: undefined, sites: mapPeers(core, (site) => aroundReads(site, tolerant(core, site))) };
}

/** A fenced site is given half of what its caller waits, and is then left alone for a while. */
function tolerant(core: ApiCore, site: Site): Around {
  let pausedUntil: EpochMs = 0;
  return async (_options, call, absent) => {
    const control = await core.control.current().catch(() => undefined);
    if (control?.sites[site.id]?.state !== 'fenced') return call();
    if (core.clock.now() < pausedUntil) return absent;
    try {
      return await withDeadline(core.clock, core.settings.peerTimeoutMs / 2, site.id, call);
    } catch {
      pausedUntil = core.clock.now() + pauseMs;
      return absent;
    }
  };
}

/**
 * The core as reading requests use it: a peer whose read timed out is not asked again for ten seconds. A status page
 * reads dozens of facts, and one dark cloud must not cost a time-out for each. Nothing is decided by such reads: intake
 * and deletion ask for themselves.
 */
export function readingCore(core: ApiCore): ApiCore {
  return { ...core, sites: mapPeers(core, (site) => aroundReads(site, pausing(core, site))) };
}

function pausing(core: ApiCore, site: Site): Around {
  let pausedUntil: EpochMs = 0;
  return async (options, call) => {
    if (core.clock.now() < pausedUntil)
      throw new SiteUnavailableError('paused', `${site.id} timed out a moment ago`, site.id);
    const pause = () => {
      pausedUntil = core.clock.now() + pauseMs;
    };
    options?.signal?.addEventListener('abort', pause, { once: true });
    return call();
  };
}

/** What surrounds a read; `absent` is what it gives where there is nothing. */
type Around = <T>(options: CallOptions | undefined, call: () => Promise<T>, absent: T) => Promise<T>;

function mapPeers(core: ApiCore, wrap: (site: Site) => Site): ReadonlyMap<string, Site> {
  return new Map([...core.sites].map(([id, site]) => [id, id === core.self ? site : wrap(site)]));
}

function aroundReads({ id, cloud, intake, work, journal, state }: Site, around: Around): Site {
  const wrapped: StateStore = {
    ...aroundStore(state, around),
    putIfMatch: (key, body, etag, options) => state.putIfMatch(key, body, etag, options),
  };
  return { id, cloud, intake, work, journal: aroundStore(journal, around), state: wrapped };
}

function aroundStore(store: ObjectStore, around: Around): ObjectStore {
  const noKeys: ListPage = { entries: [], more: false };
  return {
    name: store.name,
    putIfAbsent: (key, body, options) => store.putIfAbsent(key, body, options),
    putStreamIfAbsent: (key, body, options) => store.putStreamIfAbsent(key, body, options),
    delete: (key, options) => store.delete(key, options),
    get: (key, options) => around(options, () => store.get(key, options), undefined),
    getStream: (key, options) => around(options, () => store.getStream(key, options), undefined),
    head: (key, options) => around(options, () => store.head(key, options), undefined),
    list: (prefix, options) => around(options, () => store.list(prefix, options), noKeys),
  };
}
