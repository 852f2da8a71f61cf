import type { Clock } from '../../shared/ports/clock.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { LeasedMessage, OutgoingMessage, Queue, QueueDepth, ReceiveOptions } from '../../shared/ports/queue.ts';
import type { DurationMs, EpochMs } from '../../shared/units.ts';

/** The operations of a queue, as counters, faults and hooks name them. */
export type QueueOp = 'send' | 'receive' | 'complete' | 'giveBack' | 'deadLetter' | 'extend' | 'depth';

export interface InMemoryQueueOptions {
  name: string;
  clock: Clock;
  /** How long a message is leased. Default 60,000. */
  leaseMs?: DurationMs;
  /** A message that was handed out so often and comes back is dead-lettered. Default 1,000. */
  deliveriesMax?: number;
}

export interface DeadLetter {
  id: string;
  body: string;
  reason: string;
  description: string;
}

interface Message {
  id: string;
  body: string;
  deliveryCount: number;
  state: 'visible' | 'inFlight' | 'delayed' | 'gone';
  /** Grows at each change of state or lease; what refers to an older one is out of date. */
  turn: number;
}

/** When a delay or a lease ends, unless the message has taken another turn by then. */
interface Due {
  at: EpochMs;
  turn: number;
  message: Message;
}

interface Lease {
  message: Message;
  turn: number;
}

/** A queue in this process's memory, for tests and simulation. Hands messages out in the order they became visible. */
export class InMemoryQueue implements Queue {
  readonly name: string;
  /** How often each operation was called. */
  readonly calls: Record<QueueOp, number>;
  /** What was dead-lettered, oldest first. */
  readonly deadLetters: DeadLetter[] = [];
  readonly #clock: Clock;
  readonly #leaseMs: DurationMs;
  readonly #deliveriesMax: number;
  readonly #messages = new Set<Message>();
  #visible: Message[] = [];
  /** Soonest first. */
  readonly #due: Due[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(options: InMemoryQueueOptions) {
    this.name = options.name;
    this.calls = { send: 0, receive: 0, complete: 0, giveBack: 0, deadLetter: 0, extend: 0, depth: 0 };
    this.#clock = options.clock;
    this.#leaseMs = options.leaseMs ?? 60_000;
    this.#deliveriesMax = options.deliveriesMax ?? 1000;
  }

  async send(messages: readonly OutgoingMessage[], options: CallOptions = {}): Promise<void> {
    this.#called('send', options);
    for (const { id, body, delayMs = 0 } of messages) {
      const message: Message = { id, body, deliveryCount: 0, state: 'visible', turn: 0 };
      this.#messages.add(message);
      this.#showAfter(message, delayMs);
    }
  }

  async receive(options: ReceiveOptions = {}): Promise<LeasedMessage[]> {
    this.#called('receive', options);
    const { max = 10, waitMs = 0, signal } = options;
    const until = this.#clock.now() + waitMs;
    for (;;) {
      const taken = this.#take(max);
      const left = until - this.#clock.now();
      if (taken.length > 0 || left <= 0) return taken;
      await this.#change(Math.min(left, Math.max(1, (this.#due[0]?.at ?? until) - this.#clock.now())), signal);
    }
  }

  async complete(message: LeasedMessage, options: CallOptions = {}): Promise<boolean> {
    const held = this.#held('complete', message, options);
    if (held !== undefined) this.#remove(held);
    return held !== undefined;
  }

  async giveBack(message: LeasedMessage, delayMs: DurationMs = 0, options: CallOptions = {}): Promise<boolean> {
    const held = this.#held('giveBack', message, options);
    if (held !== undefined) this.#showAfter(held, delayMs);
    return held !== undefined;
  }

  async deadLetter(
    message: LeasedMessage,
    reason: string,
    description: string,
    options: CallOptions = {},
  ): Promise<boolean> {
    const held = this.#held('deadLetter', message, options);
    if (held === undefined) return false;
    this.#remove(held);
    this.deadLetters.push({ id: held.id, body: held.body, reason, description });
    return true;
  }

  async extend(message: LeasedMessage, leaseMs: DurationMs, options: CallOptions = {}): Promise<boolean> {
    const held = this.#held('extend', message, options);
    if (held === undefined) return false;
    (message.lease as Lease).turn = this.#waitUntil(held, 'inFlight', leaseMs);
    return true;
  }

  async depth(options: CallOptions = {}): Promise<QueueDepth> {
    this.#called('depth', options);
    this.#promote();
    const depth: QueueDepth = { visible: 0, inFlight: 0, delayed: 0, deadLettered: this.deadLetters.length };
    for (const { state } of this.#messages) if (state !== 'gone') depth[state]++;
    return depth;
  }

  async close(): Promise<void> {}

  /** Forgets every message, dead-lettered ones apart: a queue that was purged. */
  purge(): void {
    for (const message of this.#messages) this.#remove(message);
  }

  #called(op: QueueOp, options: CallOptions): void {
    this.calls[op]++;
    options.signal?.throwIfAborted();
  }

  #held(op: QueueOp, { lease }: LeasedMessage, options: CallOptions): Message | undefined {
    this.#called(op, options);
    this.#promote();
    const { message, turn } = lease as Lease;
    return message.turn === turn ? message : undefined;
  }

  #take(max: number): LeasedMessage[] {
    this.#promote();
    const taken: LeasedMessage[] = [];
    // A message may have left the queue while it stood here.
    while (taken.length < max && this.#visible.length > 0) {
      const message = this.#visible.shift() as Message;
      if (message.state !== 'visible') continue;
      message.deliveryCount++;
      const lease: Lease = { message, turn: this.#waitUntil(message, 'inFlight', this.#leaseMs) };
      taken.push({ id: message.id, body: message.body, deliveryCount: message.deliveryCount, lease });
    }
    return taken;
  }

  #remove(message: Message): void {
    message.turn++;
    message.state = 'gone';
    this.#messages.delete(message);
  }

  #showAfter(message: Message, delayMs: DurationMs): void {
    if (delayMs > 0) this.#waitUntil(message, 'delayed', delayMs);
    else this.#show(message);
    for (const wake of this.#waiting) wake();
  }

  #show(message: Message): void {
    message.turn++;
    if (message.deliveryCount >= this.#deliveriesMax) {
      this.#remove(message);
      const description = `handed out ${message.deliveryCount} times`;
      this.deadLetters.push({ id: message.id, body: message.body, reason: 'MaxDeliveryCountExceeded', description });
      return;
    }
    message.state = 'visible';
    this.#visible.push(message);
  }

  #waitUntil(message: Message, state: 'inFlight' | 'delayed', ms: DurationMs): number {
    const turn = ++message.turn;
    message.state = state;
    const at = this.#clock.now() + ms;
    let index = this.#due.length;
    while (index > 0 && (this.#due[index - 1] as Due).at > at) index--;
    this.#due.splice(index, 0, { at, turn, message });
    return turn;
  }

  /** Shows what is due by now. */
  #promote(): void {
    const now = this.#clock.now();
    while (this.#due[0] !== undefined && this.#due[0].at <= now) {
      const { message, turn } = this.#due.shift() as Due;
      if (message.turn === turn) this.#show(message);
    }
  }

  /** Resolves when a message may have become visible, after `ms` at the latest. */
  async #change(ms: DurationMs, signal: AbortSignal | undefined): Promise<void> {
    const sleep = new AbortController();
    const wake = () => sleep.abort();
    this.#waiting.add(wake);
    try {
      await this.#clock.sleep(ms, signal ? AbortSignal.any([signal, sleep.signal]) : sleep.signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!sleep.signal.aborted) throw error;
    } finally {
      this.#waiting.delete(wake);
    }
  }
}
