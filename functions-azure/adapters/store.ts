import { createHash, randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { BlockBlobClient, ContainerClient } from '@azure/storage-blob';
import { HoldfastError, TransientError } from '../../shared/errors.ts';
import { blocksOf, onlyOrAll } from '../../shared/ports/blocks.ts';
import {
  resolveLostCreate,
  resolveLostReplace,
  resolveLostStreamCreate,
  writeUntilKnown,
} from '../../shared/ports/lost-reply.ts';
import type {
  CallOptions,
  ETag,
  GetOptions,
  ListEntry,
  ListOptions,
  ListPage,
  PutOptions,
  PutResult,
  ReplaceResult,
  StateStore,
  StoredObject,
  StoredStream,
} from '../../shared/ports/object-store.ts';
import { blobCodeOf, blobError, type Effect, statusOf } from './errors.ts';
import { attempt, defaultTimeouts, retryBriefly, type Timeouts } from './http.ts';

/** Bytes of a staged block. Two are on their way while the third fills: 12 MiB are held. */
const BLOCK_BYTES = 4 * 1024 * 1024;
const BLOCKS_UNDER_WAY_MAX = 2;

/** Entries of one page, as the port has it (the service gives up to 5,000). */
const PAGE_ENTRIES_MAX = 1_000;

/** Downloads that break off are taken up again where they stopped, this often. */
const DOWNLOAD_RETRIES_MAX = 2;

/** A blob under an immutability policy refuses the same write with a code of its own. */
const CREATE_REFUSALS = new Set(['BlobAlreadyExists', 'BlobImmutableDueToPolicy']);

export interface BlobStoreOptions {
  container: ContainerClient;
  /** As in logs and errors: `azure/journal`. */
  name: string;
  /** True where the account keeps versions: `delete` then removes every version, by name. Default false. */
  versioned?: boolean;
  timeouts?: Timeouts;
}

/** One container of Blob. */
export function blobStore(options: BlobStoreOptions): StateStore {
  return new BlobStore(options);
}

/**
 * ETags are kept without quotation marks: headers have them, listings do not.
 * @source https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations
 *   (2026-11-20)
 */
class BlobStore implements StateStore {
  readonly name: string;
  readonly #container: ContainerClient;
  readonly #timeouts: Timeouts;
  readonly #versioned: boolean;

  constructor(options: BlobStoreOptions) {
    this.name = options.name;
    this.#container = options.container;
    this.#timeouts = options.timeouts ?? defaultTimeouts;
    this.#versioned = options.versioned ?? false;
  }

  async putIfAbsent(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutResult> {
    return await writeUntilKnown(
      () => retryBriefly(options, () => this.#create(key, body, options)),
      (lost) => resolveLostCreate(this, key, body, lost, options),
    );
  }

  async putStreamIfAbsent(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<PutResult> {
    options.signal?.throwIfAborted();
    const { only, all } = await onlyOrAll(blocksOf(body, BLOCK_BYTES, options.signal));
    if (only !== undefined) return await this.putIfAbsent(key, only, options);
    const sent = await this.#stage(key, all, options);
    return await writeUntilKnown(
      () => retryBriefly(options, () => this.#commit(key, sent.ids, options)),
      (lost) => resolveLostStreamCreate(this, key, sent, lost, options),
    );
  }

  async putIfMatch(key: string, body: Uint8Array, etag: ETag, options: PutOptions = {}): Promise<ReplaceResult> {
    return await writeUntilKnown(
      () => retryBriefly(options, () => this.#replace(key, body, etag, options)),
      (lost) => resolveLostReplace(this, key, body, etag, lost, options),
    );
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject | undefined> {
    return await retryBriefly(options, async () => {
      const found = await this.#open(key, options);
      if (found === undefined) return undefined;
      const bytes = new Uint8Array(found.bytes);
      let at = 0;
      for await (const chunk of found.body) {
        bytes.set(chunk, at);
        at += chunk.byteLength;
      }
      return { bytes, etag: found.etag };
    });
  }

  async getStream(key: string, options: GetOptions = {}): Promise<StoredStream | undefined> {
    return await retryBriefly(options, () => this.#open(key, options));
  }

  async head(key: string, options: CallOptions = {}): Promise<{ bytes: number; etag: string } | undefined> {
    return await this.#repeatable(options, 0, (signal) => this.#properties(key, signal));
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    const { after = '', limit = PAGE_ENTRIES_MAX } = options;
    options.signal?.throwIfAborted();
    // Outside the prefix the service's `startFrom` has no stated meaning; there the answer is known without it.
    if (after > prefix && !after.startsWith(prefix)) return { entries: [], more: false };
    const startFrom = after > prefix ? after : undefined;
    const pageSize = limit + (startFrom === undefined ? 0 : 1);
    const entries: ListEntry[] = [];
    let marker: string | undefined;
    // The service may give short and even empty pages that say there is more.
    do {
      const page = await this.#repeatable(options, 0, async (signal) => {
        const settings = { maxPageSize: pageSize, continuationToken: marker };
        const listing = this.#container.listBlobsFlat({ prefix, startFrom, abortSignal: signal });
        return (await listing.byPage(settings).next()).value;
      });
      for (const { name, properties } of page?.segment.blobItems ?? []) {
        if (name <= after) continue;
        entries.push({ key: name, bytes: properties.contentLength ?? 0, etag: unquoted(properties.etag) });
      }
      marker = page?.continuationToken || undefined;
    } while (entries.length === 0 && marker !== undefined);
    return { entries: entries.slice(0, limit), more: entries.length > limit || marker !== undefined };
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    const blob = this.#container.getBlobClient(key);
    await this.#repeatable(options, 0, async (abortSignal) => {
      await blob.delete({ abortSignal, deleteSnapshots: 'include' }).catch(orNothing);
    });
    if (!this.#versioned) return;
    const versions: string[] = [];
    await this.#repeatable(options, 0, async (abortSignal) => {
      versions.length = 0;
      for await (const item of this.#container.listBlobsFlat({ prefix: key, includeVersions: true, abortSignal })) {
        if (item.name === key && item.versionId !== undefined) versions.push(item.versionId);
        // Keys come in ascending order: nothing of this one follows.
        if (item.name !== key) break;
      }
    });
    for (const version of versions) {
      await this.#repeatable(options, 0, async (abortSignal) => {
        await blob.withVersion(version).delete({ abortSignal }).catch(orNothing);
      });
    }
  }

  async #create(key: string, body: Uint8Array, options: PutOptions): Promise<PutResult> {
    return await this.#call('once', options, body.byteLength, async (abortSignal) => {
      try {
        const conditions = { ifNoneMatch: '*' };
        const blobHTTPHeaders = { blobContentType: contentTypeOf(key, options) };
        const put = { abortSignal, conditions, blobHTTPHeaders };
        const { etag } = await this.#blob(key).upload(asBuffer(body), body.byteLength, put);
        return { status: 'created', etag: unquoted(etag) };
      } catch (error) {
        return refusedCreate(error);
      }
    });
  }

  async #replace(key: string, body: Uint8Array, etag: ETag, options: PutOptions): Promise<ReplaceResult> {
    return await this.#call('once', options, body.byteLength, async (abortSignal) => {
      try {
        const conditions = { ifMatch: `"${etag}"` };
        const blobHTTPHeaders = { blobContentType: contentTypeOf(key, options) };
        const put = { abortSignal, conditions, blobHTTPHeaders };
        const replaced = await this.#blob(key).upload(asBuffer(body), body.byteLength, put);
        return { status: 'replaced', etag: unquoted(replaced.etag) };
      } catch (error) {
        if (statusOf(error) === 412 || blobCodeOf(error) === 'BlobNotFound') return { status: 'stale' };
        throw error;
      }
    });
  }

  /** Uploads blocks that nobody sees until they are committed; the service drops what is not after a week. */
  async #stage(key: string, blocks: AsyncIterable<Uint8Array>, options: PutOptions): Promise<StagedBlocks> {
    // All writers of a key share one list of staged blocks: ids that no other writer has, all of one length.
    const writer = randomBytes(16);
    const hash = createHash('sha256');
    const underWay = new Set<Promise<void>>();
    const staged: StagedBlocks = { ids: [], bytes: 0, sha256: '' };
    let failure: { error: unknown } | undefined;
    const stage = async (block: Uint8Array, id: string) => {
      await this.#repeatable(options, block.byteLength, async (abortSignal) => {
        await this.#blob(key).stageBlock(id, asBuffer(block), block.byteLength, { abortSignal });
      });
    };
    try {
      for await (const block of blocks) {
        const id = blockId(writer, staged.ids.length);
        staged.ids.push(id);
        staged.bytes += block.byteLength;
        hash.update(block);
        const call = stage(block, id)
          .catch((error: unknown) => {
            failure ??= { error };
          })
          .finally(() => underWay.delete(call));
        underWay.add(call);
        if (underWay.size >= BLOCKS_UNDER_WAY_MAX) await Promise.race(underWay);
        if (failure !== undefined) break;
      }
    } finally {
      await Promise.all(underWay);
    }
    if (failure !== undefined) throw failure.error;
    return { ...staged, sha256: hash.digest('hex') };
  }

  async #commit(key: string, ids: string[], options: PutOptions): Promise<PutResult> {
    return await this.#call('once', options, 0, async (abortSignal) => {
      try {
        const conditions = { ifNoneMatch: '*' };
        const blobHTTPHeaders = { blobContentType: contentTypeOf(key, options) };
        const { etag } = await this.#blob(key).commitBlockList(ids, { abortSignal, conditions, blobHTTPHeaders });
        return { status: 'created', etag: unquoted(etag) };
      } catch (error) {
        if (blobCodeOf(error) !== 'InvalidBlockList') return refusedCreate(error);
        // Whoever creates the blob discards the blocks that others have staged for it.
        if ((await this.#properties(key, abortSignal)) !== undefined) return { status: 'exists' };
        throw new TransientError('parts_lost', `${this.name}: the parts of ${key} are gone: send them again`);
      }
    });
  }

  async #open(key: string, options: GetOptions): Promise<StoredStream | undefined> {
    return await this.#call('repeatable', options, 0, async (abortSignal) => {
      const { offset = 0, length } = options.range ?? {};
      if (length === 0) return withoutBytes(await this.#properties(key, abortSignal));
      try {
        // The signal also ends the body, long after this call; the deadline in it is over once there is a reply.
        const download = { abortSignal, maxRetryRequests: DOWNLOAD_RETRIES_MAX };
        const reply = await this.#blob(key).download(offset, length, download);
        const body = this.#bytesOf(reply.readableStreamBody as Readable, options);
        return { bytes: reply.contentLength ?? 0, etag: unquoted(reply.etag), body };
      } catch (error) {
        if (statusOf(error) === 416) return withoutBytes(await this.#properties(key, abortSignal));
        return orNothing(error);
      }
    });
  }

  async #properties(key: string, abortSignal: AbortSignal): Promise<{ bytes: number; etag: ETag } | undefined> {
    const found = await this.#blob(key).getProperties({ abortSignal }).catch(orNothing);
    return found && { bytes: found.contentLength ?? 0, etag: unquoted(found.etag) };
  }

  async *#bytesOf(stream: Readable, options: CallOptions): AsyncGenerator<Uint8Array> {
    let stalled: NodeJS.Timeout | undefined;
    const watch = () => {
      const error = new Error(`no bytes within ${this.#timeouts.requestMs} ms`);
      stalled = setTimeout(() => stream.destroy(error), this.#timeouts.requestMs);
    };
    try {
      options.signal?.throwIfAborted();
      watch();
      for await (const chunk of stream) {
        clearTimeout(stalled);
        yield chunk;
        options.signal?.throwIfAborted();
        watch();
      }
    } catch (error) {
      options.signal?.throwIfAborted();
      throw blobError(error, this.name, 'repeatable');
    } finally {
      clearTimeout(stalled);
      stream.destroy();
    }
  }

  #blob(key: string): BlockBlobClient {
    return this.#container.getBlockBlobClient(key);
  }

  async #repeatable<T>(options: CallOptions, bytes: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return await retryBriefly(options, () => this.#call('repeatable', options, bytes, call));
  }

  async #call<T>(
    effect: Effect,
    options: CallOptions,
    bytes: number,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const translate = (error: unknown) =>
      error instanceof HoldfastError ? error : blobError(error, this.name, effect);
    return await attempt(this.#timeouts, options, { bytes, translate }, call);
  }
}

/** What was uploaded and waits to be committed. */
interface StagedBlocks {
  ids: string[];
  bytes: number;
  /** Hex, of the whole. */
  sha256: string;
}

function blockId(writer: Uint8Array, number: number): string {
  const suffix = Buffer.alloc(4);
  suffix.writeUInt32BE(number);
  return Buffer.concat([writer, suffix]).toString('base64');
}

/** What a create that was refused says, whichever of its codes the service chose; other errors are thrown on. */
function refusedCreate(error: unknown): PutResult {
  if (statusOf(error) === 412 || CREATE_REFUSALS.has(blobCodeOf(error))) return { status: 'exists' };
  throw error;
}

/** A missing blob is a value. A missing container is not, nor a 404 that somebody else answers with. */
function orNothing(error: unknown): undefined {
  if (statusOf(error) !== 404 || blobCodeOf(error) !== 'BlobNotFound') throw error;
}

function withoutBytes(found: { etag: ETag } | undefined): StoredStream | undefined {
  return found && { bytes: 0, etag: found.etag, body: (async function* () {})() };
}

function contentTypeOf(key: string, options: PutOptions): string {
  if (options.contentType !== undefined) return options.contentType;
  if (key.endsWith('.json')) return 'application/json';
  return key.endsWith('.jsonl') ? 'application/x-ndjson' : 'application/octet-stream';
}

/** The SDK takes a `Buffer` as it is. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unquoted(etag: string | undefined): ETag {
  return (etag ?? '').replaceAll('"', '');
}
