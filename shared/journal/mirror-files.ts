import { SiteUnavailableError, TransientError } from '../errors.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import { copyContent, copyFact, type Tally } from './copy.ts';
import {
  type FileMeta,
  fileDeletedSchema,
  fileMetaSchema,
  manifestSchema,
  type Publication,
  type PublishedFile,
} from './facts.ts';
import {
  batchOfKey,
  fileContentKey,
  fileDeletedKey,
  fileMetaKey,
  filePrefix,
  manifestKey,
  openPrefix,
  outputKey,
} from './keys.ts';
import { type OutputKind, outputFileId } from './outputs.ts';
import { bounded, type JournalCore, type PlacedKey, readFact } from './replicas.ts';

/**
 * Makes `site` hold an input file: content, then meta; only the meta where the content is bound elsewhere. A file that
 * was deleted is not copied back (F40) unless an open batch still needs its bytes.
 * @returns number of facts copied
 * @throws SiteUnavailableError `file_missing` where nobody has it and nobody deleted it
 */
export async function holdFile(core: JournalCore, site: SiteId, tenant: string, fileId: string): Promise<number> {
  const meta = await readMeta(core, tenant, fileId);
  if (meta !== undefined) return holdFileOf(core, site, meta);
  if (await isDeleted(core, tenant, fileId)) return 0;
  throw new SiteUnavailableError('file_missing', `${fileMetaKey(tenant, fileId)} is in no store`, fileId);
}

/** As `holdFile`, where the meta was read. */
export async function holdFileOf(core: JournalCore, site: SiteId, meta: FileMeta): Promise<number> {
  const { tenant, id } = meta;
  const key = fileMetaKey(tenant, id);
  const mayHold = meta.boundTo === null || meta.boundTo === site;
  const [content, listed] = await Promise.all([
    mayHold ? headAt(core, site, meta.contentKey) : undefined,
    headAt(core, site, key),
  ]);
  const hasContent = !mayHold || content?.bytes === meta.bytes;
  if (hasContent && listed !== undefined) return 0;
  if ((await isDeleted(core, tenant, id)) && !(await isInUse(core, meta))) return 0;
  const others = othersThan(core, site);
  let copied = 0;
  if (!hasContent) {
    const named = { key: meta.contentKey, bytes: meta.bytes, sha256: meta.sha256 };
    copied += Number(await copyContent(core, others, site, named));
  }
  if (listed === undefined) copied += Number(await copyFact(core, others, site, key, 0));
  // Deleting makes the tombstone durable everywhere and purges then. If it is not here by now, the purge is to come,
  // and takes our copy along; if it is, the purge may have been here before us.
  const tombstone = await headAt(core, site, fileDeletedKey(tenant, id));
  if (tombstone !== undefined && !(await isInUse(core, meta))) await purgeAt(core, site, meta);
  return copied;
}

/**
 * Makes `site` hold what a publication names, as far as the tenant may have it there and it was not deleted since.
 * @returns number of files copied
 */
export async function holdOutputs(core: JournalCore, site: SiteId, publication: Publication): Promise<number> {
  const { tenant, boundTo } = publication;
  if (boundTo !== null && boundTo !== site) return 0;
  const named: [OutputKind | undefined, PublishedFile | null][] = [
    ['output', publication.output],
    ['error', publication.errorFile],
    [undefined, publication.choice],
  ];
  let copied = 0;
  for (const [kind, file] of named) {
    if (file === null) continue;
    if (kind !== undefined && (await isDeleted(core, tenant, outputFileId(publication, kind)))) continue;
    const content = { key: outputKey(tenant, file.sha256), ...file };
    copied += Number(await copyContent(core, othersThan(core, site), site, content));
  }
  return copied;
}

/**
 * One file as the journals list it. A tombstone goes everywhere, then the bytes go where they still lie, content before
 * meta, so that a meta that is left tells what is left. Otherwise what a site lacks is copied there.
 * @param hasPublication whether a batch is published at a site: an output file is not listed there before
 */
export async function mirrorFileUnit(
  core: JournalCore,
  tenant: string,
  fileId: string,
  keys: readonly PlacedKey[],
  hasPublication: (site: SiteId, batch: string) => Promise<boolean>,
  tally: Tally,
): Promise<void> {
  const at = (key: string) => keys.find((one) => one.key === key)?.sites ?? [];
  const tombstone = fileDeletedKey(tenant, fileId);
  if (at(tombstone).length > 0) {
    const missing = [...core.sites.keys()].filter((site) => !at(tombstone).includes(site));
    for (const site of missing) tally.copied += Number(await copyFact(core, at(tombstone), site, tombstone, 0));
    if (keys.length > 1) await purge(core, tenant, fileId, at(fileContentKey(tenant, fileId)));
    return;
  }
  const meta = await readMeta(core, tenant, fileId);
  // An upload that is under way, or was given up: no hash to copy it by.
  if (meta === undefined) return;
  const batch = /^(batch_[0-9a-f]{32})_/.exec(meta.filename)?.[1];
  for (const site of core.sites.keys()) {
    const hasContent = !meta.contentKey.startsWith(filePrefix(tenant, fileId)) || at(meta.contentKey).includes(site);
    const mayHold = meta.boundTo === null || meta.boundTo === site;
    if (at(fileMetaKey(tenant, fileId)).includes(site) && (hasContent || !mayHold)) continue;
    if (meta.purpose === 'batch_output' && batch !== undefined && !(await hasPublication(site, batch)))
      tally.failed += 1;
    else tally.copied += await holdFileOf(core, site, meta);
  }
}

async function purge(core: JournalCore, tenant: string, fileId: string, holding: readonly SiteId[]): Promise<void> {
  const told = await readFact(core, fileDeletedSchema, fileDeletedKey(tenant, fileId));
  if (told === undefined || 'fault' in told || told.fact.id !== fileId || told.fact.tenant !== tenant) return;
  const meta = await readMeta(core, tenant, fileId);
  if (meta !== undefined) {
    if (await isInUse(core, meta)) return;
    for (const site of core.sites.keys()) await purgeAt(core, site, meta);
    core.log.info('file.purged', { tenant, file: fileId });
  } else for (const site of holding) await deleteAt(core, site, fileContentKey(tenant, fileId));
}

async function purgeAt(core: JournalCore, site: SiteId, meta: FileMeta): Promise<void> {
  await deleteAt(core, site, meta.contentKey);
  await deleteAt(core, site, fileMetaKey(meta.tenant, meta.id));
}

function headAt(core: JournalCore, site: SiteId, key: string) {
  return bounded(core, site, (signal) => core.sites.get(site)!.journal.head(key, { signal }));
}

async function deleteAt(core: JournalCore, site: SiteId, key: string): Promise<void> {
  await bounded(core, site, (signal) => core.sites.get(site)!.journal.delete(key, { signal }));
}

/** True if any site that answers has the tombstone. */
async function isDeleted(core: JournalCore, tenant: string, fileId: string): Promise<boolean> {
  const key = fileDeletedKey(tenant, fileId);
  const heads = await Promise.all([...core.sites.keys()].map((id) => headAt(core, id, key).catch(() => undefined)));
  return heads.some((head) => head !== undefined);
}

/**
 * True if an open batch may need the file: it reads the same bytes, or the file is one of its outputs. Deleting looks
 * the same way (F56); here equal bytes are enough, so that in doubt nothing is purged.
 * @throws if a site does not tell which batches are open there
 */
async function isInUse(core: JournalCore, meta: FileMeta): Promise<boolean> {
  const open = new Set<string>();
  for (const { id, state } of core.sites.values()) {
    const hints = await bounded(core, id, (signal) =>
      Array.fromAsync(listAll(state, `${openPrefix}${meta.tenant}/`, { signal })),
    );
    for (const { key } of hints) open.add(batchOfKey(key)?.batch ?? '');
  }
  for (const batch of open) {
    if (meta.purpose === 'batch_output' && meta.filename.startsWith(`${batch}_`)) return true;
    if (meta.purpose !== 'batch') continue;
    const manifest = await readFact(core, manifestSchema, manifestKey(meta.tenant, batch));
    if (manifest !== undefined && ('fault' in manifest || manifest.fact.inputSha256 === meta.sha256)) return true;
  }
  return false;
}

/** @throws TransientError `fact_unknown` for a later version: whom it is bound to is for others to tell */
async function readMeta(core: JournalCore, tenant: string, fileId: string): Promise<FileMeta | undefined> {
  const key = fileMetaKey(tenant, fileId);
  const found = await readFact(core, fileMetaSchema, key);
  if (found === undefined) return undefined;
  if ('fault' in found) throw new TransientError('fact_unknown', `${key}: ${found.detail}`);
  return found.fact;
}

const othersThan = (core: JournalCore, site: SiteId) => [
  ...[core.self].filter((id) => id !== site),
  ...[...core.sites.keys()].filter((id) => id !== site && id !== core.self),
];
