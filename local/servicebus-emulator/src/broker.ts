import { type QueueConfig, type QueueStatus, type ResolvedQueueConfig, resolveQueueConfig } from './config.ts';
import { entityNotFound, ServiceBusFault } from './fault.ts';
import { Queue } from './queue.ts';
import type { MessageStore } from './store.ts';
import type { SubQueue } from './sub-queue.ts';

/** Longest delay a timer takes. */
const TIMER_MS_MAX = 0x7fff_ffff;

/** A queue or its dead-letter queue, as an AMQP address names it. */
export interface Address {
  queue: Queue;
  sub: SubQueue;
}

/**
 * The queues by name, their store, and the one timer that drives everything time does. The timer follows `clock`; `tick`
 * does at once what a moved clock has made due.
 */
export class Broker {
  readonly clock: () => number;
  readonly store: MessageStore;
  /** Told when a queue was deleted or its settings have changed. */
  onChanged: (queue: Queue) => void = () => {};
  private readonly queues = new Map<string, Queue>();
  private timer: NodeJS.Timeout | undefined;
  private timerAt = Number.POSITIVE_INFINITY;
  private rearmPending = false;
  private isClosed = false;

  constructor(options: { queues: readonly QueueConfig[]; store: MessageStore; clock: () => number }) {
    this.clock = options.clock;
    this.store = options.store;
    for (const stored of this.store.load()) {
      const queue = this.add(stored.config, stored);
      for (const message of stored.messages) {
        queue.restore(message);
        queue.nextSequenceNumber = Math.max(queue.nextSequenceNumber, message.sequenceNumber + 1);
      }
    }
    for (const config of options.queues) {
      if (this.find(config.name)) this.updateQueue(config.name, config);
      else this.createQueue(config);
    }
    this.tick();
  }

  list(): Queue[] {
    return [...this.queues.values()].sort((one, other) => (one.name < other.name ? -1 : 1));
  }

  find(name: string): Queue | undefined {
    return this.queues.get(name.toLowerCase());
  }

  /** @throws ServiceBusFault 404 */
  get(name: string): Queue {
    const queue = this.find(name);
    if (!queue) throw entityNotFound(name);
    return queue;
  }

  /** Resolves `queue` and `queue/$deadletterqueue`. @throws ServiceBusFault 404 */
  resolve(path: string): Address {
    const match = /^(.*)\/\$deadletterqueue$/i.exec(path);
    const queue = this.get(match?.[1] ?? path);
    return { queue, sub: match ? queue.deadLetters : queue.main };
  }

  /** @throws ServiceBusFault 409 where it is there already; RangeError for a value out of range. */
  createQueue(config: QueueConfig, status: QueueStatus = 'Active'): Queue {
    if (this.find(config.name)) {
      throw new ServiceBusFault(
        'com.microsoft:entity-already-exists',
        409,
        `SubCode=40900. Conflict. The entity '${config.name}' already exists.`,
      );
    }
    const now = this.clock();
    const queue = this.add(resolveQueueConfig(config), {
      status,
      createdAt: now,
      updatedAt: now,
      nextSequenceNumber: 1,
    });
    this.store.saveQueue(queue);
    return queue;
  }

  /** Messages that are there keep the time to live and the locks they have. @throws ServiceBusFault 404; RangeError */
  updateQueue(name: string, config: QueueConfig, status?: QueueStatus): Queue {
    const queue = this.get(name);
    queue.config = resolveQueueConfig({ ...config, name: queue.name });
    queue.updatedAt = this.clock();
    if (status !== undefined) queue.status = status;
    this.store.saveQueue(queue);
    this.onChanged(queue);
    return queue;
  }

  /** @throws ServiceBusFault 404 */
  deleteQueue(name: string): void {
    const queue = this.get(name);
    this.queues.delete(queue.name.toLowerCase());
    this.store.deleteQueue(queue);
    this.onChanged(queue);
  }

  /** Does what has become due by the clock: schedules, lock losses, expiries. */
  tick(): void {
    const now = this.clock();
    for (const queue of this.queues.values()) queue.tick(now);
    this.rearm();
  }

  /** To be called after anything that may have created an earlier deadline. */
  rearm(): void {
    if (this.rearmPending || this.isClosed) return;
    this.rearmPending = true;
    setImmediate(() => {
      this.rearmPending = false;
      this.arm();
    });
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.timer);
    this.store.close();
  }

  private arm(): void {
    if (this.isClosed) return;
    let next = Number.POSITIVE_INFINITY;
    for (const queue of this.queues.values()) next = Math.min(next, queue.nextDeadline());
    if (next === this.timerAt && this.timer) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.timerAt = next;
    if (next === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.min(Math.max(next - this.clock(), 1), TIMER_MS_MAX);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.tick();
    }, delayMs);
  }

  private add(
    config: ResolvedQueueConfig,
    state: { status: QueueStatus; createdAt: number; updatedAt: number; nextSequenceNumber: number },
  ): Queue {
    const { status, createdAt, updatedAt, nextSequenceNumber } = state;
    const queue = new Queue({ config, status, createdAt, updatedAt, nextSequenceNumber, records: this.store });
    this.queues.set(config.name.toLowerCase(), queue);
    return queue;
  }
}
