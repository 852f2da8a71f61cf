import type { MessageContent } from './content.ts';
import { IndexedHeap } from './heap.ts';
import { SequenceIndex } from './sequence-index.ts';

/**
 * Where a message is.
 *
 * - `available`: the next receiver gets it. Left by being taken, expiring, or being purged.
 * - `locked`: one receiver holds it under `token` until `until`. Left by settling, or by the lock running out.
 * - `deferred`: handed out only when asked for by sequence number.
 * - `scheduled`: becomes available at `at`, under a new sequence number. Left by that, or by cancelling.
 */
export type Place =
  | { readonly kind: 'available' }
  | { readonly kind: 'locked'; readonly token: string; readonly until: number; readonly wasDeferred: boolean }
  | { readonly kind: 'deferred' }
  | { readonly kind: 'scheduled'; readonly at: number };

export interface StoredMessage {
  /** Row in the store. */
  readonly id: number;
  sequenceNumber: number;
  /** The first sequence number it had. */
  readonly enqueuedSequenceNumber: number;
  /** Epoch milliseconds. */
  enqueuedAt: number;
  /** Milliseconds; the shorter of the message's and the queue's. */
  readonly ttlMs: number | undefined;
  /** Times it was given back or its lock ran out. */
  deliveryCount: number;
  deadLettered: boolean;
  content: MessageContent;
  place: Place;
}

export const expiresAt = (message: StoredMessage): number =>
  message.enqueuedAt + (message.ttlMs ?? Number.POSITIVE_INFINITY);

export interface PlaceCounts {
  available: number;
  locked: number;
  deferred: number;
  scheduled: number;
}

/** The messages of a queue or of its dead-letter queue, indexed by everything they are looked up by. No rules live here. */
export class SubQueue {
  readonly path: string;
  readonly isDeadLetter: boolean;
  readonly counts: PlaceCounts = { available: 0, locked: 0, deferred: 0, scheduled: 0 };
  bytes = 0;
  /** Called when a message becomes available. */
  onAvailable: () => void = () => {};

  private readonly bySequence = new Map<number, StoredMessage>();
  private readonly byToken = new Map<string, StoredMessage>();
  private readonly order = new SequenceIndex((sequenceNumber) => this.bySequence.has(sequenceNumber));
  private readonly available = new IndexedHeap<StoredMessage>((message) => message.sequenceNumber);
  private readonly expiring = new IndexedHeap<StoredMessage>(expiresAt);
  private readonly locked = new IndexedHeap<StoredMessage>((message) => lockOf(message)?.until ?? 0);
  private readonly scheduled = new IndexedHeap<StoredMessage>((message) =>
    message.place.kind === 'scheduled' ? message.place.at : 0,
  );

  constructor(path: string, isDeadLetter: boolean) {
    this.path = path;
    this.isDeadLetter = isDeadLetter;
  }

  get size(): number {
    return this.bySequence.size;
  }

  add(message: StoredMessage): void {
    this.bySequence.set(message.sequenceNumber, message);
    this.order.add(message.sequenceNumber);
    this.bytes += message.content.bytes;
    this.enter(message);
  }

  remove(message: StoredMessage): void {
    this.leave(message);
    this.bytes -= message.content.bytes;
    this.bySequence.delete(message.sequenceNumber);
    this.order.removed();
  }

  /** The only way a message changes place. */
  move(message: StoredMessage, place: Place): void {
    this.leave(message);
    message.place = place;
    this.enter(message);
  }

  replaceContent(message: StoredMessage, content: MessageContent): void {
    this.bytes += content.bytes - message.content.bytes;
    message.content = content;
  }

  bySequenceNumber(sequenceNumber: number): StoredMessage | undefined {
    return this.bySequence.get(sequenceNumber);
  }

  byLockToken(token: string): StoredMessage | undefined {
    return this.byToken.get(token);
  }

  firstAvailable(): StoredMessage | undefined {
    return this.available.peek();
  }

  *from(sequenceNumber: number): Generator<StoredMessage> {
    for (const next of this.order.from(sequenceNumber)) yield this.bySequence.get(next) as StoredMessage;
  }

  dueSchedule(now: number): StoredMessage | undefined {
    const message = this.scheduled.peek();
    return message?.place.kind === 'scheduled' && message.place.at <= now ? message : undefined;
  }

  dueLock(now: number): StoredMessage | undefined {
    const message = this.locked.peek();
    return message && (lockOf(message)?.until ?? 0) <= now ? message : undefined;
  }

  dueExpiry(now: number): StoredMessage | undefined {
    const message = this.expiring.peek();
    return message && expiresAt(message) <= now ? message : undefined;
  }

  /** When something becomes due next; `Infinity` when nothing will. */
  nextDeadline(): number {
    const first = [this.scheduled.peek(), this.locked.peek(), this.expiring.peek()];
    return Math.min(
      first[0]?.place.kind === 'scheduled' ? first[0].place.at : Number.POSITIVE_INFINITY,
      (first[1] && lockOf(first[1])?.until) ?? Number.POSITIVE_INFINITY,
      first[2] ? expiresAt(first[2]) : Number.POSITIVE_INFINITY,
    );
  }

  private enter(message: StoredMessage): void {
    const { place } = message;
    this.counts[place.kind] += 1;
    if (place.kind === 'locked') {
      this.byToken.set(place.token, message);
      this.locked.push(message);
    } else if (place.kind === 'scheduled') {
      this.scheduled.push(message);
    } else if (place.kind === 'available') {
      this.available.push(message);
      // The dead-letter queue keeps its messages until somebody takes them.
      if (!this.isDeadLetter && message.ttlMs !== undefined) this.expiring.push(message);
      this.onAvailable();
    }
  }

  private leave(message: StoredMessage): void {
    const { place } = message;
    this.counts[place.kind] -= 1;
    if (place.kind === 'locked') {
      this.byToken.delete(place.token);
      this.locked.remove(message);
    } else if (place.kind === 'scheduled') {
      this.scheduled.remove(message);
    } else if (place.kind === 'available') {
      this.available.remove(message);
      this.expiring.remove(message);
    }
  }
}

export const lockOf = (message: StoredMessage) => (message.place.kind === 'locked' ? message.place : undefined);
