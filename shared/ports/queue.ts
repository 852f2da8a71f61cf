import type { DurationMs } from '../units.ts';
import type { CallOptions } from './object-store.ts';

/** The two queues of a site. */
export type QueuePart = 'intake' | 'work';

/**
 * A queue of pointers: at least once, in no particular order. A hint, never the truth.
 * Every implementation passes `test/conformance/queue.ts`. Rejects as `ObjectStore` does.
 */
export interface Queue {
  /** For logs and errors: `aws/work`, `azure/intake`. */
  readonly name: string;

  /**
   * Sends all, in as few calls as the service allows. Rejects if any was not taken; some may have been by then
   * (harmless: a pointer may always come twice).
   */
  send(messages: readonly OutgoingMessage[], options?: CallOptions): Promise<void>;

  /** Up to `max` (1 … 100, default 10) messages; waits at most `waitMs` (0 … 20,000, default 0) for the first. */
  receive(options?: ReceiveOptions): Promise<LeasedMessage[]>;

  /** Ends the lease: done. Returns false if the lease was lost before (the message may come again; that is harmless). */
  complete(message: LeasedMessage, options?: CallOptions): Promise<boolean>;

  /** Ends the lease: to be delivered again, after `delayMs` (0 … 12 h, default 0). False if the lease was lost. */
  giveBack(message: LeasedMessage, delayMs?: DurationMs, options?: CallOptions): Promise<boolean>;

  /** Ends the lease: to the dead-letter queue, with the reason. For what nobody can read. False if the lease was lost. */
  deadLetter(message: LeasedMessage, reason: string, description: string, options?: CallOptions): Promise<boolean>;

  /** Extends the lease to `leaseMs` from now (SQS: any; Service Bus: renews by the queue's own lock time). */
  extend(message: LeasedMessage, leaseMs: DurationMs, options?: CallOptions): Promise<boolean>;

  /** Approximate counts. `backlog` = visible + inFlight + delayed. */
  depth(options?: CallOptions): Promise<QueueDepth>;

  /** Closes links and sockets. The queue itself stays. */
  close(): Promise<void>;
}

export interface OutgoingMessage {
  /**
   * Text, at most 250 KiB in UTF-8: Service Bus Standard takes 256 KiB with everything around it.
   * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas (2026-11)
   */
  body: string;
  /** Unique to this sending, and kept when it is repeated: a broker may drop what has an id that it took lately. */
  id: string;
  /** Not visible before this long, 0 … 15 min (default 0). */
  delayMs?: DurationMs;
}

export interface ReceiveOptions extends CallOptions {
  max?: number;
  waitMs?: DurationMs;
}

export interface LeasedMessage {
  id: string;
  body: string;
  /** Times handed out, this one included: 1 the first time. */
  deliveryCount: number;
  /** The adapter's own handle for settling; opaque. */
  lease: unknown;
}

export interface QueueDepth {
  visible: number;
  inFlight: number;
  delayed: number;
  deadLettered: number;
}
