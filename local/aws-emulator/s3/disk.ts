import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
import type { ReceivedBody } from './body.ts';
import { invalidArgument, noSuchBucket, noSuchKey, noSuchUpload, preconditionFailed, S3Error } from './error.ts';

/** @source https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (2026-11) */
const PART_BYTES_MIN = 5 * 1024 * 1024;

const SCHEMA = `
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, versioned INTEGER NOT NULL, created INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  bucket TEXT NOT NULL, key TEXT NOT NULL, version TEXT NOT NULL,
  latest INTEGER NOT NULL, marker INTEGER NOT NULL,
  etag TEXT NOT NULL, bytes INTEGER NOT NULL, type TEXT NOT NULL, modified INTEGER NOT NULL,
  inline BLOB, pieces TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS versions ON objects (bucket, key, seq);
-- Holds all that a listing shows, so that listing never touches the rows with their bodies.
CREATE UNIQUE INDEX IF NOT EXISTS listing ON objects (bucket, key, etag, bytes, modified) WHERE latest = 1 AND marker = 0;
CREATE TABLE IF NOT EXISTS uploads (id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS parts (
  upload TEXT NOT NULL REFERENCES uploads(id) ON DELETE CASCADE,
  number INTEGER NOT NULL, md5 TEXT NOT NULL, bytes INTEGER NOT NULL, inline BLOB, file TEXT,
  PRIMARY KEY (upload, number)
);
`;

/** Part of an object's bytes: in the database, or a file's name. */
export interface Piece {
  bytes: number;
  inline?: Uint8Array;
  file?: string;
}

export interface StoredVersion {
  key: string;
  version: string;
  marker: boolean;
  latest: boolean;
  /** Without quotes. */
  etag: string;
  bytes: number;
  type: string;
  modified: number;
  pieces: Piece[];
}

export type Listed = Omit<StoredVersion, 'pieces' | 'type'>;

/** As sent by the client; at most one. */
export interface Condition {
  ifNoneMatch?: string;
  ifMatch?: string;
}

type Row = Record<string, never> & {
  seq: number;
  key: string;
  version: string;
  latest: number;
  marker: number;
  etag: string;
  bytes: number;
  type: string;
  modified: number;
  inline: Uint8Array | null;
  pieces: string | null;
};

/**
 * Buckets in one directory: a database for names, conditions and small bodies, a file for each large body or part. What
 * was answered survives the death of the process; each change is one transaction, so that conditions are atomic.
 */
export class ObjectDisk {
  /** Where bodies are received. */
  readonly filesDir: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  /** Files that nothing refers to once the running transaction is committed. */
  #unreferenced: string[] = [];

  constructor(dataDir: string) {
    this.filesDir = join(dataDir, 'objects');
    mkdirSync(this.filesDir, { recursive: true });
    this.#db = new DatabaseSync(join(dataDir, 's3.db'), { enableForeignKeyConstraints: true });
    // Safe against the death of the process, not of the machine, at a tenth of the cost.
    this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;');
    this.#db.exec(SCHEMA);
    this.#removeOrphans();
  }

  close(): void {
    this.#db.close();
  }

  /** Creates a bucket unless it exists. */
  createBucket(name: string, versioned = false): void {
    this.#run('INSERT OR IGNORE INTO buckets VALUES (?, ?, ?)', name, versioned ? 1 : 0, Date.now());
  }

  buckets(): { name: string; versioned: boolean; created: number }[] {
    const rows = this.#all('SELECT * FROM buckets ORDER BY name');
    return rows.map((row) => ({
      name: String(row.name),
      versioned: row.versioned === 1,
      created: Number(row.created),
    }));
  }

  /** @throws S3Error `NoSuchBucket` */
  bucket(name: string): { versioned: boolean } {
    const row = this.#get('SELECT versioned FROM buckets WHERE name = ?', name);
    if (row === undefined) throw noSuchBucket();
    return { versioned: row.versioned === 1 };
  }

  /**
   * Makes a body the object of `key`.
   * @throws S3Error `PreconditionFailed`, or `NoSuchKey` where `If-Match` finds nothing
   */
  put(bucket: string, key: string, body: ReceivedBody, type: string, condition: Condition): StoredVersion {
    return this.#transaction(() => this.#insert(bucket, key, body.md5, type, [body], condition));
  }

  /** The latest version of `key`, or a given one. */
  find(bucket: string, key: string, version?: string): StoredVersion | undefined {
    this.bucket(bucket);
    const row =
      version === undefined
        ? this.#get('SELECT * FROM objects WHERE bucket = ? AND key = ? AND latest = 1', bucket, key)
        : this.#get('SELECT * FROM objects WHERE bucket = ? AND key = ? AND version = ?', bucket, key, version);
    return row === undefined ? undefined : toVersion(row as Row);
  }

  /** Deletes `key`: in a versioned bucket by putting a delete marker on top, unless a version is named. */
  delete(bucket: string, key: string, version?: string): void {
    const { versioned } = this.bucket(bucket);
    this.#transaction(() => {
      if (version !== undefined) {
        this.#remove('bucket = ? AND key = ? AND version = ?', bucket, key, version);
        const newest = '(SELECT MAX(seq) FROM objects WHERE bucket = ? AND key = ?)';
        this.#run(`UPDATE objects SET latest = 1 WHERE seq = ${newest}`, bucket, key);
      } else if (versioned) {
        this.#supersede(bucket, key, true);
        this.#run(
          `INSERT INTO objects (bucket, key, version, latest, marker, etag, bytes, type, modified)
           VALUES (?, ?, ?, 1, 1, '', 0, '', ?)`,
          bucket,
          key,
          randomUUID(),
          Date.now(),
        );
      } else {
        this.#supersede(bucket, key, false);
      }
    });
  }

  /** Up to `limit` current objects under `prefix` whose keys are greater than `after`, in byte order. */
  list(bucket: string, prefix: string, after: string, limit: number): Listed[] {
    this.bucket(bucket);
    const behind = Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0 && after !== '';
    const rows = this.#all(
      `SELECT key, etag, bytes, modified FROM objects INDEXED BY listing
       WHERE latest = 1 AND marker = 0 AND bucket = ? AND key ${behind ? '>' : '>='} ? AND key < ? ORDER BY key LIMIT ?`,
      bucket,
      behind ? after : prefix,
      endOfPrefix(prefix),
      limit,
    );
    return rows.map((row) => {
      const { key, etag, bytes, modified } = row as Row;
      return { key, etag, bytes, modified, version: 'null', latest: true, marker: false };
    });
  }

  /** Up to `limit` versions and delete markers under `prefix`, keys in byte order, the newest of each key first. */
  listVersions(bucket: string, prefix: string, limit: number): Listed[] {
    this.bucket(bucket);
    const rows = this.#all(
      `SELECT * FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key, seq DESC LIMIT ?`,
      bucket,
      prefix,
      endOfPrefix(prefix),
      limit,
    );
    return rows.map((row) => toVersion(row as Row));
  }

  startUpload(bucket: string, key: string, type: string): string {
    this.bucket(bucket);
    const id = randomUUID();
    this.#run('INSERT INTO uploads VALUES (?, ?, ?, ?)', id, bucket, key, type);
    return id;
  }

  /** @throws S3Error `NoSuchUpload` */
  checkUpload(id: string): void {
    this.#upload(id);
  }

  putPart(id: string, number: number, body: ReceivedBody): void {
    this.#transaction(() => {
      this.#upload(id);
      this.#removeParts('upload = ? AND number = ?', id, number);
      const file = body.file === undefined ? null : basename(body.file);
      this.#run(
        'INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)',
        id,
        number,
        body.md5,
        body.bytes,
        body.inline ?? null,
        file,
      );
    });
  }

  /**
   * Makes the named parts, in their order, one object. Parts stay files of their own.
   * @throws S3Error as `put`, and for parts that are missing, out of order or too small
   */
  completeUpload(id: string, named: { number: number; etag: string }[], condition: Condition): StoredVersion {
    return this.#transaction(() => {
      const { bucket, key, type } = this.#upload(id);
      if (named.length === 0) throw new S3Error(400, 'MalformedXML', 'You must specify at least one part');
      const digest = createHash('md5');
      const pieces = named.map(({ number, etag }, i) => {
        if (i > 0 && number <= (named[i - 1]?.number ?? 0)) {
          throw new S3Error(400, 'InvalidPartOrder', 'The list of parts was not in ascending order.');
        }
        const row = this.#get('SELECT * FROM parts WHERE upload = ? AND number = ?', id, number);
        if (row === undefined || row.md5 !== etag) {
          throw new S3Error(400, 'InvalidPart', 'One or more of the specified parts could not be found.');
        }
        const bytes = Number(row.bytes);
        if (bytes < PART_BYTES_MIN && i < named.length - 1) {
          throw new S3Error(
            400,
            'EntityTooSmall',
            'Your proposed upload is smaller than the minimum allowed object size.',
          );
        }
        digest.update(Buffer.from(etag, 'hex'));
        return {
          bytes,
          inline: (row.inline as Uint8Array | null) ?? undefined,
          file: (row.file as string | null) ?? undefined,
        };
      });
      const stored = this.#insert(bucket, key, `${digest.digest('hex')}-${named.length}`, type, pieces, condition);
      const used = new Set(named.map(({ number }) => number));
      for (const row of this.#all('SELECT number FROM parts WHERE upload = ?', id)) {
        if (!used.has(Number(row.number))) this.#removeParts('upload = ? AND number = ?', id, Number(row.number));
      }
      this.#run('DELETE FROM uploads WHERE id = ?', id);
      return stored;
    });
  }

  abortUpload(id: string): void {
    this.#transaction(() => {
      this.#upload(id);
      this.#removeParts('upload = ?', id);
      this.#run('DELETE FROM uploads WHERE id = ?', id);
    });
  }

  /** Uploads that were neither completed nor aborted. */
  openUploads(): number {
    return Number(this.#get('SELECT COUNT(*) AS n FROM uploads')?.n);
  }

  #insert(
    bucket: string,
    key: string,
    etag: string,
    type: string,
    pieces: Piece[],
    { ifNoneMatch, ifMatch }: Condition,
  ): StoredVersion {
    const { versioned } = this.bucket(bucket);
    const current = this.find(bucket, key);
    const exists = current !== undefined && !current.marker;
    if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw invalidArgument('If-None-Match takes * only');
    if (ifNoneMatch === '*' && exists) throw preconditionFailed();
    if (ifMatch !== undefined && !exists) throw noSuchKey();
    if (ifMatch !== undefined && ifMatch.replaceAll('"', '') !== current?.etag) throw preconditionFailed();
    const bytes = pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    const version = versioned ? randomUUID() : 'null';
    const only = pieces.length === 1 ? pieces[0]?.inline : undefined;
    // A short last part may be in memory while the others are files: everything in pieces is text.
    const kept = pieces.map(({ bytes, inline, file }) => ({
      bytes,
      ...(inline ? { base64: Buffer.from(inline).toString('base64') } : { file: basename(file ?? '') }),
    }));
    this.#supersede(bucket, key, versioned);
    this.#run(
      `INSERT INTO objects (bucket, key, version, latest, marker, etag, bytes, type, modified, inline, pieces)
       VALUES (?, ?, ?, 1, 0, ?, ?, ?, ?, ?, ?)`,
      bucket,
      key,
      version,
      etag,
      bytes,
      type,
      Date.now(),
      only ?? null,
      only === undefined ? JSON.stringify(kept) : null,
    );
    return this.find(bucket, key) as StoredVersion;
  }

  /** What was the latest is no longer: kept as an older version, or removed. */
  #supersede(bucket: string, key: string, keep: boolean): void {
    if (keep) this.#run('UPDATE objects SET latest = 0 WHERE bucket = ? AND key = ? AND latest = 1', bucket, key);
    else this.#remove('bucket = ? AND key = ? AND latest = 1', bucket, key);
  }

  #remove(where: string, ...values: SQLInputValue[]): void {
    for (const row of this.#all(`DELETE FROM objects WHERE ${where} RETURNING pieces`, ...values)) {
      for (const { file } of JSON.parse((row.pieces as string | null) ?? '[]')) this.#removeFile(file);
    }
  }

  #removeParts(where: string, ...values: SQLInputValue[]): void {
    for (const row of this.#all(`DELETE FROM parts WHERE ${where} RETURNING file`, ...values)) {
      this.#removeFile((row.file as string | null) ?? undefined);
    }
  }

  #removeFile(name: string | undefined): void {
    if (name !== undefined) this.#unreferenced.push(name);
  }

  #upload(id: string): { bucket: string; key: string; type: string } {
    const row = this.#get('SELECT * FROM uploads WHERE id = ?', id);
    if (row === undefined) throw noSuchUpload();
    return { bucket: String(row.bucket), key: String(row.key), type: String(row.type) };
  }

  /** Files that were being received when the process died. */
  #removeOrphans(): void {
    const known = new Set(this.#all('SELECT file FROM parts WHERE file IS NOT NULL').map((row) => row.file));
    for (const row of this.#all('SELECT pieces FROM objects WHERE pieces IS NOT NULL')) {
      for (const { file } of JSON.parse(String(row.pieces))) known.add(file);
    }
    for (const file of readdirSync(this.filesDir)) if (!known.has(file)) rmSync(join(this.filesDir, file));
  }

  #transaction<T>(change: () => T): T {
    this.#unreferenced = [];
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = change();
      this.#db.exec('COMMIT');
      for (const file of this.#unreferenced) rmSync(join(this.filesDir, file), { force: true });
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #statement(sql: string): StatementSync {
    const known = this.#statements.get(sql) ?? this.#db.prepare(sql);
    this.#statements.set(sql, known);
    return known;
  }

  #run(sql: string, ...values: SQLInputValue[]): void {
    this.#statement(sql).run(...values);
  }

  #get(sql: string, ...values: SQLInputValue[]) {
    return this.#statement(sql).get(...values);
  }

  #all(sql: string, ...values: SQLInputValue[]) {
    return this.#statement(sql).all(...values);
  }
}

function toVersion(row: Row): StoredVersion {
  const pieces: (Piece & { base64?: string })[] =
    row.pieces === null ? [{ bytes: row.bytes, inline: row.inline ?? new Uint8Array() }] : JSON.parse(row.pieces);
  return {
    key: row.key,
    version: row.version,
    marker: row.marker === 1,
    latest: row.latest === 1,
    etag: row.etag,
    bytes: row.bytes,
    type: row.type,
    modified: row.modified,
    pieces: pieces.map(({ base64, ...piece }) =>
      base64 === undefined ? piece : { ...piece, inline: Buffer.from(base64, 'base64') },
    ),
  };
}

/** The least string above every string that starts with `prefix`, in byte order of UTF-8. */
function endOfPrefix(prefix: string): string {
  return `${prefix}\u{10FFFF}`;
}
