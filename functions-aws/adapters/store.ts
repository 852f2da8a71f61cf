import type { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  ListObjectVersionsCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { HoldfastError } from '../../shared/errors.ts';
import { blocksOf } from '../../shared/ports/blocks.ts';
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
  ListOptions,
  ListPage,
  PutOptions,
  PutResult,
  ReplaceResult,
  StateStore,
  StoredObject,
  StoredStream,
} from '../../shared/ports/object-store.ts';
import { awsCodeOf, awsError, type Effect, statusOf } from './errors.ts';
import { attempt, defaultTimeouts, retryBriefly, type Timeouts } from './http.ts';
import { abortUpload, completeUpload, type UploadTarget, uploadParts } from './upload.ts';

/**
 * Bytes of a part. Two are on their way while the third fills: 15 MiB are held. 10,000 parts make 50 GB, and all but the
 * last have one size, as R2 demands; 5 MiB is the least that S3 takes.
 * @source https://developers.cloudflare.com/r2/objects/multipart-objects/ (2026-11)
 */
const PART_BYTES = 5 * 1024 * 1024;

export interface S3StoreOptions {
  client: S3Client;
  bucket: string;
  /** As in logs and errors: `aws/journal`. */
  name: string;
  /** Stands before every key in the bucket, with its own `/`. Default none. */
  prefix?: string;
  /** True where the bucket is versioned: `delete` then removes every version, by name. Default false. */
  versioned?: boolean;
  timeouts?: Timeouts;
}

/** One bucket of S3, or of what speaks like it and honours conditional writes. */
export function s3Store(options: S3StoreOptions): StateStore {
  return new S3Store(options);
}

/** @source https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (2026-11) */
class S3Store implements StateStore {
  readonly name: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #versioned: boolean;
  readonly #timeouts: Timeouts;

  constructor(options: S3StoreOptions) {
    this.name = options.name;
    this.#client = options.client;
    this.#bucket = options.bucket;
    this.#prefix = options.prefix ?? '';
    this.#versioned = options.versioned ?? false;
    this.#timeouts = options.timeouts ?? defaultTimeouts;
  }

  async putIfAbsent(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutResult> {
    const put = () => this.#put(key, body, { IfNoneMatch: '*' }, options);
    return await writeUntilKnown<PutResult>(
      async () => {
        const etag = await retryBriefly(options, put);
        return etag === undefined ? { status: 'exists' } : { status: 'created', etag };
      },
      (lost) => resolveLostCreate(this, key, body, lost, options),
    );
  }

  async putIfMatch(key: string, body: Uint8Array, etag: ETag, options: PutOptions = {}): Promise<ReplaceResult> {
    const put = () => this.#put(key, body, { IfMatch: etag }, options);
    return await writeUntilKnown<ReplaceResult>(
      async () => {
        const replaced = await retryBriefly(options, put);
        return replaced === undefined ? { status: 'stale' } : { status: 'replaced', etag: replaced };
      },
      (lost) => resolveLostReplace(this, key, body, etag, lost, options),
    );
  }

  async putStreamIfAbsent(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<PutResult> {
    options.signal?.throwIfAborted();
    const blocks = blocksOf(body, PART_BYTES, options.signal);
    const head = await firstTwo(blocks);
    if (head.length < 2) return await this.putIfAbsent(key, head[0] ?? new Uint8Array(), options);
    const target = this.#uploadTarget(key, options);
    const parts = await uploadParts(target, chained(head, blocks)).finally(() => blocks.return(undefined));
    try {
      const put = await writeUntilKnown(
        () => completeUpload(target, parts),
        (lost) => resolveLostStreamCreate(this, key, parts, lost, options),
      );
      if (put.status === 'exists') await abortUpload(this.#uploadTarget(key, {}), parts.uploadId);
      return put;
    } catch (error) {
      await abortUpload(this.#uploadTarget(key, {}), parts.uploadId);
      throw error;
    }
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

  async head(key: string, options: CallOptions = {}): Promise<{ bytes: number; etag: ETag } | undefined> {
    return await retryBriefly(options, () =>
      this.#call('repeatable', options, 0, (signal) => this.#properties(key, signal)),
    );
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    const { after, limit } = options;
    const page = await retryBriefly(options, () =>
      this.#call('repeatable', options, 0, (abortSignal) => {
        const list = new ListObjectsV2Command({
          Bucket: this.#bucket,
          Prefix: this.#prefix + prefix,
          StartAfter: after === undefined ? undefined : this.#prefix + after,
          MaxKeys: limit,
        });
        return this.#client.send(list, { abortSignal });
      }),
    );
    const entries = (page.Contents ?? []).map(({ Key = '', Size = 0, ETag = '' }) => ({
      key: Key.slice(this.#prefix.length),
      bytes: Size,
      etag: ETag,
    }));
    return { entries, more: page.IsTruncated ?? false };
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    if (!this.#versioned) {
      await this.#deleteVersion(key, undefined, options);
      return;
    }
    let page: { versions: string[]; more: boolean };
    do {
      page = await this.#versionsOf(key, options);
      for (const version of page.versions) await this.#deleteVersion(key, version, options);
    } while (page.more);
  }

  /** The new ETag; `undefined` where the condition was refused. */
  async #put(
    key: string,
    body: Uint8Array,
    condition: { IfNoneMatch: '*' } | { IfMatch: ETag },
    options: PutOptions,
  ): Promise<ETag | undefined> {
    return await this.#call('once', options, body.byteLength, async (abortSignal) => {
      try {
        const put = new PutObjectCommand({
          ...this.#place(key),
          Body: body,
          ContentLength: body.byteLength,
          ContentType: contentTypeOf(key, options),
          ...condition,
        });
        return (await this.#client.send(put, { abortSignal })).ETag;
      } catch (error) {
        if (statusOf(error) === 412) return undefined;
        // What `If-Match` finds missing is stale too.
        if ('IfMatch' in condition && awsCodeOf(error) === 'NoSuchKey') return undefined;
        throw error;
      }
    });
  }

  async #open(key: string, options: GetOptions): Promise<StoredStream | undefined> {
    return await this.#call('repeatable', options, 0, async (abortSignal) => {
      const { range } = options;
      if (range?.length === 0) return withoutBytes(await this.#properties(key, abortSignal));
      try {
        const Range = range && `bytes=${range.offset}-${range.offset + range.length - 1}`;
        const found = await this.#client.send(new GetObjectCommand({ ...this.#place(key), Range }), { abortSignal });
        const bytes = found.ContentLength ?? 0;
        return { bytes, etag: found.ETag ?? '', body: this.#bytesOf(found.Body as Readable, bytes, options) };
      } catch (error) {
        // A range that starts at the end or behind it.
        if (statusOf(error) === 416) return withoutBytes(await this.#properties(key, abortSignal));
        return orNothing(error);
      }
    });
  }

  async #properties(key: string, abortSignal: AbortSignal): Promise<{ bytes: number; etag: ETag } | undefined> {
    try {
      const found = await this.#client.send(new HeadObjectCommand(this.#place(key)), { abortSignal });
      return { bytes: found.ContentLength ?? 0, etag: found.ETag ?? '' };
    } catch (error) {
      return orNothing(error);
    }
  }

  async #deleteVersion(key: string, version: string | undefined, options: CallOptions): Promise<void> {
    const remove = new DeleteObjectCommand({ ...this.#place(key), VersionId: version });
    await retryBriefly(options, () =>
      this.#call('repeatable', options, 0, (abortSignal) => this.#client.send(remove, { abortSignal })),
    );
  }

  /** Versions and delete markers of one key, up to a page of them. */
  async #versionsOf(key: string, options: CallOptions): Promise<{ versions: string[]; more: boolean }> {
    const { Key } = this.#place(key);
    const list = new ListObjectVersionsCommand({ Bucket: this.#bucket, Prefix: Key });
    const page = await retryBriefly(options, () =>
      this.#call('repeatable', options, 0, (abortSignal) => this.#client.send(list, { abortSignal })),
    );
    const found = [...(page.Versions ?? []), ...(page.DeleteMarkers ?? [])];
    const versions = found.filter((each) => each.Key === Key).map(({ VersionId = 'null' }) => VersionId);
    // The key itself is the first of all that start with it.
    return { versions, more: page.IsTruncated === true && versions.length === found.length };
  }

  async *#bytesOf(stream: Readable, bytes: number, options: CallOptions): AsyncGenerator<Uint8Array> {
    let left = bytes;
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
        left -= chunk.byteLength;
        yield chunk;
        options.signal?.throwIfAborted();
        watch();
      }
      if (left !== 0) throw new Error(`body ended ${left} bytes early`);
    } catch (error) {
      options.signal?.throwIfAborted();
      throw awsError(error, this.name, 'repeatable');
    } finally {
      clearTimeout(stalled);
      stream.destroy();
    }
  }

  #place(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  #uploadTarget(key: string, options: PutOptions): UploadTarget {
    const call: UploadTarget['call'] = (effect, bytes, run) =>
      effect === 'once'
        ? this.#call(effect, options, bytes, run)
        : retryBriefly(options, () => this.#call(effect, options, bytes, run));
    const contentType = contentTypeOf(key, options);
    return { client: this.#client, bucket: this.#bucket, key: this.#prefix + key, contentType, call };
  }

  async #call<T>(
    effect: Effect,
    options: CallOptions,
    bytes: number,
    call: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const translate = (error: unknown) => (error instanceof HoldfastError ? error : awsError(error, this.name, effect));
    return await attempt(this.#timeouts, options, { bytes, translate }, call);
  }
}

async function firstTwo(blocks: AsyncGenerator<Uint8Array>): Promise<Uint8Array[]> {
  const head: Uint8Array[] = [];
  while (head.length < 2) {
    const next = await blocks.next();
    if (next.done) break;
    head.push(next.value);
  }
  return head;
}

/** Takes what it gives out of `head`, so that nothing holds on to a block that was uploaded. */
async function* chained(head: Uint8Array[], rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  while (head.length > 0) yield head.shift()!;
  yield* rest;
}

/** A missing object is a value; a missing bucket is not (but for HEAD, whose 404 has no body to tell them apart). */
function orNothing(error: unknown): undefined {
  if (statusOf(error) !== 404 || awsCodeOf(error) === 'NoSuchBucket') throw error;
}

function withoutBytes(found: { etag: ETag } | undefined): StoredStream | undefined {
  return found && { bytes: 0, etag: found.etag, body: (async function* () {})() };
}

function contentTypeOf(key: string, options: PutOptions): string {
  if (options.contentType !== undefined) return options.contentType;
  if (key.endsWith('.json')) return 'application/json';
  return key.endsWith('.jsonl') ? 'application/x-ndjson' : 'application/octet-stream';
}
