import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type QueueConfig, type QueueStatus, resolveQueueConfig } from './config.ts';
import { MessageContent } from './content.ts';
import type { Queue } from './queue.ts';
import type { MessageStore, StoredQueue } from './store.ts';
import type { Place, StoredMessage } from './sub-queue.ts';

const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE queues (
    name TEXT PRIMARY KEY COLLATE NOCASE, config TEXT NOT NULL, status TEXT NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, next_sequence_number INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE messages (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL COLLATE NOCASE, sequence_number INTEGER NOT NULL,
    enqueued_sequence_number INTEGER NOT NULL, enqueued_at INTEGER NOT NULL, ttl_ms INTEGER,
    delivery_count INTEGER NOT NULL, dead_lettered INTEGER NOT NULL, deferred INTEGER NOT NULL, scheduled_at INTEGER,
    content BLOB NOT NULL
  ) STRICT;
  PRAGMA user_version = ${SCHEMA_VERSION};
`;

interface MessageRow {
  id: number;
  sequence_number: number;
  enqueued_sequence_number: number;
  enqueued_at: number;
  ttl_ms: number | null;
  delivery_count: number;
  dead_lettered: number;
  deferred: number;
  scheduled_at: number | null;
  content: Uint8Array;
}

/**
 * One SQLite file under `dataDir`. All changes of one turn of the event loop are one transaction, and whoever waits for
 * them is called after it is committed. A commit is in the hands of the operating system, so it survives `kill -9` of
 * this process; `synchronous = OFF` means that it need not survive a power cut.
 *
 * @throws Error where the file is in use by another process or was written by another version.
 */
export function openSqliteStore(dataDir: string): MessageStore {
  mkdirSync(dataDir, { recursive: true });
  const database = new DatabaseSync(join(dataDir, 'servicebus.sqlite'));
  // Exclusive: two emulators on one directory would each hand out every message.
  database.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;');
  const { user_version } = database.prepare('PRAGMA user_version').get() as { user_version: number };
  if (user_version === 0) database.exec(SCHEMA);
  else if (user_version !== SCHEMA_VERSION) {
    database.close();
    throw new Error(`${dataDir}: written by version ${user_version}, this is version ${SCHEMA_VERSION}`);
  }

  const saveQueue = database.prepare('INSERT OR REPLACE INTO queues VALUES (?, ?, ?, ?, ?, ?)');
  const saveSequence = database.prepare('UPDATE queues SET next_sequence_number = ? WHERE name = ?');
  const insert = database.prepare('INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const update = database.prepare(
    `UPDATE messages SET sequence_number = ?, enqueued_at = ?, delivery_count = ?, dead_lettered = ?, deferred = ?,
     scheduled_at = ?, content = ? WHERE id = ?`,
  );
  const remove = database.prepare('DELETE FROM messages WHERE id = ?');

  let lastId = (database.prepare('SELECT max(id) AS id FROM messages').get() as { id: number | null }).id ?? 0;
  let waiting: (() => void)[] = [];
  let inTransaction = false;
  let isScheduled = false;
  let isClosed = false;
  /** Queues whose next sequence number may have moved. */
  const grown = new Set<Queue>();

  function begin(): void {
    if (inTransaction) return;
    database.exec('BEGIN');
    inTransaction = true;
    schedule();
  }

  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(commit);
  }

  function commit(): void {
    isScheduled = false;
    if (isClosed) return;
    if (inTransaction) {
      for (const queue of grown) saveSequence.run(queue.nextSequenceNumber, queue.name);
      grown.clear();
      database.exec('COMMIT');
      inTransaction = false;
    }
    const ready = waiting;
    waiting = [];
    for (const callback of ready) callback();
  }

  return {
    nextId() {
      lastId += 1;
      return lastId;
    },
    load: () =>
      database
        .prepare('SELECT * FROM queues')
        .all()
        .map((row) => loadQueue(database, row as unknown as QueueRow)),
    saveQueue(queue) {
      begin();
      const { config, status, createdAt, updatedAt, nextSequenceNumber } = queue;
      saveQueue.run(config.name, JSON.stringify(config), status, createdAt, updatedAt, nextSequenceNumber);
    },
    deleteQueue(queue) {
      begin();
      grown.delete(queue);
      database.prepare('DELETE FROM messages WHERE queue = ?').run(queue.name);
      database.prepare('DELETE FROM queues WHERE name = ?').run(queue.name);
    },
    insert(queue, message) {
      begin();
      grown.add(queue);
      const { id, sequenceNumber, enqueuedSequenceNumber, enqueuedAt, ttlMs, deliveryCount, content } = message;
      insert.run(
        id,
        queue.name,
        sequenceNumber,
        enqueuedSequenceNumber,
        enqueuedAt,
        ttlMs ?? null,
        deliveryCount,
        Number(message.deadLettered),
        Number(message.place.kind === 'deferred'),
        scheduledAt(message.place),
        content.toBuffer(),
      );
    },
    update(queue, message) {
      begin();
      grown.add(queue);
      update.run(
        message.sequenceNumber,
        message.enqueuedAt,
        message.deliveryCount,
        Number(message.deadLettered),
        Number(message.place.kind === 'deferred'),
        scheduledAt(message.place),
        message.content.toBuffer(),
        message.id,
      );
    },
    remove(message) {
      begin();
      remove.run(message.id);
    },
    whenDurable(callback) {
      waiting.push(callback);
      schedule();
    },
    close() {
      commit();
      isClosed = true;
      database.close();
    },
  };
}

interface QueueRow {
  name: string;
  config: string;
  status: QueueStatus;
  created_at: number;
  updated_at: number;
  next_sequence_number: number;
}

function loadQueue(database: DatabaseSync, row: QueueRow): StoredQueue {
  const select = database.prepare('SELECT * FROM messages WHERE queue = ? ORDER BY sequence_number');
  return {
    config: resolveQueueConfig(JSON.parse(row.config) as QueueConfig),
    status: row.status,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    nextSequenceNumber: row.next_sequence_number,
    messages: select.iterate(row.name).map((message) => loadMessage(message as unknown as MessageRow)),
  };
}

function loadMessage(row: MessageRow): StoredMessage {
  return {
    id: row.id,
    sequenceNumber: row.sequence_number,
    enqueuedSequenceNumber: row.enqueued_sequence_number,
    enqueuedAt: row.enqueued_at,
    ttlMs: row.ttl_ms ?? undefined,
    deliveryCount: row.delivery_count,
    deadLettered: row.dead_lettered === 1,
    content: MessageContent.of(Buffer.from(row.content.buffer, row.content.byteOffset, row.content.byteLength)),
    place: placeOf(row),
  };
}

function placeOf(row: MessageRow): Place {
  if (row.scheduled_at !== null) return { kind: 'scheduled', at: row.scheduled_at };
  return { kind: row.deferred === 1 ? 'deferred' : 'available' };
}

const scheduledAt = (place: Place): number | null => (place.kind === 'scheduled' ? place.at : null);
