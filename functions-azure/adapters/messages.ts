import type { DurationMs } from '../../shared/units.ts';

/**
 * Service Bus cannot hold back a message that it delivered: one that is to come later is sent again, as a copy, and
 * then completed. Where only the first of the two goes well there are both. So each message has one copy, whoever sends
 * it and how often: its id follows from that of its original, and the queue drops what it has seen (duplicate detection).
 */

/** The application property in which a copy carries how often its originals were delivered. */
const earlierDeliveriesProperty = 'holdfastEarlierDeliveries';

/**
 * How long the queues remember the ids of what was sent to them, as deployed: while the broker completes nothing for
 * longer, each message has at most one more copy an hour.
 */
export const duplicateDetectionMs: DurationMs = 3_600_000;

/** @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas (2026-11) */
const idCharsMax = 128;

/** A message as it was delivered. */
export interface Original {
  id: string;
  body: string;
  /** Times it was delivered, those of its originals and this one included. */
  deliveryCount: number;
}

/** The id of the one copy of the message `id`; `undefined` where none can follow from it, and any will do. */
export function copyId(id: string): string | undefined {
  const [, root, copies] = /^(.+)\+(\d{1,6})$/s.exec(id) ?? [id, id, '0'];
  const next = `${root}+${Number(copies) + 1}`;
  return id === '' || next.length > idCharsMax ? undefined : next;
}

/** The application properties of the copy of `original`. */
export function propertiesOfCopy({ deliveryCount }: Original): Record<string, number> {
  return { [earlierDeliveriesProperty]: deliveryCount };
}

/** How often a message was delivered, those of its originals included, by its application properties as they came. */
export function timesDelivered(own: number, applicationProperties: unknown): number {
  const earlier = (applicationProperties as Record<string, unknown> | null | undefined)?.[earlierDeliveriesProperty];
  return own + (Number.isSafeInteger(earlier) && (earlier as number) > 0 ? (earlier as number) : 0);
}

/** A body as text. Those of other senders may be anything, and the host hands over parsed what is JSON. */
export function textOf(body: unknown): string {
  if (typeof body === 'string') return body;
  return body instanceof Uint8Array ? Buffer.from(body).toString('utf8') : (JSON.stringify(body) ?? '');
}
