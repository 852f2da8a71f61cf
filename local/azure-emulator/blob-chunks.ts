import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import type { Extent, ExtentStore } from './azurite.ts';

/** Bodies up to this size are rows of the database, larger ones are files. */
const ROW_BYTES_MAX = 256 * 1024;

/** Files are read in pieces of this size and are open only meanwhile: azurite never closes what a client left unread. */
const PIECE_BYTES = 512 * 1024;

/** How long bytes are kept that nothing refers to: metadata may be about to, a download may have begun. */
const LINGER_MS = 60_000;

/**
 * The bytes of blobs and blocks, each stored once under an id of its own and never changed. The metadata says what it
 * refers to (`retain`, `release`); the rest goes.
 */
export class Chunks implements ExtentStore {
  readonly #directory: string;
  readonly #references = new Map<string, number>();
  readonly #put: StatementSync;
  readonly #get: StatementSync;
  readonly #drop: StatementSync;
  readonly #ids: StatementSync;
  /** Ids to look at again, oldest first. */
  #doubtful: { id: string; since: number }[] = [];
  readonly #sweeping: NodeJS.Timeout;

  constructor(db: DatabaseSync, directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true });
    db.exec('CREATE TABLE IF NOT EXISTS chunks (id TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID');
    this.#put = db.prepare('INSERT INTO chunks (id, bytes) VALUES (?, ?)');
    this.#get = db.prepare('SELECT bytes FROM chunks WHERE id = ?');
    this.#drop = db.prepare('DELETE FROM chunks WHERE id = ?');
    this.#ids = db.prepare('SELECT id FROM chunks');
    this.#sweeping = setInterval(() => this.#sweep(performance.now() - LINGER_MS), LINGER_MS / 6).unref();
  }

  retain(ids: Iterable<string>): void {
    for (const id of ids) this.#references.set(id, (this.#references.get(id) ?? 0) + 1);
  }

  release(ids: Iterable<string>): void {
    for (const id of ids) {
      const left = (this.#references.get(id) ?? 0) - 1;
      if (left > 0) this.#references.set(id, left);
      else {
        this.#references.delete(id);
        this.#doubt(id);
      }
    }
  }

  /** Removes what a killed process left without reference. To be called once, when the metadata is loaded. */
  recover(): void {
    for (const id of [...this.#ids.all().map((row) => String(row.id)), ...readdirSync(this.#directory)])
      this.#doubt(id);
    this.#sweep(Number.POSITIVE_INFINITY);
  }

  isInitialized(): boolean {
    return true;
  }

  isClosed(): boolean {
    return false;
  }

  async init(): Promise<void> {}

  async close(): Promise<void> {
    clearInterval(this.#sweeping);
  }

  async appendExtent(data: Readable | Buffer): Promise<Extent> {
    const id = randomUUID();
    const held: Buffer[] = [];
    let count = 0;
    let file: FileHandle | undefined;
    try {
      for await (const piece of Buffer.isBuffer(data) ? [data] : data) {
        count += piece.length;
        held.push(piece);
        if (count <= ROW_BYTES_MAX) continue;
        file ??= await open(join(this.#directory, id), 'wx');
        await file.writev(held.splice(0));
      }
      if (!file) this.#put.run(id, Buffer.concat(held));
    } catch (error) {
      if (file) await rm(join(this.#directory, id), { force: true });
      throw error;
    } finally {
      await file?.close();
    }
    this.#doubt(id);
    return { id, offset: 0, count };
  }

  async readExtent(extent: Extent | undefined): Promise<Readable> {
    return Readable.from(extent ? this.#pieces(extent) : [], { objectMode: false });
  }

  async readExtents(extents: Extent[], offset = 0, count = Number.POSITIVE_INFINITY): Promise<Readable> {
    return Readable.from(this.#range(extents, offset, offset + count), { objectMode: false });
  }

  /** The bytes from `start` up to `end`, counted over all extents together. */
  async *#range(extents: Extent[], start: number, end: number): AsyncGenerator<Buffer> {
    let at = 0;
    for (const extent of extents) {
      const from = Math.max(start - at, 0);
      const to = Math.min(end - at, extent.count);
      if (from < to) yield* this.#pieces({ id: extent.id, offset: extent.offset + from, count: to - from });
      at += extent.count;
    }
  }

  async *#pieces({ id, offset, count }: Extent): AsyncGenerator<Buffer> {
    const row = this.#get.get(id);
    if (row) {
      const bytes = row.bytes as Uint8Array<ArrayBuffer>;
      yield Buffer.from(bytes.buffer, bytes.byteOffset + offset, count);
      return;
    }
    for (let done = 0; done < count; ) {
      const piece = await this.#readPiece(id, offset + done, count - done);
      done += piece.byteLength;
      yield piece;
    }
  }

  async #readPiece(id: string, position: number, bytesMax: number): Promise<Buffer> {
    const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, bytesMax));
    const file = await open(join(this.#directory, id));
    try {
      const { bytesRead } = await file.read(piece, 0, piece.length, position);
      if (bytesRead === 0) throw new Error(`chunk ${id} ends before byte ${position}`);
      return piece.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  #doubt(id: string): void {
    this.#doubtful.push({ id, since: performance.now() });
  }

  /** Looks at everything in doubt since before `deadline`. */
  #sweep(deadline: number): void {
    const found = this.#doubtful.findIndex(({ since }) => since > deadline);
    const due = this.#doubtful.splice(0, found < 0 ? this.#doubtful.length : found);
    for (const { id } of due) {
      if (this.#references.has(id)) continue;
      this.#drop.run(id);
      rmSync(join(this.#directory, id), { force: true });
    }
  }
}
