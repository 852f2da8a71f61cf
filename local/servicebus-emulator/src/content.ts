import type { Typed } from 'rhea';
import {
  readHeader,
  readLongTtl,
  readMap,
  readMessageId,
  type Sections,
  splitSections,
  type TypedMap,
  UINT_MAX,
  withExpiry,
  writeAnnotations,
  writeApplicationProperties,
  writeHeader,
} from './amqp/sections.ts';

/** What the broker adds when it hands a message out. */
export interface Stamp {
  deliveryCount: number;
  /** The time to live in force: the message's own, or the queue's where that is shorter. */
  ttlMs: number | undefined;
  /** Epoch milliseconds. */
  enqueuedAt: number;
  annotations: TypedMap;
}

/** What a sender sent, unchanged unless a settlement modified its application properties. */
export class MessageContent {
  private readonly sections: Sections;

  /**
   * Keeps the bytes, not a copy.
   * @throws ServiceBusFault `amqp:decode-error` where they are not an AMQP message.
   */
  static of(encoded: Buffer): MessageContent {
    return new MessageContent(splitSections(encoded));
  }

  private constructor(sections: Sections) {
    this.sections = sections;
  }

  /** The message id as text; `undefined` where the sender gave none. */
  get messageId(): string | undefined {
    return readMessageId(this.sections.properties);
  }

  /** The time to live the sender asked for, in milliseconds. */
  get ttlMs(): number | undefined {
    const { ttlMs } = readHeader(this.sections.header);
    return ttlMs === UINT_MAX ? readLongTtl(this.sections.properties) : ttlMs;
  }

  /** When the sender wants it enqueued, in epoch milliseconds. */
  get scheduledFor(): number | undefined {
    const scheduled = readMap(this.sections.annotations)['x-opt-scheduled-enqueue-time']?.value;
    return scheduled instanceof Date ? scheduled.getTime() : undefined;
  }

  /** Bytes that count towards the size of the queue. */
  get bytes(): number {
    return this.parts().reduce((sum, part) => sum + part.length, 0);
  }

  /** The bytes to keep on disk; `of` takes them back. */
  toBuffer(): Buffer {
    return Buffer.concat(this.parts());
  }

  /** The bytes to send to a receiver. */
  encode(stamp: Stamp, withBody = true): Buffer {
    const { header, annotations, applicationProperties, body } = this.sections;
    const { ttlMs, enqueuedAt } = stamp;
    const properties =
      ttlMs === undefined ? this.sections.properties : withExpiry(this.sections.properties, enqueuedAt, ttlMs);
    const parts = [
      writeHeader({ ...readHeader(header), ttlMs }, stamp.deliveryCount),
      writeAnnotations(Object.assign(readMap(annotations), stamp.annotations)),
    ];
    if (properties) parts.push(properties);
    if (applicationProperties) parts.push(applicationProperties);
    if (withBody) parts.push(body);
    return Buffer.concat(parts);
  }

  withApplicationProperties(changes: Record<string, Typed>): MessageContent {
    if (Object.keys(changes).length === 0) return this;
    const entries = Object.assign(readMap(this.sections.applicationProperties), changes);
    return new MessageContent({ ...this.sections, applicationProperties: writeApplicationProperties(entries) });
  }

  private parts(): Buffer[] {
    const { header, annotations, properties, applicationProperties, body } = this.sections;
    return [header, annotations, properties, applicationProperties, body].filter((part) => part !== undefined);
  }
}

/** A message on its way into a queue, with everything the queue must know read and found readable. */
export interface Submission {
  readonly content: MessageContent;
  readonly messageId: string | undefined;
  readonly ttlMs: number | undefined;
  readonly scheduledFor: number | undefined;
}

/** @throws ServiceBusFault `amqp:decode-error` where the bytes are not a message. */
export function readSubmission(encoded: Buffer): Submission {
  // A copy, because the bytes are a view into a socket buffer that would be kept whole.
  const content = MessageContent.of(Buffer.from(encoded));
  const { messageId, ttlMs, scheduledFor } = content;
  return { content, messageId, ttlMs, scheduledFor };
}
