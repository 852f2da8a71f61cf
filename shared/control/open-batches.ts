import type { Core } from '../core.ts';
import { isDrillTenant } from '../drill/tenant.ts';
import { isCanary } from '../health/canary-batch.ts';
import { openBatch } from '../health/progress.ts';
import { deadlineOf, readDispatches, viewBatch } from '../journal/batch.ts';
import type { ControlEntry, Receipt } from '../journal/facts.ts';
import { batchOfKey, openPrefix } from '../journal/keys.ts';
import { bounded, type JournalCore } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import { placeOf, servingOf } from '../worker/owner.ts';
import { storesInOrder } from './stores.ts';

/** One open batch, as far as a person who was woken wants to know it. */
export interface OpenBatchLook {
  tenant: string;
  batch: string;
  model: string | null;
  /** Who works it now; `null` where nobody may. */
  owner: SiteId | null;
  /** All lines; 0 before it was planned. */
  lines: number;
  answered: number;
  /** Estimated input tokens of what is left. */
  tokens: number;
  deadline: EpochMs;
  receipt: Receipt;
}

/** What could be read of the open batches. */
export interface OpenBatches {
  batches: OpenBatchLook[];
  /** Open ones that were not looked at, there being so many, or could not be read. */
  unread: number;
}

const parallel = 16;

/**
 * Looks at the open batches, from whichever site's hints can be read. Costs a few reads for each; for people, not ticks.
 * @param limit default 500
 * @throws SiteUnavailableError where no site shows its hints
 */
export async function readOpenBatches(
  core: JournalCore & Pick<Core, 'control' | 'models'>,
  control: ControlEntry,
  limit = 500,
): Promise<OpenBatches> {
  const hints = await readHints(core);
  const looked = hints.slice(0, limit).values();
  const batches: OpenBatchLook[] = [];
  let failed = 0;
  const walk = async () => {
    for (const { tenant, batch } of looked) {
      try {
        const view = await viewBatch(core, tenant, batch);
        if (view === undefined || view.publication !== undefined) continue;
        const place = placeOf(view, await readDispatches(core, view), control, servingOf(core, view));
        const owner = place.isWaiting ? undefined : place.owner;
        const { lines, answered } = openBatch(view, owner ?? core.self) ?? { lines: 0, answered: 0 };
        const tokens = (view.plan?.chunks ?? []).reduce((sum, chunk) => sum + chunk.tokens, 0);
        batches.push({
          tenant,
          batch,
          model: view.plan?.model ?? null,
          owner: owner ?? null,
          lines,
          answered,
          tokens: lines === 0 ? 0 : Math.round((tokens * (lines - answered)) / lines),
          deadline: deadlineOf(view),
          receipt: view.acceptance.receipt,
        });
      } catch {
        failed += 1;
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, walk));
  batches.sort((a, b) => a.deadline - b.deadline || (a.batch < b.batch ? -1 : 1));
  return { batches, unread: Math.max(0, hints.length - limit) + failed };
}

/**
 * Open batches of production, from whichever site's hints can be read.
 * @throws SiteUnavailableError where no site shows them
 */
export async function readHints(core: JournalCore): Promise<{ tenant: string; batch: string }[]> {
  let failure: unknown;
  for (const { id, state } of storesInOrder({ self: core.self, sites: core.sites })) {
    try {
      const entries = await bounded(core, id, (signal) => Array.fromAsync(listAll(state, openPrefix, { signal })));
      return entries
        .flatMap(({ key }) => batchOfKey(key) ?? [])
        .filter(({ tenant }) => !isCanary(tenant) && !isDrillTenant(tenant));
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
