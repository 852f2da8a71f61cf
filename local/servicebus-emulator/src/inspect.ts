import { encodeForReceiver } from './amqp/outgoing.ts';
import { message as codec } from './amqp/rhea.ts';
import type { QueueStatus } from './config.ts';
import type { Queue, QueueCounts } from './queue.ts';
import { expiresAt, lockOf, type StoredMessage, type SubQueue } from './sub-queue.ts';

/** A message as it lies in the queue; times are epoch milliseconds. */
export interface InspectedMessage {
  sequenceNumber: number;
  messageId: string | undefined;
  /** Parsed where it is JSON, else the bytes or the AMQP value. */
  body: unknown;
  applicationProperties: Record<string, unknown>;
  state: 'available' | 'locked' | 'deferred' | 'scheduled';
  deliveryCount: number;
  enqueuedAt: number;
  /** `undefined`: never. */
  expiresAt: number | undefined;
  lockedUntil: number | undefined;
  scheduledFor: number | undefined;
}

/** Looks at one queue without locking, consuming or counting anything. */
export interface QueueInspector {
  readonly name: string;
  readonly status: QueueStatus;
  counts(): QueueCounts;
  /** Every message of the queue, by sequence number. */
  peekAll(): InspectedMessage[];
  peekDeadLetters(): InspectedMessage[];
}

export function inspectQueue(queue: Queue): QueueInspector {
  return {
    name: queue.name,
    get status() {
      return queue.status;
    },
    counts: () => queue.counts(),
    peekAll: () => inspectAll(queue.main),
    peekDeadLetters: () => inspectAll(queue.deadLetters),
  };
}

const inspectAll = (sub: SubQueue): InspectedMessage[] => [...sub.from(0)].map(inspect);

function inspect(message: StoredMessage): InspectedMessage {
  const decoded = codec.decode(encodeForReceiver(message));
  const end = expiresAt(message);
  return {
    sequenceNumber: message.sequenceNumber,
    messageId: message.content.messageId,
    body: bodyOf(decoded.body),
    applicationProperties: decoded.application_properties ?? {},
    state: message.place.kind,
    deliveryCount: message.deliveryCount,
    enqueuedAt: message.enqueuedAt,
    expiresAt: end === Number.POSITIVE_INFINITY ? undefined : end,
    lockedUntil: lockOf(message)?.until,
    scheduledFor: message.place.kind === 'scheduled' ? message.place.at : undefined,
  };
}

function bodyOf(section: { content?: unknown } | undefined): unknown {
  const content = section && typeof section === 'object' && 'content' in section ? section.content : section;
  if (!Buffer.isBuffer(content)) return content;
  try {
    return JSON.parse(content.toString('utf8'));
  } catch {
    return content;
  }
}
