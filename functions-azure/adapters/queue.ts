import type {
  ServiceBusClient,
  ServiceBusMessage,
  ServiceBusReceivedMessage,
  ServiceBusReceiver,
  ServiceBusSender,
} from '@azure/service-bus';
import { InvariantError } from '../../shared/errors.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { LeasedMessage, OutgoingMessage, Queue, QueueDepth, ReceiveOptions } from '../../shared/ports/queue.ts';
import type { DurationMs } from '../../shared/units.ts';
import { serviceBusError } from './errors.ts';
import { attempt, defaultTimeouts, retryBriefly, type Timeouts } from './http.ts';
import { copyId, type Original, propertiesOfCopy, textOf, timesDelivered } from './messages.ts';
import type { ServiceBusConnector } from './service-bus-client.ts';
import { ownTurn } from './turns.ts';

/** Receiving opens a link and asks the broker: with less than this, nothing could come. */
const RECEIVE_WAIT_MS_MIN = 100;

/** Of a dead-lettered message's reason and description, each. */
const DESCRIPTION_CHARS_MAX = 1_000;

/** Errors that say that a lease is over. */
const LEASE_LOST = new Set(['MessageLockLost', 'MessageNotFound']);

export interface ServiceBusQueueOptions {
  connector: ServiceBusConnector;
  /** As in logs and errors: `azure/work`. */
  name: string;
  queue: string;
  timeouts?: Timeouts;
}

export interface ServiceBusQueue extends Queue {
  /**
   * Sends what was received again, not to be seen before `delayMs`, remembering how often it was delivered: once, however
   * often it is asked to within an hour. Half of `giveBack`, for the trigger's host, which completes the message itself.
   */
  sendCopy(original: Original, delayMs: DurationMs, options?: CallOptions): Promise<void>;
}

/** One queue of Service Bus. Receiving opens a link, and with it a connection; so does sending. */
export function serviceBusQueue(options: ServiceBusQueueOptions): ServiceBusQueue {
  return new BusQueue(options);
}

interface Lease {
  message: ServiceBusReceivedMessage;
  settled: boolean;
}

/** What one connection has open for this queue. */
interface Links {
  sender?: ServiceBusSender;
  /** Receivers with no call under way: one takes one at a time. */
  idle: ServiceBusReceiver[];
  /** For settling; the SDK finds the link that a message came by, or uses the management link. */
  settling?: ServiceBusReceiver;
}

class BusQueue implements ServiceBusQueue {
  readonly name: string;
  readonly #connector: ServiceBusConnector;
  readonly #queue: string;
  readonly #timeouts: Timeouts;
  readonly #links = new WeakMap<ServiceBusClient, Links>();

  constructor(options: ServiceBusQueueOptions) {
    this.name = options.name;
    this.#connector = options.connector;
    this.#queue = options.queue;
    this.#timeouts = options.timeouts ?? defaultTimeouts;
  }

  async send(messages: readonly OutgoingMessage[], options: CallOptions = {}): Promise<void> {
    const now = Date.now();
    await this.#sendAll(
      messages.map(({ id, body, delayMs = 0 }) => outgoing(id, body, now, delayMs)),
      options,
    );
  }

  async sendCopy(original: Original, delayMs: DurationMs, options: CallOptions = {}): Promise<void> {
    const id = copyId(original.id) ?? crypto.randomUUID();
    const message = outgoing(id, original.body, Date.now(), delayMs);
    await this.#sendAll([{ ...message, applicationProperties: propertiesOfCopy(original) }], options);
  }

  async receive(options: ReceiveOptions = {}): Promise<LeasedMessage[]> {
    const { max = 10 } = options;
    const waitMs = Math.max(options.waitMs ?? 0, RECEIVE_WAIT_MS_MIN);
    const messages = await this.#call(options, waitMs, async (client, abortSignal) => {
      const { idle } = this.#linksOf(client);
      const receiver = idle.pop() ?? this.#receiver(client);
      try {
        const received = await receiver.receiveMessages(max, { maxWaitTimeInMs: waitMs, abortSignal });
        idle.push(receiver);
        return received;
      } catch (error) {
        // It may have asked for messages already, which would be leased to nobody.
        void receiver.close().catch(() => {});
        throw error;
      }
    });
    return messages.map((message) => ({
      id: String(message.messageId ?? ''),
      body: textOf(message.body),
      // The broker counts from 0.
      deliveryCount: timesDelivered((message.deliveryCount ?? 0) + 1, message.applicationProperties),
      lease: { message, settled: false } satisfies Lease,
    }));
  }

  async complete(message: LeasedMessage, options: CallOptions = {}): Promise<boolean> {
    return await this.#settle(message, options, (receiver, received) => receiver.completeMessage(received));
  }

  /** With a delay: a scheduled copy, then completion; Service Bus cannot hold back a message that it delivered. */
  async giveBack(message: LeasedMessage, delayMs: DurationMs = 0, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    const { message: received, settled } = message.lease as Lease;
    if (delayMs <= 0) return await this.#settle(message, options, (receiver, it) => receiver.abandonMessage(it));
    if (settled || Number(received.lockedUntilUtc) <= Date.now()) return false;
    await this.sendCopy(message, delayMs, options);
    return await this.complete(message, options);
  }

  async deadLetter(
    message: LeasedMessage,
    reason: string,
    description: string,
    options: CallOptions = {},
  ): Promise<boolean> {
    const why = {
      deadLetterReason: reason.slice(0, DESCRIPTION_CHARS_MAX),
      deadLetterErrorDescription: description.slice(0, DESCRIPTION_CHARS_MAX),
    };
    return await this.#settle(message, options, (receiver, received) => receiver.deadLetterMessage(received, why));
  }

  /** Renews by the queue's own lock time, whatever is asked for. */
  async extend(message: LeasedMessage, _leaseMs: DurationMs, options: CallOptions = {}): Promise<boolean> {
    return await this.#whileHeld(message, options, async (receiver, received) => {
      await receiver.renewMessageLock(received);
    });
  }

  /** Locked messages are counted as `visible`: Service Bus calls both active. */
  async depth(options: CallOptions = {}): Promise<QueueDepth> {
    const translate = (error: unknown) => serviceBusError(error, this.name);
    const counts = await retryBriefly(options, () =>
      attempt(this.#timeouts, options, { translate }, (abortSignal) =>
        this.#connector.administration.getQueueRuntimeProperties(this.#queue, { abortSignal }),
      ),
    );
    const { activeMessageCount, scheduledMessageCount, deadLetterMessageCount } = counts;
    return {
      visible: activeMessageCount,
      inFlight: 0,
      delayed: scheduledMessageCount,
      deadLettered: deadLetterMessageCount,
    };
  }

  /** Nothing to close: the connection is the site's. */
  async close(): Promise<void> {}

  /** Sending again after a lost reply is harmless: a pointer may always come twice. */
  async #sendAll(messages: ServiceBusMessage[], options: CallOptions): Promise<void> {
    options.signal?.throwIfAborted();
    for (let next = 0; next < messages.length; ) {
      next = await this.#call(options, 0, async (client, abortSignal) => {
        const links = this.#linksOf(client);
        links.sender ??= client.createSender(this.#queue);
        const batch = await links.sender.createMessageBatch({ abortSignal });
        let end = next;
        while (end < messages.length && batch.tryAddMessage(messages[end]!)) end++;
        if (end === next) throw new InvariantError('message_too_large', `${this.name}: a message fits into no batch`);
        await links.sender.sendMessages(batch, { abortSignal });
        return end;
      });
    }
  }

  async #settle(
    message: LeasedMessage,
    options: CallOptions,
    settle: (receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage) => Promise<void>,
  ): Promise<boolean> {
    const settled = await this.#whileHeld(message, options, settle);
    (message.lease as Lease).settled = true;
    return settled;
  }

  /** False where the lease is over. */
  async #whileHeld(
    { lease }: LeasedMessage,
    options: CallOptions,
    call: (receiver: ServiceBusReceiver, message: ServiceBusReceivedMessage) => Promise<void>,
  ): Promise<boolean> {
    options.signal?.throwIfAborted();
    const { message, settled } = lease as Lease;
    if (settled) return false;
    return await this.#call(options, 0, async (client) => {
      const links = this.#linksOf(client);
      links.settling ??= this.#receiver(client);
      await ownTurn();
      try {
        await call(links.settling, message);
        return true;
      } catch (error) {
        if (LEASE_LOST.has((error as { code?: string }).code ?? '')) return false;
        throw error;
      }
    });
  }

  #linksOf(client: ServiceBusClient): Links {
    const links = this.#links.get(client) ?? { idle: [] };
    this.#links.set(client, links);
    return links;
  }

  #receiver(client: ServiceBusClient): ServiceBusReceiver {
    return client.createReceiver(this.#queue, {
      receiveMode: 'peekLock',
      maxAutoLockRenewalDurationInMs: 0,
      skipParsingBodyAsJson: true,
    });
  }

  /** Every call can be made again without harm. The first one opens connection and link, and is given time for it. */
  async #call<T>(
    options: CallOptions,
    waitMs: DurationMs,
    call: (client: ServiceBusClient, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const translate = (error: unknown) => serviceBusError(error, this.name);
    const time = { waitMs: waitMs + this.#timeouts.connectMs, translate };
    return await retryBriefly(options, () =>
      this.#connector.use(
        (client, broken) =>
          attempt(this.#timeouts, options, time, (signal) => {
            const ended = AbortSignal.any([signal, broken]);
            return orAbort(call(client, ended), ended);
          }),
        (error) => (error as { name?: string }).name === 'SiteUnavailableError',
      ),
    );
  }
}

/** The SDK's settlements take no signal, and none ends a connection attempt. */
async function orAbort<T>(call: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  call.then(resolve, reject);
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** As bytes: the SDK would put quotation marks around a text. */
function outgoing(messageId: string, body: string, now: number, delayMs: DurationMs): ServiceBusMessage {
  const scheduled = delayMs > 0 ? { scheduledEnqueueTimeUtc: new Date(now + delayMs) } : {};
  return { messageId, body: Buffer.from(body), ...scheduled };
}
