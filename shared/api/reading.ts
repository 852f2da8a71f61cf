import { SiteUnavailableError } from '../errors.ts';
import type { CallOptions, ObjectStore, StateStore } from '../ports/object-store.ts';
import type { Site } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { ApiCore } from './placement.ts';

/** How long a peer that timed out is left alone. */
const pauseMs: DurationMs = 10_000;

/**
 * The core as reading requests use it: a peer whose read timed out is not asked again for ten seconds. A status page
 * reads dozens of facts, and one dark cloud must not cost a time-out for each. Nothing is decided by such reads: intake
 * and deletion ask for themselves.
 */
export function readingCore(core: ApiCore): ApiCore {
  const sites = [...core.sites].map(([id, site]) => [id, id === core.self ? site : withPause(core, site)] as const);
  return { ...core, sites: new Map(sites) };
}

function withPause(core: ApiCore, site: Site): Site {
  let pausedUntil: EpochMs = 0;
  const read = <T>(options: CallOptions | undefined, call: () => Promise<T>): Promise<T> => {
    if (core.clock.now() < pausedUntil)
      return Promise.reject(new SiteUnavailableError('paused', `${site.id} timed out a moment ago`, site.id));
    options?.signal?.addEventListener(
      'abort',
      () => {
        pausedUntil = core.clock.now() + pauseMs;
      },
      { once: true },
    );
    return call();
  };
  const reads = (store: ObjectStore) => ({
    get: ((key, options) => read(options, () => store.get(key, options))) as ObjectStore['get'],
    getStream: ((key, options) => read(options, () => store.getStream(key, options))) as ObjectStore['getStream'],
    head: ((key, options) => read(options, () => store.head(key, options))) as ObjectStore['head'],
    list: ((prefix, options) => read(options, () => store.list(prefix, options))) as ObjectStore['list'],
  });
  const journal: ObjectStore = { ...delegate(site.journal), ...reads(site.journal) };
  const state: StateStore = {
    ...delegate(site.state),
    ...reads(site.state),
    putIfMatch: site.state.putIfMatch.bind(site.state),
  };
  return { id: site.id, cloud: site.cloud, intake: site.intake, work: site.work, journal, state };
}

/** The writing half, as it is: stores may be class instances or proxies, which a spread would lose. */
function delegate(store: ObjectStore): Pick<ObjectStore, 'name' | 'putIfAbsent' | 'putStreamIfAbsent' | 'delete'> {
  return {
    name: store.name,
    putIfAbsent: (key, body, options) => store.putIfAbsent(key, body, options),
    putStreamIfAbsent: (key, body, options) => store.putStreamIfAbsent(key, body, options),
    delete: (key, options) => store.delete(key, options),
  };
}
