import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { ListEntry, ObjectStore, StateStore } from '../../shared/ports/object-store.ts';
import { listAll } from '../../shared/ports/object-store.ts';
import { type Gaps, liveBufferBytes, type Network, patternBytes, readAll, rejectionOf, utf8 } from './support.ts';

/** What a factory hands to the suite: a store to write into under keys of the suite's own, and a hand on its network. */
export interface StoreUnderTest<S extends ObjectStore = ObjectStore> {
  store: S;
  /** Needed unless the gap `network` is declared. */
  network?: Network;
  close(): Promise<void>;
}

export type StoreFactory<S extends ObjectStore = ObjectStore> = () => Promise<StoreUnderTest<S>>;

/**
 * `network`: replies cannot be lost here. `replies`: every reply to a write is lost here. `memory`: objects live in this
 * process, so that its memory says nothing.
 */
export type StoreGap = 'network' | 'replies' | 'memory';

const MiB = 1024 * 1024;

/**
 * The promise of `ObjectStore`, as tests. Call it at the top of a test file, once for each implementation. The factory
 * is called once; the store may hold other keys, but none under `conformance/`.
 */
export function objectStoreConformance(name: string, factory: StoreFactory, gaps: Gaps<StoreGap> = {}): void {
  describe(`${name} as an ObjectStore`, () => {
    const { at, network, testUnless } = useStore(factory, gaps);

    describe('putIfAbsent', () => {
      test('creates an absent key and answers with the ETag that get and head give', async () => {
        const { store, key } = at('create');
        const put = await store.putIfAbsent(key, utf8('first'));
        const etag = put.status === 'created' ? put.etag : 'none';
        expect(put).toEqual({ status: 'created', etag: expect.stringMatching(/./) });
        expect(await store.get(key)).toEqual({ bytes: utf8('first'), etag });
        expect(await store.head(key)).toEqual({ bytes: 5, etag });
      });

      test('leaves an existing object alone and says exists', async () => {
        const { store, key } = at('exists');
        await store.putIfAbsent(key, utf8('first'));
        expect(await store.putIfAbsent(key, utf8('second'))).toEqual({ status: 'exists' });
        expect((await store.get(key))?.bytes).toEqual(utf8('first'));
      });

      testUnless('replies', 'says exists to the same bytes again, as long as the reply arrives', async () => {
        const { store, key } = at('exists-equal');
        await store.putIfAbsent(key, utf8('first'));
        expect(await store.putIfAbsent(key, utf8('first'))).toEqual({ status: 'exists' });
      });

      test('lets exactly one of 20 racing creators win, and keeps its bytes', async () => {
        const { store, key } = at('race');
        const bodies = Array.from({ length: 20 }, (_, i) => utf8(`creator ${i}`));
        const puts = await Promise.all(bodies.map((body) => store.putIfAbsent(key, body)));
        const winners = bodies.filter((_, i) => puts[i]?.status === 'created');
        expect(winners).toHaveLength(1);
        expect((await store.get(key))?.bytes).toEqual(winners[0]);
      });

      test('creates a key again after it was deleted', async () => {
        const { store, key } = at('again');
        await store.putIfAbsent(key, utf8('first'));
        await store.delete(key);
        expect((await store.putIfAbsent(key, utf8('second'))).status).toBe('created');
        expect((await store.get(key))?.bytes).toEqual(utf8('second'));
      });

      test('takes the bytes of a view into a larger buffer, and any byte value', async () => {
        const { store, key } = at('bytes.bin');
        const all = Uint8Array.from({ length: 1024 }, (_, i) => i % 256);
        await store.putIfAbsent(key, all.subarray(256, 768), { contentType: 'application/octet-stream' });
        expect((await store.get(key))?.bytes).toEqual(all.slice(256, 768));
      });

      testUnless('network', 'calls a write whose reply was lost created, having read it back', async () => {
        const { store, key } = at('lost-reply');
        network().loseNextWriteReply();
        const put = await store.putIfAbsent(key, utf8('mine'));
        const head = await store.head(key);
        expect(put).toEqual({ status: 'created', etag: head?.etag });
      });

      testUnless('network', 'says exists where the reply was lost and other bytes stand there', async () => {
        const { store, key } = at('lost-reply-of-loser');
        await store.putIfAbsent(key, utf8('theirs'));
        network().loseNextWriteReply();
        expect(await store.putIfAbsent(key, utf8('mine'))).toEqual({ status: 'exists' });
        expect((await store.get(key))?.bytes).toEqual(utf8('theirs'));
      });

      testUnless('network', 'rejects with OutcomeUnknownError where the write cannot be read back', async () => {
        const { store, key } = at('unknown');
        network().loseReplies(true);
        const error = await rejectionOf(store.putIfAbsent(key, utf8('mine')));
        network().loseReplies(false);
        expect(error.name).toBe('OutcomeUnknownError');
        expect((await store.get(key))?.bytes).toEqual(utf8('mine'));
      });
    });

    describe('putStreamIfAbsent', () => {
      test('stores an empty stream as an empty object', async () => {
        const { store, key } = at('stream-empty');
        expect((await store.putStreamIfAbsent(key, chunks(0, 1))).status).toBe('created');
        expect((await store.get(key))?.bytes).toEqual(new Uint8Array());
      });

      test.each([
        ['small', 1000, 7],
        ['larger than one part', 17 * MiB + 3, 1_000_003],
      ])('stores a %s stream, whatever its chunks, and says exists to a second one', async (label, bytes, chunk) => {
        const { store, key } = at(`stream-${label.replaceAll(' ', '-')}`);
        const put = await store.putStreamIfAbsent(key, chunks(bytes, chunk));
        expect(put).toEqual({ status: 'created', etag: (await store.head(key))?.etag });
        expect(await store.putStreamIfAbsent(key, chunks(bytes + 1, chunk))).toEqual({ status: 'exists' });
        const read = await store.get(key);
        expect(Buffer.compare(read?.bytes ?? utf8(''), patternBytes(0, bytes))).toBe(0);
      });

      test('lets exactly one of 5 racing large streams win', async () => {
        const { store, key } = at('stream-race');
        const sizes = [0, 1, 2, 3, 4].map((i) => 9 * MiB + i);
        const puts = await Promise.allSettled(sizes.map((bytes) => store.putStreamIfAbsent(key, chunks(bytes, MiB))));
        const statuses = puts.map((put) => (put.status === 'fulfilled' ? put.value.status : put.reason.name));
        expect(statuses.filter((status) => status === 'created')).toHaveLength(1);
        // A loser may also be told to bring all parts again.
        for (const status of statuses) expect(['created', 'exists', 'TransientError']).toContain(status);
        expect((await store.head(key))?.bytes).toBe(sizes[statuses.indexOf('created')]);
      });

      test.each([
        ['small', 10],
        ['large', 20 * MiB],
      ])('leaves nothing behind when a %s source fails, and rejects with its error', async (label, bytes) => {
        const { store, key } = at(`stream-source-fails-${label}`);
        const failing = async function* () {
          yield* chunks(bytes, MiB);
          throw new Error('source went away');
        };
        expect((await rejectionOf(store.putStreamIfAbsent(key, failing()))).message).toBe('source went away');
        expect(await store.head(key)).toBeUndefined();
      });

      testUnless('network', 'calls a stream whose last reply was lost created, having read it back', async () => {
        const { store, key } = at('stream-lost-reply');
        for (const bytes of [100, 18 * MiB]) {
          network().loseNextWriteReply();
          const put = await store.putStreamIfAbsent(`${key}-${bytes}`, chunks(bytes, MiB));
          expect(put).toEqual({ status: 'created', etag: (await store.head(`${key}-${bytes}`))?.etag });
        }
      });

      testUnless('memory', 'holds at most 32 MiB of a large stream, and as little when it is read back', async () => {
        const { store, key } = at('stream-memory');
        const total = 64 * MiB;
        const before = liveBufferBytes();
        let peak = 0;
        const watched = async function* () {
          for (let offset = 0; offset < total; offset += MiB) {
            yield patternBytes(offset, MiB);
            if (offset % (8 * MiB) === 0) peak = Math.max(peak, liveBufferBytes() - before);
          }
        };
        await store.putStreamIfAbsent(key, watched());
        expect(peak).toBeLessThan(36 * MiB);
        const read = await store.getStream(key);
        peak = 0;
        let seen = 0;
        for await (const chunk of read?.body ?? []) {
          const from = seen;
          seen += chunk.byteLength;
          if (Math.floor(seen / (8 * MiB)) > Math.floor(from / (8 * MiB))) {
            peak = Math.max(peak, liveBufferBytes() - before);
          }
        }
        expect(seen).toBe(total);
        expect(peak).toBeLessThan(36 * MiB);
      });
    });

    describe('get and getStream', () => {
      test('give undefined, not an error, for a missing object', async () => {
        const { store, key } = at('missing');
        expect(await store.get(key)).toBeUndefined();
        expect(await store.get(key, { range: { offset: 5, length: 5 } })).toBeUndefined();
        expect(await store.getStream(key)).toBeUndefined();
        expect(await store.getStream(key, { range: { offset: 5, length: 5 } })).toBeUndefined();
        expect(await store.head(key)).toBeUndefined();
      });

      test.each([
        ['the whole', 0, 10, '0123456789'],
        ['the start', 0, 1, '0'],
        ['the middle', 3, 4, '3456'],
        ['the last byte', 9, 1, '9'],
        ['across the end', 8, 100, '89'],
        ['just past the end', 10, 5, ''],
        ['far past the end', 5_000_000_000, 5, ''],
        ['of no length', 4, 0, ''],
      ])('cut a range to what is there: %s', async (_label, offset, length, expected) => {
        const { store, key } = at('ranges');
        await store.putIfAbsent(key, utf8('0123456789'));
        const etag = (await store.head(key))?.etag;
        expect(await store.get(key, { range: { offset, length } })).toEqual({ bytes: utf8(expected), etag });
        const stream = await store.getStream(key, { range: { offset, length } });
        expect({ bytes: stream?.bytes, etag: stream?.etag }).toEqual({ bytes: expected.length, etag });
        expect(await readAll(stream?.body ?? [])).toEqual(utf8(expected));
      });

      test('give an empty object and any range of it as no bytes', async () => {
        const { store, key } = at('empty');
        await store.putIfAbsent(key, new Uint8Array());
        const etag = (await store.head(key))?.etag;
        expect(await store.head(key)).toEqual({ bytes: 0, etag });
        expect(await store.get(key)).toEqual({ bytes: new Uint8Array(), etag });
        expect(await store.get(key, { range: { offset: 0, length: 10 } })).toEqual({ bytes: new Uint8Array(), etag });
        const stream = await store.getStream(key, { range: { offset: 0, length: 10 } });
        expect(stream?.bytes).toBe(0);
        expect(await readAll(stream?.body ?? [])).toEqual(new Uint8Array());
      });

      test('stream a large range exactly', async () => {
        const { store, key } = at('stream-range');
        await store.putStreamIfAbsent(key, chunks(17 * MiB, MiB));
        const stream = await store.getStream(key, { range: { offset: 12_345, length: 16 * MiB } });
        expect(stream?.bytes).toBe(16 * MiB);
        const read = await readAll(stream?.body ?? []);
        expect(Buffer.compare(read, patternBytes(12_345, 16 * MiB))).toBe(0);
      });

      test('let go of what they hold when a reader leaves early', async () => {
        const { store, key } = at('leave-early');
        await store.putStreamIfAbsent(key, chunks(2 * MiB, MiB));
        // More readers than any client keeps sockets for.
        for (let i = 0; i < 120; i++) {
          const stream = await store.getStream(key);
          for await (const _chunk of stream?.body ?? []) break;
        }
        expect((await store.get(key, { range: { offset: 0, length: 1 } }))?.bytes).toHaveLength(1);
      });
    });

    describe('list', () => {
      const sorted = (entries: ListEntry[]) => entries.map((entry) => entry.key);

      test('gives keys under the prefix in ascending byte order, with size and ETag', async () => {
        const { store, key } = at('order');
        const names = ['b', 'a/z', 'a', 'A', 'a-', 'a.', 'a0', 'aB', 'ab', '~', '0', '_'];
        for (const leaf of names) await store.putIfAbsent(`${key}/${leaf}`, utf8(leaf));
        await store.putIfAbsent(`${key}0`, utf8('beside'));
        const page = await store.list(`${key}/`);
        const expected = names.map((leaf) => `${key}/${leaf}`).sort(byByteOrder);
        expect(sorted(page.entries)).toEqual(expected);
        expect(page.more).toBe(false);
        const head = await store.head(`${key}/a/z`);
        expect(page.entries.find((entry) => entry.key === `${key}/a/z`)).toEqual({ key: `${key}/a/z`, ...head });
      });

      test('takes a prefix that ends inside a name', async () => {
        const { store, key } = at('prefix');
        for (const leaf of ['ab1', 'ab2', 'ac1']) await store.putIfAbsent(`${key}/${leaf}`, utf8(leaf));
        expect(sorted((await store.list(`${key}/ab`)).entries)).toEqual([`${key}/ab1`, `${key}/ab2`]);
      });

      test('gives an empty page where nothing is', async () => {
        const { store, key } = at('nothing');
        expect(await store.list(`${key}/`)).toEqual({ entries: [], more: false });
        await store.putIfAbsent(`${key}/a`, utf8('a'));
        expect(await store.list(`${key}/`, { after: `${key}/a` })).toEqual({ entries: [], more: false });
      });

      test('starts strictly after a key, whether or not that key is there', async () => {
        const { store, key } = at('after');
        for (const leaf of ['a', 'c', 'e']) await store.putIfAbsent(`${key}/${leaf}`, utf8(leaf));
        const keysAfter = async (leaf: string) =>
          sorted((await store.list(`${key}/`, { after: `${key}/${leaf}` })).entries);
        expect(await keysAfter('a')).toEqual([`${key}/c`, `${key}/e`]);
        expect(await keysAfter('b')).toEqual([`${key}/c`, `${key}/e`]);
        expect(await keysAfter('d~')).toEqual([`${key}/e`]);
        expect(await keysAfter('e')).toEqual([]);
        expect(sorted((await store.list(`${key}/`, { after: 'c' })).entries)).toHaveLength(3);
        expect(sorted((await store.list(`${key}/`, { after: '~' })).entries)).toEqual([]);
      });

      test('stops at the limit and says that there is more', async () => {
        const { store, key } = at('limit');
        for (const leaf of ['a', 'b', 'c']) await store.putIfAbsent(`${key}/${leaf}`, utf8(leaf));
        const first = await store.list(`${key}/`, { limit: 2 });
        expect(sorted(first.entries)).toEqual([`${key}/a`, `${key}/b`]);
        expect(first.more).toBe(true);
        const second = await store.list(`${key}/`, { limit: 2, after: `${key}/b` });
        expect(second).toMatchObject({ entries: [{ key: `${key}/c` }], more: false });
      });

      test('pages through more than 1,000 keys without loss or repetition', async () => {
        const { store, key } = at('many');
        const keys = Array.from({ length: 1105 }, (_, i) => `${key}/${String((i * 7919) % 1105).padStart(5, '0')}`);
        for (let i = 0; i < keys.length; i += 50) {
          await Promise.all(keys.slice(i, i + 50).map((each) => store.putIfAbsent(each, utf8(each))));
        }
        const page = await store.list(`${key}/`);
        expect(page.entries).toHaveLength(1000);
        expect(page.more).toBe(true);
        const all: ListEntry[] = [];
        for await (const entry of listAll(store, `${key}/`)) all.push(entry);
        expect(sorted(all)).toEqual([...keys].sort(byByteOrder));
      });

      test('shows a new key and hides a deleted one at once', async () => {
        const { store, key } = at('consistent');
        for (let i = 0; i < 10; i++) {
          await store.putIfAbsent(`${key}/${i}`, utf8('x'));
          expect((await store.list(`${key}/`)).entries).toHaveLength(1);
          await store.delete(`${key}/${i}`);
          expect((await store.list(`${key}/`)).entries).toHaveLength(0);
        }
      });
    });

    describe('keys', () => {
      test.each([...` !$&'()*+,-.:;=@_~%`, '%2F', '%2e%2e', 'a b+c', '..a', 'a..'])(
        'with %j in them are written, listed, read and deleted under that very name',
        async (odd) => {
          const { store, key } = at('odd');
          const each = `${key}/x${odd}y/z${odd}z`;
          expect((await store.putIfAbsent(each, utf8(odd))).status).toBe('created');
          expect((await store.get(each))?.bytes).toEqual(utf8(odd));
          const page = await store.list(`${key}/x${odd}`, { after: `${key}/x${odd}` });
          expect(page.entries.map((entry) => entry.key)).toContain(each);
          await store.delete(each);
          expect(await store.head(each)).toBeUndefined();
        },
      );

      test('may be 900 characters long', async () => {
        const { store, key } = at('long');
        const long = `${key}/${'0123456789abcdef/'.repeat(60)}`.slice(0, 899).concat('z');
        await store.putIfAbsent(long, utf8('long'));
        expect((await store.get(long))?.bytes).toEqual(utf8('long'));
        expect((await store.list(`${key}/`)).entries.map((entry) => entry.key)).toEqual([long]);
      });
    });

    describe('delete', () => {
      test('removes the object, and does nothing where there is none', async () => {
        const { store, key } = at('delete');
        await store.putIfAbsent(key, utf8('x'));
        await store.delete(key);
        expect(await store.get(key)).toBeUndefined();
        await store.delete(key);
        await store.delete(`${key}-never-was`);
      });
    });

    describe('a signal', () => {
      test('that is aborted before the call rejects with its reason, and nothing happens', async () => {
        const { store, key } = at('signal');
        await store.putIfAbsent(key, utf8('here'));
        const reason = new Error('no time left');
        const signal = AbortSignal.abort(reason);
        const calls: (() => Promise<unknown>)[] = [
          () => store.putIfAbsent(`${key}-new`, utf8('x'), { signal }),
          () => store.putStreamIfAbsent(`${key}-new`, chunks(10, 3), { signal }),
          () => store.get(key, { signal }),
          () => store.getStream(key, { signal }),
          () => store.head(key, { signal }),
          () => store.list(key, { signal }),
          () => store.delete(key, { signal }),
        ];
        for (const call of calls) expect(await rejectionOf(call())).toBe(reason);
        expect(await store.head(`${key}-new`)).toBeUndefined();
        expect((await store.get(key))?.bytes).toEqual(utf8('here'));
      });

      test('that is aborted in the middle of a stream ends it, and leaves no object', async () => {
        const { store, key } = at('signal-stream');
        const abort = new AbortController();
        const reason = new Error('no time left');
        const body = async function* () {
          yield* chunks(10 * MiB, MiB);
          abort.abort(reason);
          yield* chunks(10 * MiB, MiB);
        };
        const put = store.putStreamIfAbsent(key, body(), { signal: abort.signal });
        expect(await rejectionOf(put)).toBe(reason);
        expect(await store.head(key)).toBeUndefined();
      });

      test('that is aborted while a body is being read ends the reading with its reason', async () => {
        const { store, key } = at('signal-read');
        await store.putStreamIfAbsent(key, chunks(17 * MiB, MiB));
        const abort = new AbortController();
        const reason = new Error('no time left');
        const stream = await store.getStream(key, { signal: abort.signal });
        const reading = (async () => {
          for await (const _chunk of stream?.body ?? []) abort.abort(reason);
        })();
        expect(await rejectionOf(reading)).toBe(reason);
      });
    });

    describe('a store that does not serve', () => {
      testUnless('network', 'rejects reads and writes with SiteUnavailableError that names it', async () => {
        const { store, key } = at('refused');
        await network().refuse(true);
        const errors: Error[] = [];
        for (const call of [
          () => store.get(key),
          () => store.getStream(key),
          () => store.head(key),
          () => store.list(key),
          () => store.delete(key),
          () => store.putIfAbsent(key, utf8('x')),
          () => store.putStreamIfAbsent(key, chunks(10, 3)),
        ]) {
          errors.push(await rejectionOf(call()));
        }
        await network().refuse(false);
        for (const error of errors) {
          expect(error.name).toBe('SiteUnavailableError');
          expect((error as { where?: string }).where).toBe(store.name);
        }
        expect(await store.head(key)).toBeUndefined();
      });
    });
  });
}

/** The promise of `StateStore` beyond `ObjectStore`. The factory is called once. */
export function stateStoreConformance(
  name: string,
  factory: StoreFactory<StateStore>,
  gaps: Gaps<StoreGap> = {},
): void {
  describe(`${name} as a StateStore`, () => {
    const { at, network, testUnless } = useStore(factory, gaps);

    const create = async (store: StateStore, key: string, text: string): Promise<string> => {
      const put = await store.putIfAbsent(key, utf8(text));
      if (put.status !== 'created') throw new Error(`${key} was there already`);
      return put.etag;
    };

    test('putIfMatch replaces the object whose ETag matches, and gives the new one', async () => {
      const { store, key } = at('match');
      const etag = await create(store, key, 'one');
      const replaced = await store.putIfMatch(key, utf8('two'), etag);
      expect(replaced).toEqual({ status: 'replaced', etag: (await store.head(key))?.etag });
      expect(replaced.status === 'replaced' && replaced.etag !== etag).toBe(true);
      expect((await store.get(key))?.bytes).toEqual(utf8('two'));
    });

    test('putIfMatch takes the ETag of get, of head and of list', async () => {
      const { store, key } = at('etags');
      await create(store, key, '0');
      const readers = [
        async () => (await store.get(key))?.etag,
        async () => (await store.getStream(key, { range: { offset: 0, length: 1 } }))?.etag,
        async () => (await store.head(key))?.etag,
        async () => (await store.list(key)).entries[0]?.etag,
      ];
      for (const [i, read] of readers.entries()) {
        const etag = await read();
        expect((await store.putIfMatch(key, utf8(`${i + 1}`), etag ?? '')).status).toBe('replaced');
      }
    });

    test('putIfMatch says stale to an old ETag and changes nothing', async () => {
      const { store, key } = at('stale');
      const etag = await create(store, key, 'one');
      await store.putIfMatch(key, utf8('two'), etag);
      expect(await store.putIfMatch(key, utf8('three'), etag)).toEqual({ status: 'stale' });
      expect((await store.get(key))?.bytes).toEqual(utf8('two'));
    });

    test('putIfMatch says stale for a missing key and does not create it', async () => {
      const { store, key } = at('missing');
      const etag = await create(store, key, 'one');
      await store.delete(key);
      expect(await store.putIfMatch(key, utf8('two'), etag)).toEqual({ status: 'stale' });
      expect(await store.head(key)).toBeUndefined();
    });

    test('putIfMatch lets exactly one of 20 racers win, and keeps its bytes', async () => {
      const { store, key } = at('race');
      const etag = await create(store, key, 'start');
      const bodies = Array.from({ length: 20 }, (_, i) => utf8(`racer ${i}`));
      const puts = await Promise.all(bodies.map((body) => store.putIfMatch(key, body, etag)));
      const winners = bodies.filter((_, i) => puts[i]?.status === 'replaced');
      expect(winners).toHaveLength(1);
      expect((await store.get(key))?.bytes).toEqual(winners[0]);
    });

    test('20 writers that each retry until they win lose no update', async () => {
      const { store, key } = at('counter');
      await create(store, key, '0');
      const count = (bytes: Uint8Array | undefined) => Number.parseInt(Buffer.from(bytes ?? []).toString(), 10);
      const addOne = async (_: unknown, writer: number) => {
        for (;;) {
          const now = await store.get(key);
          // Without bits of its own a writer could not tell its lost write from an equal one.
          const next = utf8(`${count(now?.bytes) + 1} by ${writer}`);
          if ((await store.putIfMatch(key, next, now?.etag ?? '')).status === 'replaced') return;
        }
      };
      await Promise.all(Array.from({ length: 20 }, addOne));
      expect(count((await store.get(key))?.bytes)).toBe(20);
    });

    testUnless('network', 'putIfMatch calls a write whose reply was lost replaced, having read it back', async () => {
      const { store, key } = at('lost-reply');
      const etag = await create(store, key, 'one');
      network().loseNextWriteReply();
      const put = await store.putIfMatch(key, utf8('two, mine'), etag);
      expect(put).toEqual({ status: 'replaced', etag: (await store.head(key))?.etag });
    });

    testUnless('network', 'putIfMatch says stale where the reply was lost and other bytes stand there', async () => {
      const { store, key } = at('lost-reply-of-loser');
      const etag = await create(store, key, 'one');
      await store.putIfMatch(key, utf8('theirs'), etag);
      network().loseNextWriteReply();
      expect(await store.putIfMatch(key, utf8('mine'), etag)).toEqual({ status: 'stale' });
      expect((await store.get(key))?.bytes).toEqual(utf8('theirs'));
    });

    testUnless('network', 'putIfMatch rejects with OutcomeUnknownError where it cannot read back', async () => {
      const { store, key } = at('unknown');
      const etag = await create(store, key, 'one');
      network().loseReplies(true);
      const error = await rejectionOf(store.putIfMatch(key, utf8('two'), etag));
      network().loseReplies(false);
      expect(error.name).toBe('OutcomeUnknownError');
    });

    testUnless('network', 'putIfMatch rejects with SiteUnavailableError where nothing was sent', async () => {
      const { store, key } = at('refused');
      const etag = await create(store, key, 'one');
      await network().refuse(true);
      // Connections of before are broken first: a write on one of them would have an unknown outcome.
      await rejectionOf(store.head(key));
      const error = await rejectionOf(store.putIfMatch(key, utf8('two'), etag));
      await network().refuse(false);
      expect(error.name).toBe('SiteUnavailableError');
      expect((await store.get(key))?.bytes).toEqual(utf8('one'));
    });

    test('putIfMatch rejects with the reason of an aborted signal and changes nothing', async () => {
      const { store, key } = at('signal');
      const etag = await create(store, key, 'one');
      const reason = new Error('no time left');
      const put = store.putIfMatch(key, utf8('two'), etag, { signal: AbortSignal.abort(reason) });
      expect(await rejectionOf(put)).toBe(reason);
      expect((await store.get(key))?.bytes).toEqual(utf8('one'));
    });
  });
}

/** Opens the store once, and gives every test keys of its own. */
function useStore<S extends ObjectStore>(factory: StoreFactory<S>, gaps: Gaps<StoreGap>) {
  let opened: StoreUnderTest<S> | undefined;
  let used = 0;
  beforeAll(async () => {
    opened = await factory();
  });
  afterAll(async () => {
    await opened?.close();
  });
  const testUnless = (gap: StoreGap, claim: string, run: () => Promise<void>) =>
    gaps[gap] === undefined ? test(claim, run) : test.skip(`${claim} (gap: ${gaps[gap]})`, run);
  return {
    at(leaf: string) {
      if (opened === undefined) throw new Error('the factory gave no store');
      return { store: opened.store, key: `conformance/${used++}/${leaf}` };
    },
    network(): Network {
      if (opened?.network === undefined) throw new Error('the factory gives no network: declare the gap');
      return opened.network;
    },
    testUnless,
  };
}

async function* chunks(bytes: number, chunkBytes: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < bytes; offset += chunkBytes) {
    yield patternBytes(offset, Math.min(chunkBytes, bytes - offset));
  }
}

const byByteOrder = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
