import type { Core } from '../core.ts';
import { type BatchView, viewBatchOrWait } from '../journal/batch.ts';
import type { EpochMs } from '../units.ts';

/** What a worker needs to know of a batch besides its own lines. */
export type WatchedBatch = Pick<BatchView, 'manifest' | 'acceptance' | 'plan' | 'tenant' | 'batch'> & {
  /** Cancelled or published: no line of it is worth a model call any more. */
  isOver: boolean;
};

const watchMs = 15_000;
const watchedMax = 500;
type Cache = Map<string, { at: EpochMs; view: Promise<WatchedBatch | undefined> }>;
const caches = new WeakMap<Core, Cache>();

/**
 * One look at a batch serves every chunk of it that this process works within 15 s: a look costs a LIST in each store,
 * and a batch may have a thousand chunks. A cancellation is therefore seen up to 15 s late, which costs model calls and
 * nothing else.
 */
export function watchBatch(core: Core, tenant: string, batch: string): Promise<WatchedBatch | undefined> {
  const cache = caches.get(core) ?? (new Map() as Cache);
  caches.set(core, cache);
  const now = core.clock.now();
  const known = cache.get(batch);
  if (known !== undefined && now - known.at < watchMs) return known.view;
  const view = viewBatchOrWait(core, tenant, batch).then((found) =>
    found === undefined
      ? undefined
      : {
          tenant,
          batch,
          manifest: found.manifest,
          acceptance: found.acceptance,
          plan: found.plan,
          isOver: found.publication !== undefined || found.cancelKeys.length > 0,
        },
  );
  view.catch(() => cache.delete(batch));
  cache.delete(batch);
  cache.set(batch, { at: now, view });
  if (cache.size > watchedMax) cache.delete(cache.keys().next().value!);
  return view;
}
