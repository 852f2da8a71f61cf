import { acceptanceSchema } from '../journal/facts.ts';
import {
  acceptancesPrefix,
  batchIdPattern,
  compareText,
  recentKey,
  recentPrefix,
  timeOfInverted,
} from '../journal/keys.ts';
import { listEverywhere, readFact } from '../journal/replicas.ts';
import { type BatchSnapshot, snapshotBatch } from './batch-object.ts';
import { notFound } from './errors.ts';
import { mapAtMost, mergedPage } from './pages.ts';
import type { ApiCore } from './placement.ts';

const readsAtOnce = 10;
/** Pages of markers looked through for one page of batches, if intakes that never finished left many. */
const pagesMax = 5;

/**
 * One page of a tenant's batches, newest first, from the `recent` markers: one LIST a store and the facts of the
 * batches shown, whatever the history's length.
 * @param after batch id; the page starts behind it
 * @throws ApiError 404 where `after` is no batch of the tenant
 */
export async function listBatches(
  core: ApiCore,
  tenant: string,
  limit: number,
  after: string | undefined,
): Promise<{ batches: BatchSnapshot[]; hasMore: boolean }> {
  const prefix = recentPrefix(tenant);
  const batches: BatchSnapshot[] = [];
  let from = after === undefined ? undefined : await markerOf(core, tenant, after);
  for (let page = 0; page < pagesMax; page++) {
    // One more than the page holds tells whether there is more.
    const wanted = limit + 1 - batches.length;
    const { keys, more } = await mergedPage(core, prefix, { after: from, limit: wanted });
    const read = await mapAtMost(keys, readsAtOnce, (key) => readMarked(core, tenant, key.slice(prefix.length)));
    batches.push(...read.filter((one) => one !== undefined));
    if (batches.length > limit) return { batches: batches.slice(0, limit), hasMore: true };
    if (!more) return { batches, hasMore: false };
    from = keys.at(-1);
  }
  return { batches, hasMore: batches.length > 0 };
}

/** The batch of one marker; `undefined` if its intake never finished, or if another marker of the batch counts. */
async function readMarked(core: ApiCore, tenant: string, marker: string): Promise<BatchSnapshot | undefined> {
  const [time, batch] = [marker.slice(0, 11), marker.slice(12)];
  if (!batchIdPattern.test(batch)) return undefined;
  const snapshot = await snapshotBatch(core, tenant, batch);
  return snapshot?.acceptance.at === timeOfInverted(time) ? snapshot : undefined;
}

async function markerOf(core: ApiCore, tenant: string, batch: string): Promise<string> {
  if (!batchIdPattern.test(batch)) throw notFound('batch', batch, 'after');
  const { keys } = await listEverywhere(core, acceptancesPrefix(tenant, batch));
  const read = await Promise.all(keys.map(({ key }) => readFact(core, acceptanceSchema, key)));
  const facts = read.flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact] : []));
  const earliest = facts.sort((a, b) => a.at - b.at || compareText(a.uuid, b.uuid))[0];
  if (earliest === undefined) throw notFound('batch', batch, 'after');
  return recentKey(tenant, earliest.at, batch);
}
