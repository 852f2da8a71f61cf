import { InvariantError } from '../../shared/errors.ts';
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

/** The operations of a store, as counters, faults and hooks name them. */
export type StoreOp =
  | 'putIfAbsent'
  | 'putStreamIfAbsent'
  | 'putIfMatch'
  | 'get'
  | 'getStream'
  | 'head'
  | 'list'
  | 'delete';

interface Kept {
  bytes: Uint8Array;
  etag: ETag;
}

const STREAM_CHUNK_BYTES = 64 * 1024;
const LIST_LIMIT_MAX = 1000;

/**
 * A store in this process's memory, for tests and simulation. Does everything at once and in call order; hands out and
 * keeps copies, so that nobody can change a fact.
 */
export class InMemoryObjectStore implements StateStore {
  readonly name: string;
  /** How often each operation was called. */
  readonly calls: Record<StoreOp, number>;
  readonly #objects = new Map<string, Kept>();
  /** All keys in byte order. */
  readonly #keys: string[] = [];
  #writes = 0;

  constructor(name: string) {
    this.name = name;
    this.calls = noCalls();
  }

  async putIfAbsent(key: string, body: Uint8Array, options: PutOptions = {}): Promise<PutResult> {
    this.#called('putIfAbsent', key, options);
    return this.#create(key, body);
  }

  async putStreamIfAbsent(key: string, body: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<PutResult> {
    this.#called('putStreamIfAbsent', key, options);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) {
      options.signal?.throwIfAborted();
      chunks.push(chunk);
    }
    return this.#create(key, Buffer.concat(chunks));
  }

  async putIfMatch(key: string, body: Uint8Array, etag: ETag, options: PutOptions = {}): Promise<ReplaceResult> {
    this.#called('putIfMatch', key, options);
    if (this.#objects.get(key)?.etag !== etag) return { status: 'stale' };
    return { status: 'replaced', etag: this.#keep(key, body) };
  }

  async get(key: string, options: GetOptions = {}): Promise<StoredObject | undefined> {
    this.#called('get', key, options);
    const kept = this.#objects.get(key);
    return kept && { bytes: copied(cut(kept.bytes, options)), etag: kept.etag };
  }

  async getStream(key: string, options: GetOptions = {}): Promise<StoredStream | undefined> {
    this.#called('getStream', key, options);
    const kept = this.#objects.get(key);
    if (kept === undefined) return undefined;
    const bytes = cut(kept.bytes, options);
    return { bytes: bytes.byteLength, etag: kept.etag, body: inChunks(bytes, options.signal) };
  }

  async head(key: string, options: CallOptions = {}): Promise<{ bytes: number; etag: ETag } | undefined> {
    this.#called('head', key, options);
    const kept = this.#objects.get(key);
    return kept && { bytes: kept.bytes.byteLength, etag: kept.etag };
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    this.#called('list', prefix, options);
    const limit = options.limit ?? LIST_LIMIT_MAX;
    const page: ListPage = { entries: [], more: false };
    const { after } = options;
    let at = this.#indexOf(prefix);
    if (after !== undefined && after >= prefix) {
      at = this.#indexOf(after);
      if (this.#keys[at] === after) at++;
    }
    for (; at < this.#keys.length; at++) {
      const key = this.#keys[at] as string;
      if (!key.startsWith(prefix)) break;
      if (page.entries.length === limit) return { ...page, more: true };
      const kept = this.#objects.get(key) as Kept;
      page.entries.push({ key, bytes: kept.bytes.byteLength, etag: kept.etag });
    }
    return page;
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    this.#called('delete', key, options);
    if (this.#objects.delete(key)) this.#keys.splice(this.#indexOf(key), 1);
  }

  /** Forgets everything: the loss of this store. */
  wipe(): void {
    this.#objects.clear();
    this.#keys.length = 0;
  }

  /** What lies under `key` now: for judges, who stand outside and make no calls. Not to be written to. */
  peek(key: string): Uint8Array | undefined {
    return this.#objects.get(key)?.bytes;
  }

  /** Keys under `prefix` in byte order, for judges. */
  keysUnder(prefix: string): string[] {
    const keys: string[] = [];
    for (let at = this.#indexOf(prefix); at < this.#keys.length && this.#keys[at]!.startsWith(prefix); at++)
      keys.push(this.#keys[at]!);
    return keys;
  }

  /** A store that holds what this one holds now, and goes on by itself: a backup, or a cache. */
  copy(name: string): InMemoryObjectStore {
    const copy = new InMemoryObjectStore(name);
    for (const [key, kept] of this.#objects) copy.#objects.set(key, kept);
    copy.#keys.push(...this.#keys);
    copy.#writes = this.#writes;
    return copy;
  }

  #called(op: StoreOp, key: string, options: CallOptions): void {
    this.calls[op]++;
    options.signal?.throwIfAborted();
    // Comparing strings is comparing bytes only within ASCII.
    if (!/^[\x20-\x7e]*$/.test(key))
      throw new InvariantError('key_invalid', `not an ASCII key: ${JSON.stringify(key)}`);
  }

  #create(key: string, body: Uint8Array): PutResult {
    if (this.#objects.has(key)) return { status: 'exists' };
    return { status: 'created', etag: this.#keep(key, body) };
  }

  #keep(key: string, body: Uint8Array): ETag {
    const etag = `"${++this.#writes}"`;
    if (!this.#objects.has(key)) this.#keys.splice(this.#indexOf(key), 0, key);
    this.#objects.set(key, { bytes: new Uint8Array(body), etag });
    return etag;
  }

  /** Where `key` stands among the keys, or would. */
  #indexOf(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** From the pool of small buffers: an array of its own costs several times as much, and most facts are small. */
const copied = (bytes: Uint8Array): Uint8Array => Buffer.from(bytes);

function cut(bytes: Uint8Array, { range }: GetOptions): Uint8Array {
  return range === undefined ? bytes : bytes.subarray(range.offset, range.offset + range.length);
}

async function* inChunks(bytes: Uint8Array, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes.byteLength; offset += STREAM_CHUNK_BYTES) {
    signal?.throwIfAborted();
    yield bytes.slice(offset, offset + STREAM_CHUNK_BYTES);
  }
}

function noCalls(): Record<StoreOp, number> {
  return {
    putIfAbsent: 0,
    putStreamIfAbsent: 0,
    putIfMatch: 0,
    get: 0,
    getStream: 0,
    head: 0,
    list: 0,
    delete: 0,
  };
}
