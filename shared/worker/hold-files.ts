import { createHash } from 'node:crypto';
import { type Core, ownSite, peersOf } from '../core.ts';
import { SiteUnavailableError } from '../errors.ts';
import { diverged } from '../journal/copy.ts';
import type { Publication, PublishedFile } from '../journal/facts.ts';
import { outputKey } from '../journal/keys.ts';
import { bounded } from '../journal/replicas.ts';
import { seal, unseal } from '../journal/sealed.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { SiteId } from '../ports/site.ts';
import { type OutputFileKind, type OutputFiles, outputKinds } from './output-files.ts';

/** Where the witness keeps content while one cloud cannot be written: encrypted, under a name of its own. */
const sealedKey = (tenant: string, file: PublishedFile): string => `${outputKey(tenant, file.sha256)}.sealed`;

/** Slowest transfer that is waited for, 1 MB a second, on top of the usual bound of a call. */
const bytesPerMs = 1_000;

/** The files that a publication names. */
export function namedFiles(publication: Publication): [OutputFileKind, PublishedFile][] {
  return outputKinds.flatMap((kind) => {
    const file = publication[kind];
    return file === null ? [] : [[kind, file] as [OutputFileKind, PublishedFile]];
  });
}

/**
 * Makes `store` hold every file that the publication names, with equal hashes: from `own` where we built the very file,
 * else copied from any store that has it. A store that may not hold them (bound tenant) is left as it is.
 * @throws SiteUnavailableError `lost_output` where nobody has a file, `no_seal` where the witness would have to hold
 * content and no key is configured; whatever the stores throw
 */
export async function holdFiles(
  core: Core,
  store: SiteId | 'witness',
  publication: Publication,
  own?: OutputFiles,
): Promise<void> {
  if (publication.boundTo !== null && publication.boundTo !== store) return;
  for (const [kind, file] of namedFiles(publication)) {
    const isOwn = own?.files[kind].sha256 === file.sha256;
    const open = () => (isOwn ? own!.open(kind) : openAnywhere(core, publication.tenant, file));
    if (store === 'witness') await holdSealed(core, publication.tenant, file, open);
    else await holdPlain(core, store, publication.tenant, file, open);
  }
}

/** Removes what the witness held, once both clouds have it. */
export async function releaseWitness(core: Core, publication: Publication): Promise<void> {
  const { witness } = core;
  if (witness === undefined || core.witnessKey === undefined) return;
  for (const [, file] of namedFiles(publication)) {
    const key = sealedKey(publication.tenant, file);
    await bounded(core, 'witness', (signal) => witness.journal.delete(key, { signal }));
  }
}

async function holdPlain(
  core: Core,
  site: SiteId,
  tenant: string,
  file: PublishedFile,
  open: () => AsyncIterable<Uint8Array>,
): Promise<void> {
  const { journal } = core.sites.get(site)!;
  const key = outputKey(tenant, file.sha256);
  const look = () => bounded(core, site, (signal) => journal.head(key, { signal }));
  const there = await look();
  if (there?.bytes === file.bytes) return;
  const options = { contentType: 'application/x-ndjson' };
  const put = (signal?: AbortSignal) =>
    journal.putStreamIfAbsent(key, verified(open(), file, key), { ...options, signal });
  const ms = core.settings.peerTimeoutMs + file.bytes / bytesPerMs;
  const { status } = await (site === core.self ? put() : withDeadline(core.clock, ms, site, put));
  // Somebody was faster, or other bytes stand there: those are no copy, and no vote stands beside them.
  if (status === 'exists' && (await look())?.bytes !== file.bytes) await diverged(core, key, site);
}

async function holdSealed(
  core: Core,
  tenant: string,
  file: PublishedFile,
  open: () => AsyncIterable<Uint8Array>,
): Promise<void> {
  const { witness, witnessKey } = core;
  if (witness === undefined || witnessKey === undefined)
    throw new SiteUnavailableError('no_seal', 'content for the witness needs a witness key', 'witness');
  const key = sealedKey(tenant, file);
  if ((await bounded(core, 'witness', (signal) => witness.journal.head(key, { signal }))) !== undefined) return;
  await witness.journal.putStreamIfAbsent(key, seal(witnessKey, key, verified(open(), file, key)));
}

/** Reads a file from the first store that has it, the witness last. */
async function* openAnywhere(core: Core, tenant: string, file: PublishedFile): AsyncGenerator<Uint8Array> {
  const key = outputKey(tenant, file.sha256);
  let failure: unknown;
  for (const { id, journal } of [ownSite(core), ...peersOf(core)]) {
    try {
      const found = await bounded(core, id, () => journal.getStream(key));
      if (found?.bytes === file.bytes) return yield* found.body;
    } catch (error) {
      failure = error;
    }
  }
  const { witness, witnessKey } = core;
  if (witness !== undefined && witnessKey !== undefined) {
    const sealed = sealedKey(tenant, file);
    const found = await bounded(core, 'witness', () => witness.journal.getStream(sealed));
    if (found !== undefined) return yield* unseal(witnessKey, sealed, found.body);
  }
  throw new SiteUnavailableError('lost_output', `${key} is in no store that answers`, key, { cause: failure });
}

/** Passes the bytes through; fails before the end, so that nothing is committed, if they are not the ones named. */
async function* verified(
  body: AsyncIterable<Uint8Array>,
  file: PublishedFile,
  key: string,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  for await (const piece of body) {
    hash.update(piece);
    yield piece;
  }
  if (hash.digest('hex') !== file.sha256)
    throw new SiteUnavailableError('copy_differs', `the bytes of ${key} are not the ones it is named after`, key);
}
