import type {
  ETag,
  GetOptions,
  ListOptions,
  ListPage,
  PutOptions,
  PutResult,
  StoredObject,
  StoredStream,
} from '../../../shared/ports/object-store.ts';
import { InMemoryObjectStore } from '../../in-memory/object-store.ts';

/** Told of everything that a store takes or gives up, at the moment at which it does. */
export interface StoreWitness {
  created(store: SimulatedStore, key: string, bytes: Uint8Array): void;
  deleted(store: SimulatedStore, key: string): void;
}

/**
 * A bucket or container: strongly consistent, conditional writes that are refused as S3 and Blob refuse them. While it
 * is `stale` it answers reads from a copy, as a cache before a store does whose backend is down.
 */
export class SimulatedStore extends InMemoryObjectStore {
  /** `aws`, `azure` or `witness`. */
  readonly site: string;
  readonly container: 'journal' | 'state';
  readonly #witness: StoreWitness;
  #cache: InMemoryObjectStore | undefined;

  constructor(site: string, container: 'journal' | 'state', witness: StoreWitness) {
    super(`${site}/${container}`);
    this.site = site;
    this.container = container;
    this.#witness = witness;
  }

  answerFromCache(isOn: boolean): void {
    this.#cache = isOn ? this.copy(this.name) : undefined;
  }

  override async putIfAbsent(key: string, body: Uint8Array, options?: PutOptions): Promise<PutResult> {
    const result = await super.putIfAbsent(key, body, options);
    if (result.status === 'created') this.#witness.created(this, key, this.peek(key)!);
    return result;
  }

  override async putStreamIfAbsent(
    key: string,
    body: AsyncIterable<Uint8Array>,
    options?: PutOptions,
  ): Promise<PutResult> {
    const result = await super.putStreamIfAbsent(key, body, options);
    if (result.status === 'created') this.#witness.created(this, key, this.peek(key)!);
    return result;
  }

  override async delete(key: string): Promise<void> {
    const wasThere = this.peek(key) !== undefined;
    await super.delete(key);
    if (wasThere) this.#witness.deleted(this, key);
  }

  override get(key: string, options?: GetOptions): Promise<StoredObject | undefined> {
    return this.#cache === undefined ? super.get(key, options) : this.#cache.get(key, options);
  }

  override head(key: string): Promise<{ bytes: number; etag: ETag } | undefined> {
    return this.#cache === undefined ? super.head(key) : this.#cache.head(key);
  }

  override list(prefix: string, options?: ListOptions): Promise<ListPage> {
    return this.#cache === undefined ? super.list(prefix, options) : this.#cache.list(prefix, options);
  }

  override getStream(key: string, options?: GetOptions): Promise<StoredStream | undefined> {
    return this.#cache === undefined ? super.getStream(key, options) : this.#cache.getStream(key, options);
  }
}
