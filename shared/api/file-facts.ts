import { createHash } from 'node:crypto';
import { type FileMeta, factBytes, factVersion, fileMetaSchema } from '../journal/facts.ts';
import { fileContentKey, fileDeletedKey, fileIdPattern, fileMetaKey, newFileId } from '../journal/keys.ts';
import { bounded, readFact, streamAnywhere } from '../journal/replicas.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import { type DurationMs, unixSeconds } from '../units.ts';
import { notFound, unavailable } from './errors.ts';
import { type StreamSum, streamToSites } from './fan-out.ts';
import type { ApiCore, Placement } from './placement.ts';

/** The File object of the OpenAI API. */
export function fileObject(meta: FileMeta) {
  return {
    id: meta.id,
    object: 'file' as const,
    bytes: meta.bytes,
    created_at: unixSeconds(meta.createdAt),
    expires_at: meta.expiresAt === null ? null : unixSeconds(meta.expiresAt),
    filename: meta.filename,
    purpose: meta.purpose,
    status: 'processed' as const,
    status_details: null,
    /** Ours: lets whoever downloads the content prove it. */
    holdfast: { sha256: meta.sha256 },
  };
}
export type FileObject = ReturnType<typeof fileObject>;

/** What is known of a file before its bytes are. */
export interface FileDraft {
  tenant: string;
  filename: string;
  /** `null`: the default of the deployment. */
  expiresAfterMs: DurationMs | null;
  boundTo: SiteId | null;
}

/** A fresh id, and where its bytes go. */
export function newFile(core: ApiCore, tenant: string): { id: string; contentKey: string; createdAt: number } {
  const createdAt = core.clock.now();
  const id = newFileId(createdAt, core.ids.uuid());
  return { id, contentKey: fileContentKey(tenant, id), createdAt };
}

/** The fact that makes an uploaded file visible. */
export function inputFileMeta(
  core: ApiCore,
  file: ReturnType<typeof newFile>,
  draft: FileDraft,
  sum: Pick<StreamSum, 'bytes' | 'sha256'>,
): FileMeta {
  return {
    v: factVersion,
    kind: 'file',
    id: file.id,
    tenant: draft.tenant,
    contentKey: file.contentKey,
    bytes: sum.bytes,
    sha256: sum.sha256,
    filename: draft.filename,
    purpose: 'batch',
    createdAt: file.createdAt,
    expiresAt: file.createdAt + (draft.expiresAfterMs ?? core.settings.fileLifeMs),
    boundTo: draft.boundTo,
  };
}

/** Writes the meta wherever the placement says; only now the file is visible. */
export async function putMeta(placement: Placement, meta: FileMeta): Promise<void> {
  const bytes = factBytes(meta);
  await placement.each((site, signal) =>
    site.journal.putIfAbsent(fileMetaKey(meta.tenant, meta.id), bytes, { signal }),
  );
}

/** Takes away content that no meta names; what a dark site keeps of it stays invisible for ever. */
export async function discardContent(core: ApiCore, key: string): Promise<void> {
  const discarded = [...core.sites.values()].map((site) =>
    bounded(core, site.id, (signal) => site.journal.delete(key, { signal })),
  );
  for (const one of await Promise.allSettled(discarded))
    if (one.status === 'rejected')
      core.log.warn('content.undiscarded', { key, error: String(one.reason?.message).slice(0, 200) });
}

/**
 * A file that its tenant may see.
 * @throws ApiError 404 if it never was, was deleted, has expired, or is another tenant's
 */
export async function findFile(core: ApiCore, tenant: string, id: string, param = 'id'): Promise<FileMeta> {
  if (!fileIdPattern.test(id)) throw notFound('File object', id, param);
  const [meta, deleted] = await Promise.all([
    readFact(core, fileMetaSchema, fileMetaKey(tenant, id)),
    isDeleted(core, tenant, id),
  ]);
  if (deleted || meta === undefined || 'fault' in meta || meta.fact.tenant !== tenant)
    throw notFound('File object', id, param);
  if (meta.fact.expiresAt !== null && meta.fact.expiresAt <= core.clock.now()) throw notFound('File object', id, param);
  return meta.fact;
}

/** Asks the own store for a tombstone, and the others where it does not answer: a deletion that was answered is in all. */
async function isDeleted(core: ApiCore, tenant: string, id: string): Promise<boolean> {
  const key = fileDeletedKey(tenant, id);
  const own = core.sites.get(core.self)!.journal.head(key);
  return own.then(
    (head) => head !== undefined,
    async (error) => {
      const others = [...core.sites.values()].filter((site) => site.id !== core.self);
      const heads = await Promise.allSettled(
        others.map((site) => bounded(core, site.id, (signal) => site.journal.head(key, { signal }))),
      );
      if (heads.every((head) => head.status === 'rejected')) throw error;
      return heads.some((head) => head.status === 'fulfilled' && head.value !== undefined);
    },
  );
}

/**
 * Makes sure that content and meta of `meta` stand in every site of the placement that may hold them, content first,
 * by copying what one lacks from whoever has it, its hash checked on the way.
 * @throws ApiError 503 where a site does not take it, or nobody has it
 */
export async function mirrorFile(core: ApiCore, placement: Placement, meta: FileMeta): Promise<void> {
  const heads = await placement.each(
    (site, signal) => site.journal.head(meta.contentKey, { signal }),
    placement.payloadSites.filter((id) => meta.boundTo === null || id === meta.boundTo),
  );
  const lacking = [...heads].filter(([, head]) => head?.bytes !== meta.bytes).map(([id]) => id);
  if (lacking.length > 0) {
    const source = await streamAnywhere(core, meta.contentKey);
    if (source === undefined)
      throw unavailable('content_missing', 'No store that answers holds the content of the file.');
    await streamToSites(core, placement, meta.contentKey, verified(source.body, meta), lacking);
    core.log.info('file.mirrored', { file: meta.id, sites: lacking.join(',') });
  }
  await putMeta(placement, meta);
}

/** The same pieces; throws in place of an end that does not match, so that whoever writes them creates nothing. */
async function* verified(body: AsyncIterable<Uint8Array>, meta: FileMeta): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const piece of body) {
    hash.update(piece);
    bytes += piece.byteLength;
    yield piece;
  }
  if (bytes !== meta.bytes || hash.digest('hex') !== meta.sha256)
    throw unavailable('content_mismatch', 'The content of the file that could be read is not what was uploaded.');
}

/** True if a store has the whole content; a redirect must not lead to less. */
export async function holdsContent(store: ObjectStore, meta: FileMeta): Promise<boolean> {
  return (await store.head(meta.contentKey))?.bytes === meta.bytes;
}
