import * as z from 'zod';
import type { Core } from '../core.ts';
import { factVersion, parseFact } from '../journal/facts.ts';
import { canonicalBytes } from '../journal/json.ts';
import { planningKey } from '../journal/keys.ts';
import { bounded } from '../journal/replicas.ts';
import type { PutResult, ReplaceResult } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';

const claimSchema = z.object({ v: z.literal(factVersion), kind: z.literal('claim'), at: z.int(), nonce: z.string() });

/**
 * Runs `task` unless somebody else is at it for the same batch: then gives `undefined`. The claim lies in `state` of one
 * site, for as long as `task` takes; one that is older than a dispatch's lease belongs to somebody who died, and is taken
 * over: clocks of two clouds may be minutes apart.
 *
 * It saves double work and protects nothing: where a clock is more wrong or a task takes longer than that, both run.
 * @throws what the store of `site` throws, and `task`
 */
export async function withClaim<T>(
  core: Pick<Core, 'self' | 'sites' | 'clock' | 'ids' | 'log' | 'settings'>,
  site: SiteId,
  batch: string,
  task: () => Promise<T>,
): Promise<T | undefined> {
  const { state } = core.sites.get(site)!;
  const key = planningKey(batch);
  const now = core.clock.now();
  const claim = canonicalBytes({ v: factVersion, kind: 'claim', at: now, nonce: core.ids.uuid() });
  const put = await bounded(core, site, async (signal): Promise<PutResult | ReplaceResult> => {
    const first = await state.putIfAbsent(key, claim, { signal });
    if (first.status === 'created') return first;
    const found = await state.get(key, { signal });
    if (found === undefined) return state.putIfAbsent(key, claim, { signal });
    const parsed = parseFact(claimSchema, found.bytes);
    const isHeld = 'fact' in parsed && Math.abs(now - parsed.fact.at) < core.settings.dispatchLeaseMs;
    return isHeld ? first : state.putIfMatch(key, claim, found.etag, { signal });
  });
  if (!('etag' in put)) return undefined;
  try {
    return await task();
  } finally {
    // What was done is done. A claim that stays is in nobody's way for longer than that lease.
    await bounded(core, site, (signal) => state.delete(key, { signal })).catch((error) =>
      core.log.debug('claim.left', { batch, error: String((error as Error)?.message).slice(0, 200) }),
    );
  }
}
