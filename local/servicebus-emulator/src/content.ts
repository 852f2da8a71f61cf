import type { Typed } from 'rhea';
import {
  type Header,
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
  readonly ttlMs: number | undefined;
  /** When the sender wants it enqueued, in epoch milliseconds. */
  readonly scheduledFor: number | undefined;
  private readonly sections: Sections;
  private readonly header: Header;
  private readonly annotations: TypedMap;

  /**
   * Keeps a copy of the bytes.
   * @throws ServiceBusFault `amqp:decode-error` where they are not an AMQP message.
   */
  static decode(encoded: Buffer): MessageContent {
    // The bytes are a view into a socket buffer that would be kept whole.
    return new MessageContent(splitSections(Buffer.from(encoded)));
  }

  private constructor(sections: Sections) {
    this.sections = sections;
    this.header = readHeader(sections.header);
    this.annotations = readMap(sections.annotations);
    const { ttlMs } = this.header;
    this.ttlMs = ttlMs === UINT_MAX ? readLongTtl(sections.properties) : ttlMs;
    const scheduled = this.annotations['x-opt-scheduled-enqueue-time']?.value;
    this.scheduledFor = scheduled instanceof Date ? scheduled.getTime() : undefined;
  }

  /** The message id as text; `undefined` where the sender gave none. */
  get messageId(): string | undefined {
    return readMessageId(this.sections.properties);
  }

  /** Bytes that count towards the size of the queue. */
  get bytes(): number {
    return this.parts().reduce((sum, part) => sum + part.length, 0);
  }

  /** The bytes to keep on disk; `decode` takes them back. */
  toBuffer(): Buffer {
    return Buffer.concat(this.parts());
  }

  /** The bytes to send to a receiver. */
  encode(stamp: Stamp, withBody = true): Buffer {
    const { applicationProperties, body } = this.sections;
    const { ttlMs, enqueuedAt } = stamp;
    const properties =
      ttlMs === undefined ? this.sections.properties : withExpiry(this.sections.properties, enqueuedAt, ttlMs);
    const parts = [
      writeHeader({ ...this.header, ttlMs }, stamp.deliveryCount),
      writeAnnotations(Object.assign(Object.create(null), this.annotations, stamp.annotations)),
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
