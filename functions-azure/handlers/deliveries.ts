import type { InvocationContext } from '@azure/functions';
import type { Clock } from '../../shared/ports/clock.ts';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import type { DurationMs, EpochMs } from '../../shared/units.ts';

/** Gives a message back: a copy that shows after `delayMs`, and that remembers how often it was delivered. */
export type SendCopy = (body: string, deliveries: number, delayMs: number) => Promise<void>;

/** Keeps the message, whose lock the host renews, for so long or for what is left of the invocation. */
export type Hold = (ms: DurationMs) => Promise<void>;

/** The host ends an invocation that takes longer. @source host.json, functionTimeout */
const invocationMs: DurationMs = 300_000;
const reserveMs: DurationMs = 15_000;
/** Also of what should come again at once. */
const holdMsMin: DurationMs = 15_000;

/** Holds within the invocation that began at `startedAt`. */
export function holdOf(clock: Clock, startedAt: EpochMs): Hold {
  return (ms) => clock.sleep(Math.max(0, Math.min(ms, startedAt + invocationMs - reserveMs - clock.now())));
}

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
 *
 * What is abandoned is handed out again at once. A copy that cannot be sent (receiving goes well and sending does not) is
 * therefore waited for, lock in hand, and tried once more: 1,000 deliveries of a good message took a minute otherwise.
 */
export function serviceBusDelivery(
  message: unknown,
  context: Pick<InvocationContext, 'triggerMetadata'>,
  earlierDeliveries: (applicationProperties: unknown) => number,
  sendCopy: SendCopy,
  hold: Hold,
): ServiceBusDelivery {
  const { deliveryCount, applicationProperties } = context.triggerMetadata ?? {};
  const deliveries = (Number(deliveryCount) || 1) + earlierDeliveries(applicationProperties);
  let settlement: Settlement | undefined;
  const sendOrHold = async (delayMs: DurationMs) => {
    try {
      await sendCopy(textOf(message), deliveries, delayMs);
    } catch {
      await hold(Math.max(delayMs, holdMsMin));
      await sendCopy(textOf(message), deliveries, 0);
    }
  };
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
      if (settlement.kind === 'giveBack') await sendOrHold(settlement.delayMs);
    },
  };
}

/** The host hands a body that is JSON over parsed. */
function textOf(message: unknown): string {
  if (typeof message === 'string') return message;
  if (message instanceof Uint8Array) return Buffer.from(message).toString('utf8');
  return JSON.stringify(message);
}
