import type { Broker } from '../broker.ts';
import { MessageContent } from '../content.ts';
import { asFault, messageTooLarge } from '../fault.ts';
import { MESSAGE_BYTES_MAX } from '../limits.ts';
import type { Queue } from '../queue.ts';
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

/** Stores what a client sends to a queue; the transfer is accepted once it is durable. */
export function receiveSends(broker: Broker, queue: Queue, link: AmqpLink): void {
  link.on('message', ({ message, format, delivery }: Transfer) => {
    // A link we have closed may still carry what was under way; its sender learns nothing more about it.
    if (!link.is_open()) return;
    try {
      if (message.length > MESSAGE_BYTES_MAX) throw messageTooLarge(message.length, MESSAGE_BYTES_MAX);
      const encoded = format === BATCH_FORMAT ? splitBatch(message) : [message];
      queue.enqueue(encoded.map(MessageContent.decode), broker.clock());
      broker.rearm();
      broker.store.whenDurable(() => settleDelivery(delivery, acceptedState()));
    } catch (cause) {
      const fault = asFault(cause);
      settleDelivery(delivery, rejectedState(fault.condition, fault.message));
    }
  });
}
