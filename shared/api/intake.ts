import type { ModelEntry } from '../core.ts';
import { codeOf } from '../errors.ts';
import {
  type Acceptance,
  acceptanceSchema,
  type ControlEntry,
  type Endpoint,
  type FileMeta,
  factBytes,
  factVersion,
  type Manifest,
} from '../journal/facts.ts';
import { canonicalBytes, canonicalJson, sha256, utf8 } from '../journal/json.ts';
import {
  acceptanceKey,
  acceptancesPrefix,
  compareText,
  fileDeletedKey,
  idempotencyClaimKey,
  idempotencyKey,
  idempotencyPrefix,
  manifestKey,
  openKey,
  recentKey,
} from '../journal/keys.ts';
import { bounded, readFact } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { activeSites } from '../worker/owner.ts';
import { pointerMessage } from '../worker/pointers.ts';
import type { Principal } from './auth.ts';
import { type BatchSnapshot, snapshotBatch } from './batch-object.ts';
import { ApiError, badRequest, notFound, unavailable } from './errors.ts';
import { findFile, mirrorFile } from './file-facts.ts';
import { firstModel } from './first-model.ts';
import { drawHome, type HomeChoice, refuseUnplaced } from './home.ts';
import { type ApiCore, type Placement, placeNow } from './placement.ts';

/** What a client asks for, checked. */
export interface BatchRequest {
  endpoint: Endpoint;
  inputFileId: string;
  windowMs: DurationMs;
  metadata: Record<string, string> | null;
  /** Life of the output files from their creation; `null` for the default. */
  outputExpiresAfterMs: DurationMs | null;
}

/** One request to accept a batch, and all that does not change while it is tried. */
interface Intent {
  core: ApiCore;
  principal: Principal;
  file: FileMeta;
  manifest: Manifest;
  /** Hash of the `Idempotency-Key`. */
  keyHash: string | undefined;
  servedBy: readonly SiteId[] | undefined;
  /** What the model map says of its model. */
  entry: ModelEntry | undefined;
}

/** How often writing is begun again because the control log moved meanwhile. */
const roundsMax = 3;

/**
 * Accepts a batch (DESIGN.md sections 4 and 5.1). The order of writes is the promise, each step durable in every site
 * that is not fenced before the next begins:
 *
 *   input, its meta      a peer that lacks them gets them now (F5)
 *   hint                 so that listing hints finds every batch that might be accepted (F6)
 *   manifest             a pure function of tenant, key and request: a retry anywhere writes the same bytes (F3)
 *   (tombstone?)         read in every store, after hint and manifest: deletion looks the other way round (F56)
 *   markers              idempotency, recent
 *   acceptance           peers first, own store last: whoever reads the own one may believe the receipt (F1)
 *
 * A crash between any two leaves nothing accepted, or everything; the plan pointer after them is only a hint, the
 * sweeper sends it again. If the control log moved while we wrote (a pause of minutes, F7), what the new entry wants
 * written is written before we answer.
 * @param idempotencyKey as the client sent it; the same key and request, on either cloud, is the same batch
 * @throws ApiError 404 no such input, 409 the key was used for another request, 503 where a site that must answer does not
 */
export async function acceptBatch(
  core: ApiCore,
  principal: Principal,
  request: BatchRequest,
  idempotencyKey?: string,
): Promise<BatchSnapshot> {
  const file = await findFile(core, principal.tenant, request.inputFileId, 'input_file_id');
  if (file.purpose !== 'batch')
    throw badRequest(
      'invalid_purpose',
      "The input file must have been uploaded with purpose 'batch'.",
      'input_file_id',
    );
  const keyHash = idempotencyKey === undefined ? undefined : sha256(checkKey(idempotencyKey));
  const manifest = manifestOf(core, principal, file, request, keyHash);
  const model = await firstModel(core, file);
  const sites = model === undefined ? [] : core.models.sitesFor(model, request.endpoint);
  const entry = model === undefined ? undefined : core.models.entryOf?.(model);
  const servedBy = sites.length === 0 ? undefined : sites;
  const intent: Intent = { core, principal, file, manifest, keyHash, servedBy, entry };
  let acceptance: Acceptance | undefined;
  for (let round = 0; round < roundsMax; round++) {
    const placement = await placeNow(core, manifest.boundTo);
    const known = acceptance ?? (await findAcceptance(intent, placement));
    if (known === 'everywhere') return acceptedBefore(intent);
    if (known === undefined) refuseUnplaced(homeChoice(intent, placement.control));
    acceptance = await write(intent, placement, known);
    if (!placement.covers(await core.control.current())) continue;
    await sendPlanPointer(core, acceptance, placement.control.epoch);
    core.log.info('batch.accepted', { batch: manifest.batch, receipt: acceptance.receipt, home: acceptance.home });
    return freshSnapshot(intent, acceptance, placement.control);
  }
  throw unavailable(
    'control_changed',
    'The sites changed their roles while the batch was being accepted; send it again.',
  );
}

/** The batch as it is by now. Two batches under one key were accepted during a cut, and are reported here. */
async function acceptedBefore({ core, manifest, keyHash }: Intent): Promise<BatchSnapshot> {
  const { tenant, batch } = manifest;
  const { journal } = core.sites.get(core.self)!;
  const markers = await journal.list(idempotencyPrefix(tenant, keyHash!), { limit: 10 });
  if (markers.entries.length > 1)
    core.log.error('idempotency.split', { batch, batches: markers.entries.map(({ key }) => key.slice(-38)).join(' ') });
  const snapshot = await snapshotBatch(core, tenant, batch);
  if (snapshot === undefined) throw unavailable('batch_unreadable', `${batch} was accepted, and cannot be read now.`);
  return snapshot;
}

/** The request in canonical form. Its id is a hash of tenant, key and request, or random where there is no key. */
function manifestOf(
  core: ApiCore,
  principal: Principal,
  file: FileMeta,
  request: BatchRequest,
  keyHash: string | undefined,
): Manifest {
  if (file.boundTo !== null && principal.boundTo !== null && file.boundTo !== principal.boundTo)
    throw badRequest('bound_elsewhere', 'This key and this file are bound to different sites.', 'input_file_id');
  const { tenant } = principal;
  const canonical = {
    tenant,
    endpoint: request.endpoint,
    inputSha256: file.sha256,
    inputBytes: file.bytes,
    windowMs: request.windowMs,
    metadata: request.metadata,
    outputExpiresAfterMs: request.outputExpiresAfterMs,
    boundTo: file.boundTo ?? principal.boundTo,
  };
  const id = keyHash === undefined ? core.ids.uuid() : sha256(canonicalJson([tenant, keyHash, canonical])).slice(0, 32);
  return { v: factVersion, kind: 'manifest', batch: `batch_${id}`, ...canonical };
}

/**
 * The acceptance that counts if there is one; `everywhere` if nothing is left to write. The own store gets it last, so
 * one that stands there with a `dual` receipt needs no word from the peer, which may be dark by now.
 */
async function findAcceptance(intent: Intent, placement: Placement): Promise<Acceptance | 'everywhere' | undefined> {
  const { core, keyHash, manifest } = intent;
  // A random id was accepted by nobody yet.
  if (keyHash === undefined) return undefined;
  const prefix = acceptancesPrefix(manifest.tenant, manifest.batch);
  const listed = (ids: readonly SiteId[]) =>
    placement.each((site, signal) => Array.fromAsync(listAll(site.journal, prefix, { signal })), ids);
  const own = await listed([core.self]);
  const seen = await earliestOf(core, manifest.batch, own);
  if (seen !== undefined && seen.receipt !== 'single') return 'everywhere';
  const all = new Map([...own, ...(await listed(placement.sites.filter((id) => id !== core.self)))]);
  const earliest = await earliestOf(core, manifest.batch, all);
  if (earliest === undefined) return undefined;
  return [...all.values()].every((list) => list.length > 0) ? 'everywhere' : earliest;
}

async function earliestOf(
  core: ApiCore,
  batch: string,
  lists: Map<SiteId, { key: string }[]>,
): Promise<Acceptance | undefined> {
  const keys = new Set([...lists.values()].flat().map(({ key }) => key));
  const read = await Promise.all([...keys].map((key) => readFact(core, acceptanceSchema, key)));
  const facts = read.flatMap((one) =>
    one !== undefined && 'fact' in one && one.fact.batch === batch ? [one.fact] : [],
  );
  return facts.sort((a, b) => a.at - b.at || compareText(a.uuid, b.uuid))[0];
}

/** Brings everything to every site of the placement, in the order that matters; gives the acceptance that stands there. */
async function write(intent: Intent, placement: Placement, known: Acceptance | undefined): Promise<Acceptance> {
  const { core, manifest, keyHash } = intent;
  const { tenant, batch } = manifest;
  const at = known?.at ?? core.clock.now();
  if (known === undefined) await claimKey(intent, placement);
  const input = await inputOf(intent, known);
  if (input !== undefined)
    await mirrorFile(core, placement, input).catch(async (error) => {
      // Purged, perhaps, between our two looks at it.
      if (codeOf(error) === 'content_missing') await backOffIfDeleted(intent, placement);
      throw error;
    });
  const hint = canonicalBytes({ at });
  await placement.each((site, signal) => site.state.putIfAbsent(openKey(tenant, batch), hint, { signal }));
  const manifestBytes = factBytes(manifest);
  await placement.each((site, signal) =>
    site.journal.putIfAbsent(manifestKey(tenant, batch), manifestBytes, { signal }),
  );
  if (known === undefined) await backOffIfDeleted(intent, placement);
  const markers = [recentKey(tenant, at, batch)];
  if (keyHash !== undefined) markers.push(idempotencyKey(tenant, keyHash, batch));
  await placement.each((site, signal) =>
    Promise.all(markers.map((key) => site.journal.putIfAbsent(key, new Uint8Array(), { signal }))),
  );
  return writeAcceptance(intent, placement, known, at);
}

/** The input of the acceptance that counts: a retry may have uploaded the same bytes again under another id. */
async function inputOf(intent: Intent, known: Acceptance | undefined): Promise<FileMeta | undefined> {
  if (known === undefined || known.fileId === intent.file.id) return intent.file;
  return findFile(intent.core, intent.manifest.tenant, known.fileId).catch((error) => {
    if ((error as { status?: number }).status === 404) return undefined;
    throw error;
  });
}

/**
 * Of several requests under one key exactly one goes on. The markers tell of batches that were accepted; of two at the
 * same moment, on two clouds, the claim decides: both create it in the same store, the first site by name that must be
 * written. Only where two clouds are cut apart and each is alone can both be accepted, which is reported.
 * @throws ApiError 409
 */
async function claimKey(intent: Intent, placement: Placement): Promise<void> {
  const { core, manifest, keyHash } = intent;
  if (keyHash === undefined) return;
  const prefix = idempotencyPrefix(manifest.tenant, keyHash);
  const lists = await placement.each((site, signal) => Array.fromAsync(listAll(site.journal, prefix, { signal })));
  const others = [...lists.values()].flat().filter(({ key }) => key !== `${prefix}${manifest.batch}`);
  if (others.length > 0) throw keyConflict();
  const arbiter = [...placement.sites].sort()[0]!;
  const key = idempotencyClaimKey(manifest.tenant, keyHash);
  await placement.each(
    async (site, signal) => {
      const put = await site.state.putIfAbsent(key, Buffer.from(manifest.batch), { signal });
      if (put.status === 'created') return;
      const claimed = await site.state.get(key, { signal });
      if (claimed !== undefined && utf8(claimed.bytes) !== manifest.batch) throw keyConflict();
    },
    [arbiter],
  );
  if (!placement.sites.includes(arbiter))
    core.log.warn('idempotency.unclaimed', { batch: manifest.batch, site: arbiter });
}

/** The mirror image of deleting a file: ours is written, now look for the other's. @throws ApiError 404 */
async function backOffIfDeleted({ core, file, manifest, keyHash }: Intent, placement: Placement): Promise<void> {
  const key = fileDeletedKey(file.tenant, file.id);
  const heads = await placement.each((site, signal) => site.journal.head(key, { signal }));
  if ([...heads.values()].every((head) => head === undefined)) return;
  // Nobody else can know a random id; one made from a key may be in another intake's hands, which uses another file.
  if (keyHash === undefined)
    await placement
      .each((site, signal) => site.state.delete(openKey(manifest.tenant, manifest.batch), { signal }))
      .catch((error) =>
        core.log.warn('hint.left', { batch: manifest.batch, error: String(error?.message).slice(0, 200) }),
      );
  throw notFound('File object', file.id, 'input_file_id');
}

/**
 * Peers first. One that drops out here (`available`) may have taken the fact all the same, so the own store gets
 * another, with the receipt that is true by now.
 */
async function writeAcceptance(
  intent: Intent,
  placement: Placement,
  known: Acceptance | undefined,
  at: number,
): Promise<Acceptance> {
  const { core, manifest } = intent;
  let acceptance = known ?? newAcceptance(intent, placement, at);
  const put = (ids: readonly SiteId[]) => {
    const key = acceptanceKey(manifest.tenant, manifest.batch, acceptance);
    const bytes = factBytes(acceptance);
    return placement.each((site, signal) => site.journal.putIfAbsent(key, bytes, { signal }), ids);
  };
  await put(placement.sites.filter((id) => id !== core.self));
  if (known === undefined && placement.receipt !== acceptance.receipt)
    acceptance = newAcceptance(intent, placement, at);
  await put([core.self]);
  return acceptance;
}

function homeChoice({ manifest, servedBy, entry }: Intent, control: ControlEntry): HomeChoice {
  return { control, boundTo: manifest.boundTo, serving: servedBy ?? [], entry };
}

function newAcceptance(intent: Intent, placement: Placement, at: number): Acceptance {
  const { core, principal, file, manifest } = intent;
  return {
    v: factVersion,
    kind: 'acceptance',
    batch: manifest.batch,
    tenant: manifest.tenant,
    at,
    site: core.self,
    epoch: placement.control.epoch,
    uuid: core.ids.uuid(),
    home: drawHome(core, homeChoice(intent, placement.control)),
    fileId: file.id,
    receipt: placement.receipt,
    keyId: principal.keyId,
  };
}

/** Best effort: the sweeper plans what nobody planned. */
async function sendPlanPointer(core: ApiCore, { tenant, batch, home }: Acceptance, epoch: number): Promise<void> {
  const message = pointerMessage({ v: factVersion, kind: 'plan', tenant, batch, epoch }, core.ids.uuid());
  try {
    await bounded(core, home, (signal) => core.sites.get(home)!.intake.send([message], { signal }));
  } catch (error) {
    core.log.warn('plan.unsent', { batch, home, error: String((error as Error)?.message).slice(0, 200) });
  }
}

function freshSnapshot({ manifest, servedBy }: Intent, acceptance: Acceptance, control: ControlEntry): BatchSnapshot {
  return {
    batch: manifest.batch,
    manifest,
    acceptance,
    plan: undefined,
    results: [],
    publication: undefined,
    inProgressAt: null,
    cancellingAt: null,
    servedBy,
    workingSites: activeSites(control),
  };
}

function checkKey(key: string): string {
  if (/^[\x21-\x7e][\x20-\x7e]{0,254}$/.test(key)) return key;
  throw badRequest(
    'invalid_idempotency_key',
    'An Idempotency-Key has 1 to 255 printable ASCII characters.',
    'Idempotency-Key',
  );
}

function keyConflict(): ApiError {
  return new ApiError({
    status: 409,
    code: 'idempotency_conflict',
    message: 'This Idempotency-Key was used for another request; use a new key for a new request.',
    param: 'Idempotency-Key',
  });
}
