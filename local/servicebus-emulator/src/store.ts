import type { QueueStatus, ResolvedQueueConfig } from './config.ts';
import type { Queue } from './queue.ts';
import type { StoredMessage } from './sub-queue.ts';

/** Where a queue notes what must survive; each call is one change of one message. */
export interface QueueRecords {
  /** A row number not in use. */
  nextId(): number;
  insert(queue: Queue, message: StoredMessage): void;
  /** Locks are not noted: after a restart every locked message is available. */
  update(queue: Queue, message: StoredMessage): void;
  remove(message: StoredMessage): void;
}

export interface StoredQueue {
  config: ResolvedQueueConfig;
  status: QueueStatus;
  createdAt: number;
  updatedAt: number;
  nextSequenceNumber: number;
  messages: Iterable<StoredMessage>;
}

export interface MessageStore extends QueueRecords {
  /** Everything a previous process noted. Called once, first. */
  load(): StoredQueue[];
  saveQueue(queue: Queue): void;
  deleteQueue(queue: Queue): void;
  /** Calls back, in order, once everything noted before this call survives a kill of the process. */
  whenDurable(callback: () => void): void;
  close(): void;
}

/** Keeps nothing: a queue lives as long as its process. */
export function createMemoryStore(): MessageStore {
  let lastId = 0;
  return {
    nextId() {
      lastId += 1;
      return lastId;
    },
    load: () => [],
    insert() {},
    update() {},
    remove() {},
    saveQueue() {},
    deleteQueue() {},
    whenDurable: (callback) => queueMicrotask(callback),
    close() {},
  };
}
