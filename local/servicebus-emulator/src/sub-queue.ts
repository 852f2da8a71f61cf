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

const NEVER = Number.POSITIVE_INFINITY;

type TimeOf = (message: StoredMessage) => number;

export const expiresAt: TimeOf = ({ enqueuedAt, ttlMs }) => enqueuedAt + (ttlMs ?? NEVER);

export const lockOf = ({ place }: StoredMessage) => (place.kind === 'locked' ? place : undefined);

const lockedUntil: TimeOf = (message) => lockOf(message)?.until ?? NEVER;

const scheduledFor: TimeOf = ({ place }) => (place.kind === 'scheduled' ? place.at : NEVER);

/** What falls due in the same millisecond does so in the order in which it was sent. */
const heapByTime = (timeOf: TimeOf) =>
  new IndexedHeap<StoredMessage>((one, other) => {
    const difference = timeOf(one) - timeOf(other);
    return difference === 0 ? one.sequenceNumber < other.sequenceNumber : difference < 0;
  });

function firstDue(heap: IndexedHeap<StoredMessage>, timeOf: TimeOf, now: number): StoredMessage | undefined {
  const message = heap.peek();
  return message && timeOf(message) <= now ? message : undefined;
}

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
  private readonly available = new IndexedHeap<StoredMessage>(
    (one, other) => one.sequenceNumber < other.sequenceNumber,
  );
  private readonly expiring = heapByTime(expiresAt);
  private readonly locked = heapByTime(lockedUntil);
  private readonly scheduled = heapByTime(scheduledFor);

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
    return firstDue(this.scheduled, scheduledFor, now);
  }

  dueLock(now: number): StoredMessage | undefined {
    return firstDue(this.locked, lockedUntil, now);
  }

  dueExpiry(now: number): StoredMessage | undefined {
    return firstDue(this.expiring, expiresAt, now);
  }

  /** When something becomes due next; `Infinity` when nothing will. */
  nextDeadline(): number {
    const [schedule, lock, expiry] = [this.scheduled.peek(), this.locked.peek(), this.expiring.peek()];
    return Math.min(
      schedule ? scheduledFor(schedule) : NEVER,
      lock ? lockedUntil(lock) : NEVER,
      expiry ? expiresAt(expiry) : NEVER,
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
