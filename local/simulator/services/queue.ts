import { TransientError } from '../../../shared/errors.ts';
import type { CallOptions } from '../../../shared/ports/object-store.ts';
import type { LeasedMessage, OutgoingMessage, Queue, QueueDepth, ReceiveOptions } from '../../../shared/ports/queue.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import type { Stream } from '../engine/random.ts';
import type { Scheduler } from '../engine/scheduler.ts';

/** How a queue of one vendor behaves. */
export interface QueueManners {
  /** Share of received messages that are handed out again within seconds: at least once. */
  duplicates: number;
  /** Whether a message goes by a receipt that is older than its last delivery. */
  takesOldReceipts: boolean;
  /** SQS counts what is in work apart; Service Bus calls that active, like what waits. */
  tellsInFlight: boolean;
  /** Share of leases that end long before their time: a broker moved, a link was lost. */
  lostLeases: number;
  /** Messages that may be leased at once; beyond it nothing is handed out. */
  inFlightMax: number;
  /** Counts are as old as this at most. */
  depthLagMs: DurationMs;
  /** What has an id that was sent within so long is dropped. 0: nothing is. */
  duplicateDetectionMs: DurationMs;
  /** Operations a second of all queues of the namespace together; beyond it calls are throttled. `undefined`: no limit. */
  credits: Credits | undefined;
}

/**
 * Operations that a Service Bus Standard namespace takes: 1,000 a second, each send and each settlement of each message
 * one, a receive one for each message.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling 2026-11
 */
export class Credits {
  readonly #perSecond: number;
  readonly #scheduler: Scheduler;
  #left: number;
  #at: EpochMs;
  throttled = 0;

  constructor(scheduler: Scheduler, perSecond: number) {
    this.#scheduler = scheduler;
    this.#perSecond = perSecond;
    this.#left = perSecond;
    this.#at = scheduler.now;
  }

  /** @throws TransientError `throttled` */
  spend(operations: number): void {
    const { now } = this.#scheduler;
    const refill = ((now - this.#at) / 1000) * this.#perSecond;
    this.#left = Math.min(this.#perSecond, this.#left + refill);
    this.#at = now;
    // A call larger than all that can be saved up is taken when nothing else is owed.
    if (this.#left < Math.min(operations, this.#perSecond)) {
      this.throttled += 1;
      throw new TransientError('throttled', 'the namespace is out of credits', { retryAfterMs: 2_000 });
    }
    this.#left -= operations;
  }
}

/** A message as Service Bus takes it. */
interface Sent extends OutgoingMessage {
  properties?: Record<string, unknown>;
}

interface Message {
  id: string;
  body: string;
  properties: Record<string, unknown>;
  deliveryCount: number;
  state: 'visible' | 'inFlight' | 'delayed' | 'gone';
  /** Grows at each change of state or lease; a lease of an older turn is lost. */
  turn: number;
}

interface Lease {
  message: Message;
  turn: number;
}

/** As both queues are deployed. @source serverless.yml (maxReceiveCount), infra/azure/main.bicep (maxDeliveryCount) */
const deliveriesMax = 1_000;

/** A queue that hands out what it has in any order, at least once. */
export class SimulatedQueue implements Queue {
  readonly name: string;
  readonly deadLetters: { id: string; body: string; reason: string }[] = [];
  /** Told when a message has become visible. */
  onVisible: (() => void) | undefined;
  /** Told of each message that was completed. */
  onCompleted: ((body: string) => void) | undefined;
  /** What happened here that a test wants to have happened. */
  readonly seen = { duplicates: 0, lostLeases: 0, expired: 0, staleSettlements: 0 };
  /** Most messages with the same body that were in it at once. */
  mostAlike = 0;
  readonly #scheduler: Scheduler;
  readonly #stream: Stream;
  readonly #manners: QueueManners;
  readonly #leaseMs: DurationMs;
  readonly #all = new Set<Message>();
  /** Messages in it with the same body, by body. */
  readonly #alike = new Map<string, number>();
  readonly #visible: Message[] = [];
  /** Ids that were sent lately, in their order, each with when it is forgotten. */
  readonly #sentIds = new Map<string, EpochMs>();
  readonly #counts = { visible: 0, inFlight: 0, delayed: 0 };
  #counted: { at: EpochMs; depth: QueueDepth } | undefined;

  constructor(name: string, scheduler: Scheduler, stream: Stream, leaseMs: DurationMs, manners: QueueManners) {
    this.name = name;
    this.#scheduler = scheduler;
    this.#stream = stream;
    this.#leaseMs = leaseMs;
    this.#manners = manners;
  }

  /** What it holds now, the truth: `depth` may lag. */
  get backlog(): number {
    return this.#counts.visible + this.#counts.inFlight + this.#counts.delayed;
  }

  get visible(): number {
    return this.#counts.visible;
  }

  /** Bodies of everything in it, for judges. */
  bodies(): string[] {
    return [...this.#all].map(({ body }) => body);
  }

  /** The application properties of a message, as they were sent. */
  propertiesOf(message: LeasedMessage): Record<string, unknown> {
    return (message.lease as Lease).message.properties;
  }

  async send(messages: readonly Sent[]): Promise<void> {
    this.#manners.credits?.spend(messages.length);
    for (const { id, body, properties = {}, delayMs = 0 } of messages) {
      if (this.#isDuplicate(id)) continue;
      const message: Message = { id, body, properties, deliveryCount: 0, state: 'gone', turn: 0 };
      this.#add(message);
      if (delayMs > 0) this.#wait(message, 'delayed', delayMs);
      else this.#show(message);
    }
  }

  async receive({ max = 10 }: ReceiveOptions = {}): Promise<LeasedMessage[]> {
    return this.take(max);
  }

  /** At once and without waiting. */
  take(max: number, leaseMs: DurationMs = this.#leaseMs): LeasedMessage[] {
    const taken: LeasedMessage[] = [];
    const { inFlightMax, credits } = this.#manners;
    if (this.#visible.length > 0) credits?.spend(Math.min(max, this.#visible.length));
    while (taken.length < max && this.#visible.length > 0 && this.#counts.inFlight < inFlightMax) {
      const at = Math.floor(this.#stream.next() * this.#visible.length);
      const message = this.#visible[at]!;
      this.#visible[at] = this.#visible.at(-1)!;
      this.#visible.pop();
      // It left the queue, or took another turn, while it stood here.
      if (message.state !== 'visible') continue;
      message.deliveryCount += 1;
      const turn = this.#wait(message, 'inFlight', this.#lastingMs(leaseMs));
      taken.push({
        id: message.id,
        body: message.body,
        deliveryCount: message.deliveryCount,
        lease: { message, turn },
      });
    }
    return taken;
  }

  /** How long a lease really lasts: a second copy may show at once, and a lock be lost. */
  #lastingMs(leaseMs: DurationMs): DurationMs {
    const { duplicates, lostLeases } = this.#manners;
    if (duplicates > 0 && this.#stream.chance(duplicates)) {
      this.seen.duplicates += 1;
      return this.#stream.next() * 5_000;
    }
    if (lostLeases === 0 || !this.#stream.chance(lostLeases)) return leaseMs;
    this.seen.lostLeases += 1;
    return this.#stream.next() * leaseMs;
  }

  /** SQS deletes by any receipt that it ever gave; Service Bus completes under the lock that holds. */
  async complete(message: LeasedMessage): Promise<boolean> {
    const held = this.#held(message);
    const late = (message.lease as Lease).message;
    if (held === undefined && (!this.#manners.takesOldReceipts || late.state === 'gone')) return false;
    this.#remove(late);
    this.onCompleted?.(late.body);
    return held !== undefined;
  }

  async giveBack(message: LeasedMessage, delayMs: DurationMs = 0): Promise<boolean> {
    const held = this.#held(message);
    if (held === undefined) return false;
    if (delayMs > 0) this.#wait(held, 'delayed', delayMs);
    else this.#show(held);
    return true;
  }

  async deadLetter(message: LeasedMessage, reason: string): Promise<boolean> {
    const held = this.#held(message);
    if (held === undefined) return false;
    this.#remove(held);
    this.deadLetters.push({ id: held.id, body: held.body, reason });
    return true;
  }

  async extend(message: LeasedMessage, leaseMs: DurationMs): Promise<boolean> {
    const held = this.#held(message);
    if (held === undefined) return false;
    (message.lease as Lease).turn = this.#wait(held, 'inFlight', leaseMs);
    return true;
  }

  async depth(_options?: CallOptions): Promise<QueueDepth> {
    const { now } = this.#scheduler;
    const { depthLagMs, tellsInFlight } = this.#manners;
    if (this.#counted !== undefined && now - this.#counted.at < depthLagMs) return this.#counted.depth;
    const { visible, inFlight } = this.#counts;
    const told = tellsInFlight ? {} : { visible: visible + inFlight, inFlight: 0 };
    const depth = { ...this.#counts, ...told, deadLettered: this.deadLetters.length };
    this.#counted = { at: now, depth };
    return depth;
  }

  async close(): Promise<void> {}

  /** Loses every message: the queue was lost, or its retention ended. */
  purge(): void {
    for (const message of this.#all) this.#remove(message);
    this.#sentIds.clear();
  }

  #isDuplicate(id: string): boolean {
    const { duplicateDetectionMs } = this.#manners;
    const { now } = this.#scheduler;
    if (duplicateDetectionMs === 0) return false;
    for (const [old, forgottenAt] of this.#sentIds) {
      if (forgottenAt > now) break;
      this.#sentIds.delete(old);
    }
    if (this.#sentIds.has(id)) return true;
    this.#sentIds.set(id, now + duplicateDetectionMs);
    return false;
  }

  #held({ lease }: LeasedMessage): Message | undefined {
    this.#manners.credits?.spend(1);
    const { message, turn } = lease as Lease;
    if (message.turn === turn && message.state === 'inFlight') return message;
    this.seen.staleSettlements += 1;
    return undefined;
  }

  #enter(message: Message, state: Message['state']): void {
    if (message.state !== 'gone') this.#counts[message.state] -= 1;
    message.state = state;
    message.turn += 1;
    if (state !== 'gone') this.#counts[state] += 1;
  }

  #add(message: Message): void {
    this.#all.add(message);
    const alike = (this.#alike.get(message.body) ?? 0) + 1;
    this.#alike.set(message.body, alike);
    this.mostAlike = Math.max(this.mostAlike, alike);
  }

  #remove(message: Message): void {
    this.#enter(message, 'gone');
    if (!this.#all.delete(message)) return;
    const alike = this.#alike.get(message.body)! - 1;
    if (alike > 0) this.#alike.set(message.body, alike);
    else this.#alike.delete(message.body);
  }

  #show(message: Message): void {
    if (message.deliveryCount >= deliveriesMax) {
      this.#remove(message);
      this.deadLetters.push({ id: message.id, body: message.body, reason: 'MaxDeliveryCountExceeded' });
      return;
    }
    this.#enter(message, 'visible');
    this.#visible.push(message);
    this.onVisible?.();
  }

  #wait(message: Message, state: 'inFlight' | 'delayed', ms: DurationMs): number {
    this.#enter(message, state);
    const { turn } = message;
    this.#scheduler.after(ms, () => {
      if (message.turn !== turn) return;
      if (state === 'inFlight') this.seen.expired += 1;
      this.#show(message);
    });
    return turn;
  }
}
