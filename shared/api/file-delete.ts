import { acceptanceSchema, type FileMeta, factBytes, factVersion, manifestSchema } from '../journal/facts.ts';
import { parseBoundedJson } from '../journal/json.ts';
import {
  acceptancesPrefix,
  batchOfKey,
  fileDeletedKey,
  fileMetaKey,
  manifestKey,
  openKey,
  openPrefix,
} from '../journal/keys.ts';
import { bounded, listEverywhere, readFact } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { DurationMs } from '../units.ts';
import { ApiError } from './errors.ts';
import { mapAtMost } from './pages.ts';
import { type ApiCore, type Placement, placeNow } from './placement.ts';

const readsAtOnce = 16;
/** No invocation of either cloud lives as long; a hint older than this without an acceptance is of an intake that died. */
const intakeLifeMs: DurationMs = 3_600_000;

/**
 * Deletes a file: the tombstone is made durable everywhere, *then* the hints are looked at everywhere. Intake does the
 * mirror image (hint and manifest, then the tombstone), so of a deletion and an acceptance at the same moment at least
 * one sees the other and backs off; nobody purges what an accepted batch needs.
 *
 * A file in use is refused before there is a tombstone. Where a batch is seen only after it, the tombstone stays (facts
 * do not change): nobody sees the file any more, its bytes stay for that batch, and deleting it again later purges them.
 * @throws ApiError 409 while an open batch uses it, 503 where a site does not answer
 */
export async function deleteFile(core: ApiCore, meta: FileMeta, by: string): Promise<void> {
  // Payload may be bound to one site; tombstone and hints are not.
  const placement = await placeNow(core, null);
  await refuseIfUsed(core, placement, meta);
  const tombstone = { v: factVersion, kind: 'fileDeleted', id: meta.id, tenant: meta.tenant, at: core.clock.now(), by };
  const key = fileDeletedKey(meta.tenant, meta.id);
  await placement.each((site, signal) => site.journal.putIfAbsent(key, factBytes(tombstone), { signal }));
  await refuseIfUsed(core, placement, meta);
  await placement.each(async (site, signal) => {
    await site.journal.delete(meta.contentKey, { signal });
    await site.journal.delete(fileMetaKey(meta.tenant, meta.id), { signal });
  });
}

async function refuseIfUsed(core: ApiCore, placement: Placement, meta: FileMeta): Promise<void> {
  const batches = await openBatches(placement, meta.tenant);
  const using = await mapAtMost(batches, readsAtOnce, async (batch) =>
    (await isUsedBy(core, meta, batch)) ? batch : undefined,
  );
  const batch = using.find((one) => one !== undefined);
  if (batch === undefined) return;
  throw new ApiError({
    status: 409,
    code: 'file_in_use',
    message: `${batch} uses this file and has not ended; delete the file again afterwards.`,
  });
}

/** Every batch that may be unpublished: a hint stands in both stores before the manifest stands in any. */
async function openBatches(placement: Placement, tenant: string): Promise<string[]> {
  const prefix = `${openPrefix}${tenant}/`;
  const lists = await placement.each((site, signal) => Array.fromAsync(listAll(site.state, prefix, { signal })));
  const ids = [...lists.values()].flat().flatMap(({ key }) => batchOfKey(key)?.batch ?? []);
  return [...new Set(ids)];
}

/**
 * A hint without a manifest does not count: whoever is about to write the manifest looks for the tombstone afterwards.
 * Without an acceptance the content alone tells, since the file id is written last, and only while the intake that
 * wrote the hint can still be alive.
 */
async function isUsedBy(core: ApiCore, meta: FileMeta, batch: string): Promise<boolean> {
  if (meta.purpose === 'batch_output') return meta.filename.startsWith(`${batch}_`);
  const manifest = await readFact(core, manifestSchema, manifestKey(meta.tenant, batch));
  if (manifest === undefined || 'fault' in manifest || manifest.fact.inputSha256 !== meta.sha256) return false;
  const { keys } = await listEverywhere(core, acceptancesPrefix(meta.tenant, batch));
  const acceptances = await Promise.all(keys.map(({ key }) => readFact(core, acceptanceSchema, key)));
  const files = acceptances.flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact.fileId] : []));
  return files.length === 0 ? isBeingAccepted(core, meta.tenant, batch) : files.includes(meta.id);
}

/** True if the hint was written by an intake that may still be at it; the sweeper's hints carry no time. */
async function isBeingAccepted(core: ApiCore, tenant: string, batch: string): Promise<boolean> {
  for (const site of core.sites.values()) {
    const hint = await bounded(core, site.id, (signal) => site.state.get(openKey(tenant, batch), { signal }));
    const parsed = hint === undefined ? undefined : parseBoundedJson(hint.bytes, { bytesMax: 1024 });
    const at = parsed === undefined || 'fault' in parsed ? undefined : (parsed.value as { at?: unknown }).at;
    if (typeof at === 'number' && core.clock.now() - at < intakeLifeMs) return true;
  }
  return false;
}
