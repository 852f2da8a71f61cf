import type { InvocationContext } from '@azure/functions';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';

/** Gives a message back: a copy that shows after `delayMs`, and that remembers how often it was delivered. */
export type SendCopy = (body: string, deliveries: number, delayMs: number) => Promise<void>;

export interface ServiceBusDelivery {
  delivery: Delivery;
  /**
   * Ends the invocation as the settlement says, for the host settles the message: returning completes it.
   * @throws where the host must abandon it
   */
  conclude(): Promise<void>;
}

/**
 * The one message of an invocation. The host holds its lock and renews it, so there is nothing to extend. A message
 * that nobody can read cannot be dead-lettered from here: it is abandoned until the broker does so, after 1,000 deliveries.
 */
export function serviceBusDelivery(
  message: unknown,
  context: Pick<InvocationContext, 'triggerMetadata'>,
  earlierDeliveries: (applicationProperties: unknown) => number,
  sendCopy: SendCopy,
): ServiceBusDelivery {
  const { deliveryCount, applicationProperties } = context.triggerMetadata ?? {};
  const deliveries = (Number(deliveryCount) || 1) + earlierDeliveries(applicationProperties);
  let settlement: Settlement | undefined;
  return {
    delivery: {
      body: message,
      deliveryCount: deliveries,
      extend: async () => true,
      async settle(asked) {
        settlement ??= asked;
      },
    },
    async conclude() {
      if (settlement === undefined) throw new Error('the message was not settled');
      if (settlement.kind === 'deadLetter') throw new Error(`${settlement.reason}: ${settlement.description}`);
      if (settlement.kind === 'giveBack') await sendCopy(textOf(message), deliveries, settlement.delayMs);
    },
  };
}

/** The host hands a body that is JSON over parsed. */
function textOf(message: unknown): string {
  if (typeof message === 'string') return message;
  if (message instanceof Uint8Array) return Buffer.from(message).toString('utf8');
  return JSON.stringify(message);
}
