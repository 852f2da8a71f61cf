import { ConfigError } from '../errors.ts';
import { equalBytes } from '../journal/json.ts';
import type { CallOptions, ObjectStore, StateStore } from '../ports/object-store.ts';
import type { Ids } from '../ports/random.ts';
import type { Stores } from '../ports/site.ts';

/**
 * Accepts a store as a witness only after it has refused a second create, in both containers, and a stale replace, and
 * has shown each write to the next read. Some S3 dialects take the conditions and ignore them: then two values could be
 * decided under one name. Leaves nothing behind.
 * @throws ConfigError `witness`, naming what the store did; whatever its calls throw if it does not answer
 */
export async function verifyWitness(
  witness: Pick<Stores, 'journal' | 'state'>,
  ids: Ids,
  options: CallOptions = {},
): Promise<void> {
  const key = `probes/${ids.uuid()}`;
  const body = () => Buffer.from(ids.uuid());
  await verifyCreate(witness.journal, key, body(), body(), options);
  const first = body();
  const etag = await verifyCreate(witness.state, key, first, body(), options);
  await verifyReplace(witness.state, key, etag, [body(), body()], options);
}

async function verifyCreate(
  store: ObjectStore,
  key: string,
  first: Uint8Array,
  second: Uint8Array,
  options: CallOptions,
): Promise<string> {
  try {
    const created = await store.putIfAbsent(key, first, options);
    if (created.status !== 'created') throw refused(store, 'it says that a new key exists');
    const again = await store.putIfAbsent(key, second, options);
    const read = await store.get(key, options);
    if (again.status === 'created' || read === undefined || !equalBytes(read.bytes, first))
      throw refused(store, 'it took a second create of one key: it ignores If-None-Match');
    return read.etag;
  } finally {
    await store.delete(key, options);
  }
}

async function verifyReplace(
  store: StateStore,
  key: string,
  deletedEtag: string,
  [first, second]: [Uint8Array, Uint8Array],
  options: CallOptions,
): Promise<void> {
  try {
    if ((await store.putIfMatch(key, first, deletedEtag, options)).status === 'replaced')
      throw refused(store, 'it replaced a key that was not there: it ignores If-Match');
    const created = await store.putIfAbsent(key, first, options);
    if (created.status !== 'created') throw refused(store, 'a key that was deleted is still there');
    const replaced = await store.putIfMatch(key, second, created.etag, options);
    if (replaced.status !== 'replaced') throw refused(store, 'it refused a replace over the ETag that it had given');
    const stale = await store.putIfMatch(key, first, created.etag, options);
    const read = await store.get(key, options);
    if (stale.status === 'replaced' || read === undefined || !equalBytes(read.bytes, second))
      throw refused(store, 'it took a stale replace, or shows an old object: it ignores If-Match, or is cached');
  } finally {
    await store.delete(key, options);
  }
}

const refused = (store: ObjectStore, what: string) =>
  new ConfigError('witness', `${store.name} cannot be a witness: ${what}`);
