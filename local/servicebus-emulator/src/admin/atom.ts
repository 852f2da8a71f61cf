import type { QueueConfig, QueueStatus } from '../config.ts';
import { QUEUE_STATUSES } from '../config.ts';
import { argumentError } from '../fault.ts';
import type { Queue } from '../queue.ts';
import { formatDuration, parseDuration } from './duration.ts';

/**
 * The Atom documents of the administration API, as far as the SDKs read and write them.
 * @source https://learn.microsoft.com/rest/api/servicebus/queues 2026-11
 */

const MEGABYTE = 1_024 * 1_024;
const CONNECT = 'http://schemas.microsoft.com/netservices/2010/10/servicebus/connect';
const COUNTS = 'http://schemas.microsoft.com/netservices/2011/06/servicebus';

export function queueEntry(queue: Queue, baseUrl: string): string {
  const { config, status } = queue;
  const counts = queue.counts();
  const description = [
    element('LockDuration', formatDuration(config.lockDurationMs)),
    element('MaxSizeInMegabytes', megabytes(config.maxSizeBytes)),
    element('RequiresDuplicateDetection', config.duplicateDetectionWindowMs !== undefined),
    element('RequiresSession', false),
    element('DefaultMessageTimeToLive', formatDuration(config.defaultTtlMs)),
    element('DeadLetteringOnMessageExpiration', config.deadLetterOnExpiry),
    element('DuplicateDetectionHistoryTimeWindow', formatDuration(config.duplicateDetectionWindowMs ?? 600_000)),
    element('MaxDeliveryCount', config.maxDeliveryCount),
    element('EnableBatchedOperations', true),
    element('SizeInBytes', counts.sizeInBytes),
    element('MessageCount', counts.active + counts.scheduled + counts.deadLetter),
    element('IsAnonymousAccessible', false),
    element('Status', status),
    element('CreatedAt', isoTime(queue.createdAt)),
    element('UpdatedAt', isoTime(queue.updatedAt)),
    element('AccessedAt', isoTime(queue.updatedAt)),
    element('SupportOrdering', true),
    `<CountDetails xmlns:d2p1="${COUNTS}">`,
    element('d2p1:ActiveMessageCount', counts.active),
    element('d2p1:DeadLetterMessageCount', counts.deadLetter),
    element('d2p1:ScheduledMessageCount', counts.scheduled),
    element('d2p1:TransferMessageCount', 0),
    element('d2p1:TransferDeadLetterMessageCount', 0),
    '</CountDetails>',
    element('AutoDeleteOnIdle', formatDuration(undefined)),
    element('EnablePartitioning', false),
    element('EntityAvailabilityStatus', 'Available'),
    element('EnableExpress', false),
    element('MaxMessageSizeInKilobytes', 256),
  ].join('');
  return entry(
    `${baseUrl}/${encodeURI(queue.name)}`,
    queue.name,
    queue.updatedAt,
    `<QueueDescription xmlns="${CONNECT}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">${description}</QueueDescription>`,
  );
}

export function namespaceEntry(baseUrl: string, now: number): string {
  const description = [
    element('CreatedTime', isoTime(now)),
    element('MessagingSKU', 'Standard'),
    element('ModifiedTime', isoTime(now)),
    element('Name', 'servicebus-emulator'),
    element('NamespaceType', 'Messaging'),
  ].join('');
  return entry(
    `${baseUrl}/$namespaceinfo`,
    'servicebus-emulator',
    now,
    `<NamespaceInfo xmlns="${CONNECT}">${description}</NamespaceInfo>`,
  );
}

/** `next`: the address of the next page. Two links, because the SDK reads them only as a list. */
export function feed(options: {
  title: string;
  url: string;
  next?: string;
  entries: readonly string[];
  now: number;
}): string {
  const { title, url, next, entries, now } = options;
  const links = [link('self', url), ...(next ? [link('next', next)] : [])].join('');
  return `<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">${escapeText(title)}</title><id>${escapeText(url)}</id><updated>${isoTime(now)}</updated>${links}${entries.join('')}</feed>`;
}

export const errorDocument = (status: number, detail: string): string =>
  `<Error>${element('Code', status)}${element('Detail', detail)}</Error>`;

/**
 * What a PUT asks for. What it leaves out is as in `current`, else the default.
 * @throws ServiceBusFault, RangeError where it asks for what is not supported or out of range.
 */
export function parseQueueDescription(
  document: string,
  name: string,
  current: Queue | undefined,
): { config: QueueConfig; status: QueueStatus | undefined } {
  if (!/<QueueDescription[\s/>]/.test(document))
    throw argumentError('The body must be an Atom entry with a QueueDescription.');
  const field = (key: string) => textOf(document, key);
  for (const key of ['RequiresSession', 'EnablePartitioning']) {
    if (field(key)?.toLowerCase() === 'true') throw argumentError(`${key} is not supported.`);
  }
  for (const key of ['ForwardTo', 'ForwardDeadLetteredMessagesTo']) {
    if (field(key)) throw argumentError(`${key} is not supported.`);
  }
  const status = field('Status');
  if (status !== undefined && !QUEUE_STATUSES.includes(status as QueueStatus)) {
    throw argumentError(`'${status}' is not a queue status.`);
  }
  const config: QueueConfig = { ...current?.config, name };
  const whole = (key: string) => mapDefined(field(key), Number);
  const duration = (key: string) => mapDefined(field(key), (text) => ({ durationMs: parseDuration(text) }));
  const flag = (key: string) => mapDefined(field(key), (text) => text.toLowerCase() === 'true');

  config.lockDurationMs = duration('LockDuration')?.durationMs ?? config.lockDurationMs;
  config.maxDeliveryCount = whole('MaxDeliveryCount') ?? config.maxDeliveryCount;
  config.deadLetterOnExpiry = flag('DeadLetteringOnMessageExpiration') ?? config.deadLetterOnExpiry;
  const ttl = duration('DefaultMessageTimeToLive');
  if (ttl) config.defaultTtlMs = ttl.durationMs;
  const size = whole('MaxSizeInMegabytes');
  // A queue configured in bytes must not grow by being read and written back.
  if (size !== undefined && size !== mapDefined(config.maxSizeBytes, megabytes)) config.maxSizeBytes = size * MEGABYTE;
  const detects = flag('RequiresDuplicateDetection');
  if (detects !== undefined) {
    const window = duration('DuplicateDetectionHistoryTimeWindow')?.durationMs ?? 600_000;
    config.duplicateDetectionWindowMs = detects ? window : undefined;
  }
  return { config, status: status as QueueStatus | undefined };
}

function entry(url: string, title: string, updatedAt: number, content: string): string {
  return `<entry xmlns="http://www.w3.org/2005/Atom"><id>${escapeText(url)}</id><title type="text">${escapeText(title)}</title><updated>${isoTime(updatedAt)}</updated>${link('self', url)}<content type="application/xml">${content}</content></entry>`;
}

const megabytes = (bytes: number): number => Math.ceil(bytes / MEGABYTE);

const isoTime = (epochMs: number): string => new Date(epochMs).toISOString();

const element = (name: string, value: string | number | boolean): string =>
  `<${name}>${escapeText(String(value))}</${name}>`;

const link = (rel: string, href: string): string => `<link rel="${rel}" href="${escapeText(href)}"/>`;

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' };

const escapeText = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);

/** Text of the first element of that name. The fields read here are flat, unique and free of markup. */
function textOf(document: string, name: string): string | undefined {
  const text = new RegExp(`<(?:\\w+:)?${name}(?:\\s[^>]*)?>([^<]*)<`).exec(document)?.[1]?.trim();
  return text === '' ? undefined : text;
}

const mapDefined = <T, R>(value: T | undefined, map: (value: T) => R): R | undefined =>
  value === undefined ? undefined : map(value);
