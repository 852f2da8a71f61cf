import { randomUUID } from 'node:crypto';
import type { Typed } from 'rhea';
import { types } from './amqp/rhea.ts';
import type { QueueStatus, ResolvedQueueConfig } from './config.ts';
import type { Submission } from './content.ts';
import { entityDisabled, lockLost, messageNotFound, notAllowed, quotaExceeded } from './fault.ts';
import type { QueueRecords } from './store.ts';
import { expiresAt, lockOf, type StoredMessage, SubQueue } from './sub-queue.ts';

export interface QueueCounts {
  /** In the queue and not scheduled: available, locked and deferred ones. */
  active: number;
  available: number;
  locked: number;
  deferred: number;
  scheduled: number;
  deadLetter: number;
  /** Messages of the queue and of its dead-letter queue, in bytes. */
  sizeInBytes: number;
}

/** The properties a settlement adds to a message. */
export type PropertyChanges = Record<string, Typed>;

const AVAILABLE = { kind: 'available' } as const;
const DEFERRED = { kind: 'deferred' } as const;

/**
 * The rules of one queue: who gets which message, what settling does, what time does. Nothing here waits, and time comes
 * in as `now`. What must survive goes to `records` in the same call.
 */
export class Queue {
  readonly main: SubQueue;
  readonly deadLetters: SubQueue;
  readonly createdAt: number;
  updatedAt: number;
  config: ResolvedQueueConfig;
  status: QueueStatus;
  nextSequenceNumber: number;
  private readonly records: QueueRecords;
  /** Message id to the moment it is forgotten, oldest first. */
  private readonly recentIds = new Map<string, number>();

  constructor(options: {
    config: ResolvedQueueConfig;
    status: QueueStatus;
    createdAt: number;
    updatedAt: number;
    nextSequenceNumber: number;
    records: QueueRecords;
  }) {
    this.config = options.config;
    this.status = options.status;
    this.createdAt = options.createdAt;
    this.updatedAt = options.updatedAt;
    this.nextSequenceNumber = options.nextSequenceNumber;
    this.records = options.records;
    this.main = new SubQueue(options.config.name, false);
    this.deadLetters = new SubQueue(`${options.config.name}/$deadletterqueue`, true);
  }

  get name(): string {
    return this.config.name;
  }

  /** Takes back a message from the store. */
  restore(message: StoredMessage): void {
    (message.deadLettered ? this.deadLetters : this.main).add(message);
    // Ids of messages that are gone are forgotten with the process.
    if (this.config.duplicateDetectionWindowMs !== undefined) {
      this.isDuplicate(message.content.messageId, message.enqueuedAt);
    }
  }

  /** @throws ServiceBusFault where the queue takes nothing now. */
  assertSendable(): void {
    if (this.status === 'Disabled' || this.status === 'SendDisabled') throw entityDisabled(this.name, 'Sending to');
  }

  /** Completing counts as receiving. @source https://learn.microsoft.com/dotnet/api/microsoft.servicebus.messaging.entitystatus 2026-11 */
  assertReceivable(): void {
    if (!this.isReceivable) throw entityDisabled(this.name, 'Receiving from');
  }

  get isReceivable(): boolean {
    return this.status === 'Active' || this.status === 'SendDisabled';
  }

  /**
   * All or none.
   * @returns a sequence number for each message, in order; a duplicate that was dropped has used one up too.
   * @throws ServiceBusFault where sending is disabled or the queue is full.
   */
  enqueue(submissions: readonly Submission[], now: number): number[] {
    this.assertSendable();
    const bytes = submissions.reduce((sum, { content }) => sum + content.bytes, 0);
    if (this.sizeInBytes + bytes > this.config.maxSizeBytes) throw quotaExceeded(this.name, this.config.maxSizeBytes);
    return submissions.map(({ content, messageId, ttlMs, scheduledFor }) => {
      const sequenceNumber = this.takeSequenceNumber();
      if (this.isDuplicate(messageId, now)) return sequenceNumber;
      const message: StoredMessage = {
        id: this.records.nextId(),
        sequenceNumber,
        enqueuedSequenceNumber: sequenceNumber,
        enqueuedAt: now,
        ttlMs: shorter(ttlMs, this.config.defaultTtlMs),
        deliveryCount: 0,
        deadLettered: false,
        content,
        place: scheduledFor !== undefined && scheduledFor > now ? { kind: 'scheduled', at: scheduledFor } : AVAILABLE,
      };
      this.records.insert(this, message);
      this.main.add(message);
      return sequenceNumber;
    });
  }

  /** The next message, locked for a receiver; `undefined` when there is none. */
  lockNext(from: SubQueue, now: number): StoredMessage | undefined {
    const message = this.nextLive(from, now);
    if (message) from.move(message, this.newLock(now, false));
    return message;
  }

  /** The next message, gone from the queue: receive-and-delete. */
  removeNext(from: SubQueue, now: number): StoredMessage | undefined {
    const message = this.nextLive(from, now);
    if (message) this.drop(from, message);
    return message;
  }

  /**
   * Hands out deferred messages.
   * @throws ServiceBusFault where one is not there, not deferred, or has expired; then none is handed out.
   * @source https://learn.microsoft.com/azure/service-bus-messaging/message-deferral 2026-11 (expiry is checked here only)
   */
  receiveDeferred(from: SubQueue, sequenceNumbers: readonly number[], lock: boolean, now: number): StoredMessage[] {
    this.assertReceivable();
    const messages = sequenceNumbers.map((sequenceNumber) => {
      const message = from.bySequenceNumber(sequenceNumber);
      if (message?.place.kind !== 'deferred') throw messageNotFound(sequenceNumber);
      if (!from.isDeadLetter && expiresAt(message) <= now) {
        this.expire(message);
        throw messageNotFound(sequenceNumber);
      }
      return message;
    });
    for (const message of messages) {
      if (lock) from.move(message, this.newLock(now, true));
      else this.drop(from, message);
    }
    return messages;
  }

  /** @throws ServiceBusFault `message-lock-lost`, as every settlement does. */
  complete(from: SubQueue, token: string, now: number): void {
    this.drop(from, this.held(from, token, now));
  }

  /** Gives the message back. `counted`: whether that was a failed delivery (abandoning is, releasing is not). */
  abandon(from: SubQueue, token: string, changes: PropertyChanges, now: number, counted = true): void {
    const message = this.held(from, token, now);
    this.modify(from, message, changes);
    this.giveBack(from, message, counted, now);
  }

  defer(from: SubQueue, token: string, changes: PropertyChanges, now: number): void {
    const message = this.held(from, token, now);
    this.modify(from, message, changes);
    from.move(message, DEFERRED);
    this.records.update(this, message);
  }

  deadLetter(from: SubQueue, token: string, changes: PropertyChanges, now: number): void {
    const message = this.held(from, token, now);
    if (from.isDeadLetter) throw notAllowed('A message in a dead-letter queue cannot be dead-lettered.');
    this.moveToDeadLetters(message, changes);
  }

  /** @returns the moment the lock now runs out, in epoch milliseconds. */
  renewLock(from: SubQueue, token: string, now: number): number {
    const message = this.held(from, token, now);
    const until = now + this.config.lockDurationMs;
    from.move(message, { kind: 'locked', token, until, wasDeferred: lockOf(message)?.wasDeferred ?? false });
    return until;
  }

  /** @throws ServiceBusFault where one is not scheduled (any more); then none is cancelled. */
  cancelScheduled(sequenceNumbers: readonly number[]): void {
    this.assertSendable();
    const messages = sequenceNumbers.map((sequenceNumber) => {
      const message = this.main.bySequenceNumber(sequenceNumber);
      if (message?.place.kind !== 'scheduled') throw messageNotFound(sequenceNumber);
      return message;
    });
    for (const message of messages) this.drop(this.main, message);
  }

  /** Does what has become due by `now`. */
  tick(now: number): void {
    for (let due = this.main.dueSchedule(now); due; due = this.main.dueSchedule(now)) this.activate(due, now);
    for (const from of [this.main, this.deadLetters]) {
      for (let due = from.dueLock(now); due; due = from.dueLock(now)) this.giveBack(from, due, true, now);
    }
    for (let due = this.main.dueExpiry(now); due; due = this.main.dueExpiry(now)) this.expire(due);
  }

  nextDeadline(): number {
    return Math.min(this.main.nextDeadline(), this.deadLetters.nextDeadline());
  }

  /** @returns how many messages were there. */
  purge(): number {
    let purged = 0;
    for (const from of [this.main, this.deadLetters]) {
      for (const message of [...from.from(0)]) {
        this.drop(from, message);
        purged += 1;
      }
    }
    return purged;
  }

  counts(): QueueCounts {
    const { available, locked, deferred, scheduled } = this.main.counts;
    return {
      // Deferred messages stay in the queue together with the active ones.
      // @source https://learn.microsoft.com/azure/service-bus-messaging/message-deferral 2026-11
      active: available + locked + deferred,
      available,
      locked,
      deferred,
      scheduled,
      deadLetter: this.deadLetters.size,
      sizeInBytes: this.sizeInBytes,
    };
  }

  private get sizeInBytes(): number {
    return this.main.bytes + this.deadLetters.bytes;
  }

  private nextLive(from: SubQueue, now: number): StoredMessage | undefined {
    for (;;) {
      const message = from.firstAvailable();
      if (!message || from.isDeadLetter || expiresAt(message) > now) return message;
      this.expire(message);
    }
  }

  private held(from: SubQueue, token: string, now: number): StoredMessage {
    this.assertReceivable();
    const message = from.byLockToken(token);
    if (!message) throw lockLost();
    if (now < (lockOf(message)?.until ?? 0)) return message;
    this.giveBack(from, message, true, now);
    throw lockLost();
  }

  private newLock(now: number, wasDeferred: boolean) {
    return { kind: 'locked', token: randomUUID(), until: now + this.config.lockDurationMs, wasDeferred } as const;
  }

  private giveBack(from: SubQueue, message: StoredMessage, counted: boolean, now: number): void {
    const wasDeferred = lockOf(message)?.wasDeferred ?? false;
    if (counted) message.deliveryCount += 1;
    if (!from.isDeadLetter && message.deliveryCount >= this.config.maxDeliveryCount) {
      this.moveToDeadLetters(message, tooManyDeliveries(message.deliveryCount));
      return;
    }
    if (!from.isDeadLetter && !wasDeferred && expiresAt(message) <= now) {
      this.expire(message);
      return;
    }
    from.move(message, wasDeferred ? DEFERRED : AVAILABLE);
    this.records.update(this, message);
  }

  /**
   * The message is appended as if it were sent now, under a new sequence number.
   * @source https://learn.microsoft.com/azure/service-bus-messaging/message-sequencing 2026-11
   */
  private activate(message: StoredMessage, now: number): void {
    this.main.remove(message);
    message.sequenceNumber = this.takeSequenceNumber();
    message.enqueuedAt = now;
    message.place = AVAILABLE;
    this.main.add(message);
    this.records.update(this, message);
  }

  private expire(message: StoredMessage): void {
    if (this.config.deadLetterOnExpiry) this.moveToDeadLetters(message, EXPIRED);
    else this.drop(this.main, message);
  }

  /** Sequence number and enqueued time stay. @source https://github.com/MicrosoftDocs/azure-docs/issues/97032 2026-11 */
  private moveToDeadLetters(message: StoredMessage, changes: PropertyChanges): void {
    this.main.remove(message);
    message.content = message.content.withApplicationProperties(changes);
    message.deadLettered = true;
    message.place = AVAILABLE;
    this.deadLetters.add(message);
    this.records.update(this, message);
  }

  private modify(from: SubQueue, message: StoredMessage, changes: PropertyChanges): void {
    from.replaceContent(message, message.content.withApplicationProperties(changes));
  }

  private drop(from: SubQueue, message: StoredMessage): void {
    from.remove(message);
    this.records.remove(message);
  }

  private takeSequenceNumber(): number {
    this.nextSequenceNumber += 1;
    return this.nextSequenceNumber - 1;
  }

  /** Whether the id was seen within the window; remembers it if not. */
  private isDuplicate(messageId: string | undefined, now: number): boolean {
    const { duplicateDetectionWindowMs } = this.config;
    if (duplicateDetectionWindowMs === undefined || messageId === undefined) return false;
    for (const [id, forgottenAt] of this.recentIds) {
      if (forgottenAt > now) break;
      this.recentIds.delete(id);
    }
    if (this.recentIds.has(messageId)) return true;
    this.recentIds.set(messageId, now + duplicateDetectionWindowMs);
    return false;
  }
}

/** What is written on a message that goes to the dead-letter queue. */
const deadLetterChanges = (reason: string, description: string): PropertyChanges => ({
  DeadLetterReason: types.wrap_string(reason),
  DeadLetterErrorDescription: types.wrap_string(description),
});

/** @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-dead-letter-queues 2026-11 */
const EXPIRED = deadLetterChanges('TTLExpiredException', 'The message expired and was dead lettered.');

const tooManyDeliveries = (deliveries: number) =>
  deadLetterChanges('MaxDeliveryCountExceeded', `Message could not be consumed after ${deliveries} delivery attempts.`);

const shorter = (one: number | undefined, other: number | undefined): number | undefined =>
  one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
