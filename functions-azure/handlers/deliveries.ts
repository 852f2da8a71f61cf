import type { InvocationContext } from '@azure/functions';
import type { Core } from '../../shared/core.ts';
import type { Clock } from '../../shared/ports/clock.ts';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import type { QueuePart } from '../../shared/ports/queue.ts';
import type { DurationMs, EpochMs } from '../../shared/units.ts';
import type { work } from '../../shared/worker/index.ts';
import { type Original, textOf, timesDelivered } from '../adapters/messages.ts';

/** Gives a message back: its one copy, which shows after `delayMs` and remembers how often it was delivered. */
export type SendCopy = (original: Original, delayMs: DurationMs) => Promise<void>;

/** Keeps the message, whose lock the host renews, for so long or for what is left of the invocation. */
export type Hold = (ms: DurationMs) => Promise<void>;

/** The host ends an invocation that takes longer. @source host.json, functionTimeout */
const invocationMs: DurationMs = 300_000;
const reserveMs: DurationMs = 15_000;
/** Also of what should come again at once. */
const holdMsMin: DurationMs = 15_000;

const endedMax = 10_000;

/**
 * Messages that this process has ended, the last 10,000. One that comes again was not completed by the host, and what is
 * to be done about it was done, or is its copy's: while the broker completes nothing, working each once a minute would
 * be most of the work.
 */
export class EndedMessages {
  readonly #ids = new Set<string>();

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  add(id: string): void {
    if (id === '') return;
    this.#ids.add(id);
    if (this.#ids.size > endedMax) this.#ids.delete(this.#ids.values().next().value!);
  }
}

export interface TriggerOptions {
  queue: QueuePart;
  ended: EndedMessages;
  sendCopy: SendCopy;
  run: typeof work;
}

/**
 * Works the one message of an invocation. Returning completes it.
 * @throws where the host must abandon it
 */
export async function workMessage(
  core: Core,
  message: unknown,
  context: Pick<InvocationContext, 'triggerMetadata'>,
  { queue, ended, sendCopy, run }: TriggerOptions,
): Promise<void> {
  const hold = holdOf(core.clock, core.clock.now());
  const { id, delivery, conclude } = serviceBusDelivery(message, context, sendCopy, hold);
  if (ended.has(id)) return;
  await run(core, [delivery], { queue });
  await conclude();
  ended.add(id);
}

/** Holds within the invocation that began at `startedAt`. */
export function holdOf(clock: Clock, startedAt: EpochMs): Hold {
  return (ms) => clock.sleep(Math.max(0, Math.min(ms, startedAt + invocationMs - reserveMs - clock.now())));
}

export interface ServiceBusDelivery {
  /** Of the message; empty where its sender gave it none. */
  id: string;
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
  sendCopy: SendCopy,
  hold: Hold,
): ServiceBusDelivery {
  const { messageId, deliveryCount: count, applicationProperties } = context.triggerMetadata ?? {};
  const id = String(messageId ?? '');
  const deliveryCount = timesDelivered(Number(count) || 1, applicationProperties);
  let settlement: Settlement | undefined;
  const sendOrHold = async (delayMs: DurationMs) => {
    const original = { id, body: textOf(message), deliveryCount };
    try {
      await sendCopy(original, delayMs);
    } catch {
      await hold(Math.max(delayMs, holdMsMin));
      await sendCopy(original, 0);
    }
  };
  return {
    id,
    delivery: {
      body: message,
      deliveryCount,
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
