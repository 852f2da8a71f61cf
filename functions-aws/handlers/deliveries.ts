import type { SQSBatchResponse, SQSRecord } from 'aws-lambda';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import type { Log } from '../../shared/ports/log.ts';
import type { LeasedMessage, Queue } from '../../shared/ports/queue.ts';
import type { DurationMs } from '../../shared/units.ts';

/** The messages of one invocation, and what Lambda must be told when they are settled. */
export interface SqsDeliveries {
  deliveries: Delivery[];
  /** Names every message that Lambda must not delete: those given back, and those nobody settled. */
  response(): SQSBatchResponse;
}

/**
 * Messages as the core settles them, one by one (F10). The lease is the message's visibility, which the trigger's queue
 * sets to the longest run: the worker cuts it on entry and renews it. Giving back changes the visibility and never sends
 * to the queue that triggered us, since Lambda stops such loops.
 */
export function sqsDeliveries(
  records: readonly SQSRecord[],
  queueOf: (record: SQSRecord) => Queue,
  leasedMessage: (record: SQSRecord) => LeasedMessage,
  log: Log,
): SqsDeliveries {
  const failures = new Map<Queue, Failed>();
  const failedAt = (queue: Queue): Failed => {
    const known = failures.get(queue);
    if (known !== undefined) return known;
    const failed = (error: unknown) => {
      log.warn('lease.failed', { queue: queue.name, error: String((error as Error)?.message).slice(0, 200) });
      return false;
    };
    failures.set(queue, failed);
    return failed;
  };
  const shell: Shell = { queueOf, leasedMessage, failedAt };
  const deliveries = records.map((record) => new SqsDelivery(record, shell));
  return {
    deliveries,
    response: () => {
      const batchItemFailures: SQSBatchResponse['batchItemFailures'] = [];
      for (const { isKept, messageId } of deliveries) if (isKept) batchItemFailures.push({ itemIdentifier: messageId });
      return { batchItemFailures };
    },
  };
}

interface Shell {
  queueOf(record: SQSRecord): Queue;
  leasedMessage(record: SQSRecord): LeasedMessage;
  /** What listens to the failures of a queue. */
  failedAt(queue: Queue): Failed;
}

/** Logs an error, and says false. */
type Failed = (error: unknown) => boolean;

/** Asks nothing of queue and lease before it needs them: most messages are completed by not being named. */
class SqsDelivery implements Delivery {
  /** Lambda must not delete it. */
  isKept = true;
  readonly #record: SQSRecord;
  readonly #shell: Shell;
  #isSettled = false;

  constructor(record: SQSRecord, shell: Shell) {
    this.#record = record;
    this.#shell = shell;
  }

  get messageId(): string {
    return this.#record.messageId;
  }

  get body(): string {
    return this.#record.body;
  }

  get deliveryCount(): number {
    return this.#shell.leasedMessage(this.#record).deliveryCount;
  }

  extend(leaseMs: DurationMs): Promise<boolean> {
    return this.#isSettled ? Promise.resolve(false) : this.#show('extend', leaseMs);
  }

  settle(settlement: Settlement): Promise<unknown> | undefined {
    if (this.#isSettled) return undefined;
    this.#isSettled = true;
    // Where giving back fails, the message comes back when its lease ends.
    if (settlement.kind === 'giveBack') return this.#show('giveBack', settlement.delayMs);
    if (settlement.kind === 'deadLetter') return this.#deadLetter(settlement.reason, settlement.description);
    this.isKept = false;
    return undefined;
  }

  /**
   * Changes when the message is seen again; false, and a log line, where that fails. Not an async function, nor called
   * from one, and one listener for all: of ten thousand messages that all fail, every one is under way at once, and what
   * each of them holds is copied by the garbage collector.
   */
  #show(how: 'extend' | 'giveBack', ms: DurationMs): Promise<boolean> {
    const { queueOf, leasedMessage, failedAt } = this.#shell;
    const queue = queueOf(this.#record);
    try {
      return queue[how](leasedMessage(this.#record), ms).then(undefined, failedAt(queue));
    } catch (error) {
      return Promise.resolve(failedAt(queue)(error));
    }
  }

  async #deadLetter(reason: string, description: string): Promise<void> {
    const { queueOf, leasedMessage, failedAt } = this.#shell;
    const queue = queueOf(this.#record);
    try {
      this.isKept = !(await queue.deadLetter(leasedMessage(this.#record), reason, description));
    } catch (error) {
      failedAt(queue)(error);
    }
  }
}
