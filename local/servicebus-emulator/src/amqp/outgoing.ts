import type { Broker } from '../broker.ts';
import { asFault } from '../fault.ts';
import type { Queue } from '../queue.ts';
import { lockOf, type StoredMessage, type SubQueue } from '../sub-queue.ts';
import { deliveryTag, lockTokenOfTag } from './lock-token.ts';
import {
  type AmqpDelivery,
  type AmqpLink,
  acceptedState,
  answerDrain,
  isAttached,
  rejectedState,
  settleDelivery,
  types,
} from './rhea.ts';
import { mapEntries, type TypedMap } from './sections.ts';

/**
 * A link on which a client receives. In peek-lock mode it locks, sends and waits for the outcome; in receive-and-delete
 * mode (the client asked for settled transfers) it deletes, waits until that is durable, and only then sends.
 */
export class OutgoingLink {
  readonly queue: Queue;
  readonly sub: SubQueue;
  readonly link: AmqpLink;
  private readonly broker: Broker;
  private readonly isPeekLock: boolean;
  /** Taken for this link and waiting to be durable before being sent. */
  private reserved = 0;
  private readonly queuedIds: number[] = [];

  constructor(options: { broker: Broker; queue: Queue; sub: SubQueue; link: AmqpLink }) {
    this.broker = options.broker;
    this.queue = options.queue;
    this.sub = options.sub;
    this.link = options.link;
    this.isPeekLock = options.link.snd_settle_mode !== 1;
    this.onOutcome('accepted', (token, now) => this.queue.complete(this.sub, token, now));
    this.onOutcome('released', (token, now) => this.queue.abandon(this.sub, token, {}, now, false));
    this.onOutcome('modified', (token, now, delivery) => {
      const [, undeliverableHere, annotations] = delivery.remote_state?.value ?? [];
      const changes = mapEntries(annotations);
      if (undeliverableHere?.value) this.queue.defer(this.sub, token, changes, now);
      else this.queue.abandon(this.sub, token, changes, now);
    });
    this.onOutcome('rejected', (token, now, delivery) => {
      this.queue.deadLetter(this.sub, token, deadLetterChanges(delivery), now);
    });
  }

  /** What credit and the session window leave, less what is under way. A message must not be locked and then not sent. */
  get allowance(): number {
    if (!isAttached(this.link)) return 0;
    const { outgoing } = this.link.session;
    const queuedInSession = outgoing.next_delivery_id - outgoing.next_pending_delivery;
    return Math.min(
      this.link.credit - this.queuedHere - this.reserved,
      outgoing.transfer_window() - queuedInSession - this.reserved,
      outgoing.available() - this.reserved,
    );
  }

  takeNext(): StoredMessage | undefined {
    const now = this.broker.clock();
    if (this.isPeekLock) {
      const message = this.queue.lockNext(this.sub, now);
      if (message) this.send(message);
      this.broker.rearm();
      return message;
    }
    const message = this.queue.removeNext(this.sub, now);
    if (!message) return undefined;
    this.reserved += 1;
    this.broker.store.whenDurable(() => {
      this.reserved -= 1;
      this.send(message);
      this.finishDrain();
    });
    return message;
  }

  /** The client asked for all that is there, now: to be called after the dispatcher has run. */
  finishDrain(): void {
    if (!this.link._draining || !this.link.is_open()) return;
    // After rhea has sent what is queued, which is when it takes the credit off.
    process.nextTick(() => {
      if (this.link._draining && this.link.is_open() && this.reserved === 0 && this.queuedHere === 0)
        answerDrain(this.link);
    });
  }

  private send(message: StoredMessage): void {
    if (!this.link.is_open()) return;
    const lock = lockOf(message);
    const delivery = this.link.send(encodeForReceiver(message), lock ? deliveryTag(lock.token) : Buffer.alloc(0), 0);
    this.queuedIds.push(delivery.id);
  }

  private get queuedHere(): number {
    const firstUnsent = this.link.session.outgoing.next_pending_delivery;
    while (this.queuedIds.length > 0 && (this.queuedIds[0] as number) < firstUnsent) this.queuedIds.shift();
    return this.queuedIds.length;
  }

  private onOutcome(name: string, settle: (token: string, now: number, delivery: AmqpDelivery) => void): void {
    this.link.on(name, ({ delivery }: { delivery: AmqpDelivery }) => {
      if (!this.isPeekLock) return;
      try {
        settle(lockTokenOfTag(delivery.tag), this.broker.clock(), delivery);
        this.broker.store.whenDurable(() => settleDelivery(delivery, acceptedState()));
      } catch (cause) {
        const fault = asFault(cause);
        settleDelivery(delivery, rejectedState(fault.condition, fault.message));
      }
      this.broker.rearm();
    });
  }
}

/** The SDKs put reason, description and their own properties into the error's `info`. @source https://github.com/Azure/azure-sdk-for-js/pull/8321 2026-11 */
function deadLetterChanges(delivery: AmqpDelivery): TypedMap {
  const error = delivery.remote_state?.value[0];
  const fields = Array.isArray(error?.value) ? (error.value as (typeof error)[]) : [];
  return mapEntries(fields[2]);
}

/** The message with what the broker knows about it, as a receiver or a browser gets it. */
export function encodeForReceiver(message: StoredMessage, withBody = true): Buffer {
  const { sequenceNumber, enqueuedSequenceNumber, enqueuedAt, place } = message;
  const annotations: TypedMap = {
    'x-opt-sequence-number': types.wrap_long(sequenceNumber),
    'x-opt-enqueue-sequence-number': types.wrap_long(enqueuedSequenceNumber),
    'x-opt-enqueued-time': types.wrap_timestamp(enqueuedAt),
    'x-opt-message-state': types.wrap_int(stateCode(message)),
  };
  if (place.kind === 'locked') annotations['x-opt-locked-until'] = types.wrap_timestamp(place.until);
  const { deliveryCount, ttlMs, content } = message;
  return content.encode({ deliveryCount, ttlMs, enqueuedAt, annotations }, withBody);
}

/** Active 0, deferred 1, scheduled 2. @source https://github.com/Azure/azure-sdk-for-js (serviceBusMessage.ts, fromRheaMessage) 2026-11 */
function stateCode({ place }: StoredMessage): number {
  if (place.kind === 'scheduled') return 2;
  return place.kind === 'deferred' || (place.kind === 'locked' && place.wasDeferred) ? 1 : 0;
}
