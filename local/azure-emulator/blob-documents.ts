import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { deserialize, serialize } from 'node:v8';
import type { Doc } from './azurite.ts';

type Query = Record<string, unknown>;

/**
 * Takes the place of LokiJS beneath azurite's metadata store: the same few collection calls, answered from memory and
 * written to SQLite before the request is answered.
 *
 * Whatever one turn of the event loop changes is one transaction, committed in the microtask that the first change
 * queues: before any answer can leave, and never half (azurite replaces a blob by a removal and an insertion).
 */
export class Documents {
  readonly #db: DatabaseSync;
  readonly #collections = new Map<string, Collection>();
  readonly #put: StatementSync;
  readonly #drop: StatementSync;
  #lastId = 0;
  #inTransaction = false;

  constructor(db: DatabaseSync) {
    this.#db = db;
    db.exec(
      'CREATE TABLE IF NOT EXISTS documents (id INTEGER PRIMARY KEY, collection TEXT NOT NULL, doc BLOB NOT NULL)',
    );
    this.#put = db.prepare('INSERT OR REPLACE INTO documents (id, collection, doc) VALUES (?, ?, ?)');
    this.#drop = db.prepare('DELETE FROM documents WHERE id = ?');
  }

  /** Loads a collection. Lookups that give every field of `key` are answered from an index. */
  open(name: string, key: readonly string[], onChange: OnChange = () => {}): void {
    const collection = new Collection(key, {
      nextId: () => ++this.#lastId,
      put: (id, doc) => {
        this.#begin();
        this.#put.run(id, name, serialize(doc));
        onChange(id, doc);
      },
      drop: (id) => {
        this.#begin();
        this.#drop.run(id);
        onChange(id, undefined);
      },
    });
    const stored = [];
    for (const row of this.#db.prepare('SELECT id, doc FROM documents WHERE collection = ?').iterate(name)) {
      const id = Number(row.id);
      const doc: Doc = deserialize(row.doc as Uint8Array);
      this.#lastId = Math.max(this.#lastId, id);
      stored.push(Object.assign(doc, { $loki: id }));
      onChange(id, doc);
    }
    collection.load(stored);
    this.#collections.set(name, collection);
  }

  getCollection(name: string): Collection {
    const collection = this.#collections.get(name);
    if (!collection) throw new Error(`no collection ${name}`);
    return collection;
  }

  /** Joins the transaction of this turn, for others that write to the same database. */
  #begin(): void {
    if (this.#inTransaction) return;
    this.#inTransaction = true;
    this.#db.exec('BEGIN');
    queueMicrotask(() => {
      this.#inTransaction = false;
      this.#db.exec('COMMIT');
    });
  }
}

/** Called for every document loaded, inserted or updated, and with `undefined` for one removed. */
type OnChange = (id: number, doc: Doc | undefined) => void;

interface Persistence {
  nextId(): number;
  put(id: number, doc: Doc): void;
  drop(id: number): void;
}

/** Documents in memory, grouped by key and in key order, with the subset of LokiJS's calls that azurite makes. */
export class Collection {
  readonly #key: readonly string[];
  readonly #persistence: Persistence;
  readonly #groups = new Map<string, Set<Doc>>();
  /** The keys of `#groups`, sorted. */
  #order: string[] = [];

  constructor(key: readonly string[], persistence: Persistence) {
    this.#key = key;
    this.#persistence = persistence;
  }

  load(docs: Iterable<Doc>): void {
    for (const doc of docs) {
      const key = this.#keyOf(doc)!;
      const group = this.#groups.get(key);
      if (group) group.add(doc);
      else this.#groups.set(key, new Set([doc]));
    }
    this.#order = [...this.#groups.keys()].sort();
  }

  insert(doc: Doc): Doc {
    doc.$loki = this.#persistence.nextId();
    const key = this.#keyOf(doc)!;
    const group = this.#groups.get(key);
    if (group) group.add(doc);
    else {
      this.#groups.set(key, new Set([doc]));
      this.#order.splice(this.#position(key), 0, key);
    }
    this.#persistence.put(doc.$loki, doc);
    return doc;
  }

  update(doc: Doc): Doc {
    this.#persistence.put(doc.$loki!, doc);
    return doc;
  }

  remove(doc: Doc): void {
    const key = this.#keyOf(doc)!;
    const group = this.#groups.get(key);
    if (!group?.delete(doc)) return;
    if (group.size === 0) {
      this.#groups.delete(key);
      this.#order.splice(this.#position(key), 1);
    }
    this.#persistence.drop(doc.$loki!);
  }

  findAndRemove(query: Query): void {
    for (const doc of this.#find(query)) this.remove(doc);
  }

  findOne(query: Query): Doc | null {
    return this.#find(query)[0] ?? null;
  }

  by(field: string, value: unknown): Doc | null {
    return this.findOne({ [field]: value });
  }

  count(query: Query): number {
    return this.#find(query).length;
  }

  chain(): Selection {
    return new Selection([...this.#groups.values()].flatMap((group) => [...group]));
  }

  /** Groups with a key ≥ `from`, which is joined as the index joins them, in key order. Not to be changed meanwhile. */
  *from(from: readonly string[]): Generator<ReadonlySet<Doc>> {
    for (let at = this.#position(from.join('\0')); at < this.#order.length; at++) {
      yield this.#groups.get(this.#order[at]!)!;
    }
  }

  #find(query: Query): Doc[] {
    const key = this.#keyOf(query);
    if (key === undefined) return this.chain().find(query).data();
    return [...(this.#groups.get(key) ?? [])].filter((doc) => matches(doc, query));
  }

  #keyOf(from: Query): string | undefined {
    const values = this.#key.map((field) => from[field]);
    return values.every((value) => typeof value === 'string') ? values.join('\0') : undefined;
  }

  /** The first position in `#order` whose key is not below `key`. */
  #position(key: string): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#order[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** LokiJS's `Resultset`. */
class Selection {
  #docs: Doc[];

  constructor(docs: Doc[]) {
    this.#docs = docs;
  }

  find(query: Query): this {
    return this.where((doc) => matches(doc, query));
  }

  where(test: (doc: Doc) => boolean): this {
    this.#docs = this.#docs.filter(test);
    return this;
  }

  sort(compare: (a: Doc, b: Doc) => number): this {
    this.#docs.sort(compare);
    return this;
  }

  simplesort(field: string): this {
    return this.sort((a, b) => {
      const [x, y] = [a[field] as string, b[field] as string];
      return x < y ? -1 : x > y ? 1 : 0;
    });
  }

  offset(count: number): this {
    this.#docs = this.#docs.slice(count);
    return this;
  }

  limit(count: number): this {
    this.#docs = this.#docs.slice(0, count);
    return this;
  }

  data(): Doc[] {
    return this.#docs;
  }
}

function matches(doc: Doc, query: Query): boolean {
  return Object.entries(query).every(([field, wanted]) => {
    const value = doc[field];
    if (typeof wanted !== 'object' || wanted === null) return value === wanted;
    return Object.entries(wanted).every(([operator, operand]) => {
      if (operator === '$gt') return (value as string) > operand;
      if (operator === '$regex') return new RegExp(operand).test(value as string);
      throw new Error(`operator ${operator} is not supported`);
    });
  });
}
