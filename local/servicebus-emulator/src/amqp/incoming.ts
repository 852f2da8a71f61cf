import type { Broker } from '../broker.ts';
import { readSubmission } from '../content.ts';
import { asFault, messageTooLarge } from '../fault.ts';
import { MESSAGE_BYTES_MAX } from '../limits.ts';
import {
  type AmqpDelivery,
  type AmqpLink,
  acceptedState,
  BATCH_FORMAT,
  rejectedState,
  settleDelivery,
} from './rhea.ts';
import { splitBatch } from './sections.ts';

/** A transfer as our connections report it (see `keepEncodedBytes`). */
export interface Transfer {
  message: Buffer;
  format: number;
  delivery: AmqpDelivery;
}

/**
 * Stores what a client sends to a queue; the transfer is accepted once it is durable. The link stays when the queue is
 * disabled or deleted, and every transfer is refused instead: the SDK would wait a minute for the fate of a transfer
 * that crossed a detach.
 */
export function receiveSends(broker: Broker, queueName: string, link: AmqpLink): void {
  link.on('message', ({ message, format, delivery }: Transfer) => {
    try {
      if (message.length > MESSAGE_BYTES_MAX) throw messageTooLarge(message.length, MESSAGE_BYTES_MAX);
      const encoded = format === BATCH_FORMAT ? splitBatch(message) : [message];
      broker.get(queueName).enqueue(encoded.map(readSubmission), broker.clock());
      broker.rearm();
      broker.store.whenDurable(() => settleDelivery(delivery, acceptedState()));
    } catch (cause) {
      const fault = asFault(cause);
      settleDelivery(delivery, rejectedState(fault.condition, fault.message));
    }
  });
}
