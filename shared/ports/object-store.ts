/**
 * One container of immutable facts, asked for little: put if absent, get, list by prefix, delete.
 * Every implementation passes `test/conformance/object-store.ts`.
 *
 * Keys are 1 to 900 characters of `A-Z a-z 0-9 / ! $ & ' ( ) * + , - . : ; = @ _ ~ %` and space, without a leading or
 * trailing `/`, `//`, or a segment `.` or `..`.
 *
 * All methods reject with `SiteUnavailableError` (refused, DNS, credentials, 5xx after the client's own short retries),
 * `TransientError` (throttled, with `retryAfterMs` where told) or `OutcomeUnknownError` (a write whose reply was lost and
 * which could not be read back). A missing object is a value (`undefined`), not an error.
 */
export interface ObjectStore {
  /** For logs and errors: `aws/journal`, `witness/state`, … */
  readonly name: string;

  /**
   * Creates `key` unless it exists. A reply lost on the way is resolved inside: the object is read back and compared,
   * and equal bytes mean that the write succeeded (`created`). So `exists` always means *other bytes, or written
   * before this call*; callers that write pure functions of facts may treat both alike.
   */
  putIfAbsent(key: string, body: Uint8Array, options?: PutOptions): Promise<PutResult>;

  /** As `putIfAbsent` for a body of unknown or large size, in bounded memory (≤ 32 MiB held). Not retried by itself. */
  putStreamIfAbsent(key: string, body: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<PutResult>;

  /** The whole object or a byte range of it; `undefined` where there is none. A range past the end is cut to the end. */
  get(key: string, options?: GetOptions): Promise<StoredObject | undefined>;

  /** As `get`, streamed. */
  getStream(key: string, options?: GetOptions): Promise<StoredStream | undefined>;

  /** Size and ETag without the bytes. */
  head(key: string, options?: CallOptions): Promise<{ bytes: number; etag: string } | undefined>;

  /** Keys under `prefix` in ascending byte order, strongly consistent. One page costs one call of the store. */
  list(prefix: string, options?: ListOptions): Promise<ListPage>;

  /** Removes `key` in every version; nothing happens where there is none. Only hints, and what a tombstone condemned. */
  delete(key: string, options?: CallOptions): Promise<void>;
}

/** The small mutable container (`state`): registers, hints, observations. */
export interface StateStore extends ObjectStore {
  /**
   * Replaces `key` if its ETag is still `etag`. A lost reply is resolved as in `putIfAbsent` (callers put fresh random
   * bits into what they write, so equal bytes mean that this very write succeeded).
   */
  putIfMatch(key: string, body: Uint8Array, etag: string, options?: PutOptions): Promise<ReplaceResult>;
}

export interface CallOptions {
  /** Once aborted, the call rejects with the signal's reason; what was sent before may still take effect. */
  signal?: AbortSignal;
}

export interface PutOptions extends CallOptions {
  /** Default `application/json` for keys that end in `.json`, `application/x-ndjson` for `.jsonl`, else octet-stream. */
  contentType?: string;
}

export interface GetOptions extends CallOptions {
  /** Bytes `offset` … `offset + length - 1`. */
  range?: { offset: number; length: number };
}

export interface ListOptions extends CallOptions {
  /** Only keys strictly greater than this one, in byte order. */
  after?: string;
  /** At most this many entries, 1 … 1,000 (default 1,000). */
  limit?: number;
}

/**
 * Opaque. Differs whenever the bytes differ. Two writes of equal bytes may share one (S3 hashes the content), so who
 * compares and swaps puts fresh random bits into what it writes.
 */
export type ETag = string;

export type PutResult = { status: 'created'; etag: ETag } | { status: 'exists' };
export type ReplaceResult = { status: 'replaced'; etag: ETag } | { status: 'stale' };
export interface StoredObject {
  bytes: Uint8Array;
  etag: ETag;
}
export interface StoredStream {
  /** Length of what `body` yields. */
  bytes: number;
  etag: ETag;
  body: AsyncIterable<Uint8Array>;
}
export interface ListEntry {
  key: string;
  bytes: number;
  etag: ETag;
}
export interface ListPage {
  entries: ListEntry[];
  /** True if keys after the last entry may exist: go on with `after: entries.at(-1).key`. */
  more: boolean;
}

/** All keys under a prefix, page by page. */
export async function* listAll(
  store: ObjectStore,
  prefix: string,
  options: Omit<ListOptions, 'limit'> = {},
): AsyncGenerator<ListEntry> {
  let after = options.after;
  for (;;) {
    const page = await store.list(prefix, { after, signal: options.signal });
    yield* page.entries;
    after = page.entries.at(-1)?.key;
    if (!page.more || after === undefined) return;
  }
}
