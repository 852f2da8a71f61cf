import type { SQSBatchResponse, SQSRecord } from 'aws-lambda';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import type { Log } from '../../shared/ports/log.ts';
import type { LeasedMessage, Queue } from '../../shared/ports/queue.ts';

/** The messages of one invocation, and what Lambda must be told when they are settled. */
export interface SqsDeliveries {
  deliveries: Delivery[];
  /** Names every message that Lambda must not delete: those given back, and those nobody settled. */
  response(): SQSBatchResponse;
}

/**
 * Messages as the core settles them, one by one (F10). The lease is the message's visibility, which the trigger's queue
 * sets to the longest run: the worker cuts it on entry and renews it. Giving back changes the visibility and never sends
 * to the queue that triggered us, since Lambda stops such loops.
 */
export function sqsDeliveries(
  records: readonly SQSRecord[],
  queueOf: (record: SQSRecord) => Queue,
  leasedMessage: (record: SQSRecord) => LeasedMessage,
  log: Log,
): SqsDeliveries {
  const kept = new Set(records.map((record) => record.messageId));
  const deliveries = records.map((record): Delivery => {
    const queue = queueOf(record);
    const message = leasedMessage(record);
    /** False, and a log line, where the call fails. */
    const attempt = (call: Promise<boolean>): Promise<boolean> =>
      call.catch((error: unknown) => {
        log.warn('lease.failed', { queue: queue.name, error: String((error as Error)?.message).slice(0, 200) });
        return false;
      });
    let settled = false;
    return {
      body: record.body,
      deliveryCount: message.deliveryCount,
      extend: (leaseMs) => (settled ? Promise.resolve(false) : attempt(queue.extend(message, leaseMs))),
      async settle(settlement: Settlement) {
        if (settled) return;
        settled = true;
        if (settlement.kind === 'complete') kept.delete(record.messageId);
        // Where this fails, the message comes back when its lease ends.
        else if (settlement.kind === 'giveBack') await attempt(queue.giveBack(message, settlement.delayMs));
        else if (await attempt(queue.deadLetter(message, settlement.reason, settlement.description)))
          kept.delete(record.messageId);
      },
    };
  });
  return {
    deliveries,
    response: () => ({ batchItemFailures: [...kept].map((itemIdentifier) => ({ itemIdentifier })) }),
  };
}
