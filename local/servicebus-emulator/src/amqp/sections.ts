import type { Typed } from 'rhea';
import { malformed } from '../fault.ts';
import { types } from './rhea.ts';

/**
 * An AMQP message as the bytes that came in, cut into sections. What a sender wrote is passed on byte for byte; only the
 * sections a broker owns (header, annotations) are ever written anew.
 * @source http://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-messaging-v1.0-os.html#section-message-format 2026-11
 */
export interface Sections {
  header?: Buffer;
  annotations?: Buffer;
  properties?: Buffer;
  applicationProperties?: Buffer;
  /** Body and footer. */
  body: Buffer;
}

/** As a time to live this is how AMQP says "longer than I can count". */
export const UINT_MAX = 0xffff_ffff;

const HEADER = 0x70;
const DELIVERY_ANNOTATIONS = 0x71;
const ANNOTATIONS = 0x72;
const PROPERTIES = 0x73;
const APPLICATION_PROPERTIES = 0x74;
const DATA = 0x75;
const FOOTER = 0x78;

/** @throws ServiceBusFault `amqp:decode-error` where the bytes are not a message. */
export function splitSections(encoded: Buffer): Sections {
  const sections: Sections = { body: encoded.subarray(encoded.length) };
  let offset = 0;
  while (offset < encoded.length) {
    const { code, valueAt } = readDescriptor(encoded, offset);
    if (code >= DATA && code <= FOOTER) {
      sections.body = encoded.subarray(offset);
      break;
    }
    const end = valueAt + compoundLength(encoded, valueAt);
    if (end > encoded.length) throw malformed('The message ends inside a section.');
    const section = encoded.subarray(offset, end);
    if (code === HEADER) sections.header = section;
    else if (code === ANNOTATIONS) sections.annotations = section;
    else if (code === PROPERTIES) sections.properties = section;
    else if (code === APPLICATION_PROPERTIES) sections.applicationProperties = section;
    else if (code !== DELIVERY_ANNOTATIONS) throw malformed(`A message has no section 0x${code.toString(16)}.`);
    offset = end;
  }
  return sections;
}

/** The encoded messages inside one batch transfer. @throws ServiceBusFault `amqp:decode-error` */
export function splitBatch(encoded: Buffer): Buffer[] {
  const { body } = splitSections(encoded);
  const messages: Buffer[] = [];
  let offset = 0;
  while (offset < body.length) {
    const { code, valueAt } = readDescriptor(body, offset);
    if (code === FOOTER) break;
    if (code !== DATA) throw malformed('A batch holds data sections only.');
    const typecode = body[valueAt];
    const wide = typecode === 0xb0;
    if ((!wide && typecode !== 0xa0) || valueAt + (wide ? 5 : 2) > body.length)
      throw malformed('A data section must be binary.');
    const start = valueAt + (wide ? 5 : 2);
    const length = wide ? body.readUInt32BE(valueAt + 1) : (body[valueAt + 1] as number);
    if (start + length > body.length) throw malformed('The batch ends inside a message.');
    messages.push(body.subarray(start, start + length));
    offset = start + length;
  }
  return messages;
}

function readDescriptor(bytes: Buffer, offset: number): { code: number; valueAt: number } {
  if (bytes[offset] !== 0x00) throw malformed('A section starts with a descriptor.');
  const typecode = bytes[offset + 1];
  if (typecode === 0x53 && offset + 3 < bytes.length) {
    return { code: bytes[offset + 2] as number, valueAt: offset + 3 };
  }
  if (typecode === 0x80 && offset + 10 < bytes.length) {
    return { code: Number(bytes.readBigUInt64BE(offset + 2)), valueAt: offset + 10 };
  }
  throw malformed('A section descriptor must be a number.');
}

/** Bytes of a list or map, its constructor included. */
function compoundLength(bytes: Buffer, at: number): number {
  const typecode = bytes[at];
  if (typecode === 0x45) return 1;
  if ((typecode === 0xc0 || typecode === 0xc1) && at + 1 < bytes.length) return 2 + (bytes[at + 1] as number);
  if ((typecode === 0xd0 || typecode === 0xd1) && at + 4 < bytes.length) return 5 + bytes.readUInt32BE(at + 1);
  throw malformed('A section must be a list or a map.');
}

/** Values keep their AMQP type (`Typed`), so that what is written again is what came in. */
export type TypedMap = Record<string, Typed>;

/** @throws ServiceBusFault `amqp:decode-error` */
export function readMap(section: Buffer | undefined): TypedMap {
  const entries: TypedMap = Object.create(null);
  if (!section) return entries;
  return mapEntries(readTyped(section), entries);
}

/** Entries of a typed map; nulls are left out, since the service has no null property. */
export function mapEntries(map: Typed | undefined, entries: TypedMap = Object.create(null)): TypedMap {
  if (!map || !types.is_map(map)) return entries;
  const flat = map.value as Typed[];
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const value = flat[at + 1] as Typed;
    if (value.value !== null) entries[String((flat[at] as Typed).value)] = value;
  }
  return entries;
}

export interface Header {
  durable?: boolean;
  priority?: number;
  /** Time to live in milliseconds. */
  ttlMs?: number;
}

/** @throws ServiceBusFault `amqp:decode-error` */
export function readHeader(section: Buffer | undefined): Header {
  const fields = fieldsOf(section);
  const field = (index: number) => fields[index]?.value ?? undefined;
  return { durable: field(0), priority: field(1), ttlMs: field(2) };
}

/** Fields of the properties section we look at. */
const MESSAGE_ID = 0;
const ABSOLUTE_EXPIRY_TIME = 8;
const CREATION_TIME = 9;

/** The message id as text. @throws ServiceBusFault `amqp:decode-error` */
export function readMessageId(properties: Buffer | undefined): string | undefined {
  const id = fieldsOf(properties)[MESSAGE_ID]?.value;
  if (id === undefined || id === null) return undefined;
  return Buffer.isBuffer(id) ? id.toString('hex') : String(id);
}

/**
 * The time to live told by creation and expiry time, in milliseconds: how the SDKs write one that the header's 32 bits
 * cannot hold.
 * @source https://github.com/Azure/azure-sdk-for-js/blob/main/sdk/core/core-amqp/src/amqpAnnotatedMessage.ts 2026-11
 */
export function readLongTtl(properties: Buffer | undefined): number | undefined {
  const fields = fieldsOf(properties);
  const [end, start] = [fields[ABSOLUTE_EXPIRY_TIME]?.value, fields[CREATION_TIME]?.value];
  return end instanceof Date && start instanceof Date ? end.getTime() - start.getTime() : undefined;
}

/** Where the sender wrote an expiry time, the broker's own stands on output. */
export function withExpiry(properties: Buffer | undefined, enqueuedAt: number, ttlMs: number): Buffer | undefined {
  const fields = fieldsOf(properties);
  if (!(fields[ABSOLUTE_EXPIRY_TIME]?.value instanceof Date)) return properties;
  fields[ABSOLUTE_EXPIRY_TIME] = types.wrap_timestamp(enqueuedAt + ttlMs);
  fields[CREATION_TIME] = types.wrap_timestamp(enqueuedAt);
  return write(PROPERTIES, types.wrap_list(fields));
}

const fieldsOf = (section: Buffer | undefined): Typed[] => (section ? (readTyped(section).value as Typed[]) : []);

function readTyped(section: Buffer): Typed {
  try {
    return new types.Reader(section).read();
  } catch (cause) {
    throw malformed(`A section cannot be decoded: ${(cause as Error).message}`);
  }
}

export function writeHeader(header: Header, deliveryCount: number): Buffer {
  return write(
    HEADER,
    types.wrap_list([
      header.durable ?? null,
      header.priority === undefined ? null : types.wrap_ubyte(header.priority),
      header.ttlMs === undefined ? null : types.wrap_uint(Math.min(header.ttlMs, UINT_MAX)),
      null,
      types.wrap_uint(deliveryCount),
    ]),
  );
}

export const writeAnnotations = (entries: TypedMap): Buffer => write(ANNOTATIONS, types.wrap_symbolic_map(entries));

export const writeApplicationProperties = (entries: TypedMap): Buffer =>
  write(APPLICATION_PROPERTIES, types.wrap_map(entries));

function write(section: number, value: Typed): Buffer {
  const writer = new types.Writer();
  writer.write(types.described(types.wrap_ulong(section), value));
  return writer.toBuffer();
}
