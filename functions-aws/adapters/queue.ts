import {
  ChangeMessageVisibilityCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SendMessageBatchRequestEntry,
  SendMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import { InvariantError, TransientError } from '../../shared/errors.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { LeasedMessage, OutgoingMessage, Queue, QueueDepth, ReceiveOptions } from '../../shared/ports/queue.ts';
import type { DurationMs, EpochMs } from '../../shared/units.ts';
import { awsCodeOf, awsError } from './errors.ts';
import { attempt, defaultTimeouts, retryBriefly, type Timeouts } from './http.ts';

/**
 * A batch carries at most this many messages and this many bytes, attributes included (256 KiB before August 2025).
 * @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html (2026-11)
 */
const BATCH_MESSAGES_MAX = 10;
const BATCH_BYTES_MAX = 1_048_576;

/** @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html (2026-11) */
const RECEIVE_MESSAGES_MAX = 10;

/** Batches under way at once while sending many. */
const BATCHES_UNDER_WAY_MAX = 8;

const DESCRIPTION_CHARS_MAX = 1_000;

/** Answers to a lease that is over. */
const LEASE_LOST = new Set([
  'MessageNotInflight',
  'AWS.SimpleQueueService.MessageNotInflight',
  'ReceiptHandleIsInvalid',
  'InvalidParameterValue',
]);

export interface SqsQueueOptions {
  client: SQSClient;
  /** As in logs and errors: `aws/work`. */
  name: string;
  url: string;
  deadLetterUrl: string;
  /** How long a message is leased by `receive`, in whole seconds up to 12 h. Default 60,000. */
  leaseMs?: DurationMs;
  timeouts?: Timeouts;
}

/** What settles a message. SQS does not tell whether a lease was lost, so its end is remembered here. */
interface Lease {
  receiptHandle: string;
  until: EpochMs;
  settled: boolean;
}

/** A message that Lambda received for us: leased by the visibility time-out of its queue. */
export function sqsLeasedMessage(record: {
  messageId: string;
  body: string;
  receiptHandle: string;
  attributes: { ApproximateReceiveCount: string };
}): LeasedMessage {
  const lease: Lease = { receiptHandle: record.receiptHandle, until: Number.POSITIVE_INFINITY, settled: false };
  return {
    id: record.messageId,
    body: record.body,
    deliveryCount: Number(record.attributes.ApproximateReceiveCount),
    lease,
  };
}

/** One standard queue of SQS, and the queue of our own that takes its dead letters. */
export function sqsQueue(options: SqsQueueOptions): Queue {
  return new SqsQueue(options);
}

class SqsQueue implements Queue {
  readonly name: string;
  readonly #client: SQSClient;
  readonly #url: string;
  readonly #deadLetterUrl: string;
  readonly #leaseMs: DurationMs;
  readonly #timeouts: Timeouts;

  constructor(options: SqsQueueOptions) {
    this.name = options.name;
    this.#client = options.client;
    this.#url = options.url;
    this.#deadLetterUrl = options.deadLetterUrl;
    this.#leaseMs = options.leaseMs ?? 60_000;
    this.#timeouts = options.timeouts ?? defaultTimeouts;
  }

  async send(messages: readonly OutgoingMessage[], options: CallOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const batches = inBatches(messages);
    const sendNext = async (): Promise<void> => {
      for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
        const refused = await this.#sendBatch(batch, options);
        if (refused.length > 0) await this.#sendBatch(refused, options).then(rejectRefused(this.name));
      }
    };
    await Promise.all(Array.from({ length: BATCHES_UNDER_WAY_MAX }, sendNext));
  }

  async receive(options: ReceiveOptions = {}): Promise<LeasedMessage[]> {
    const { max = 10, waitMs = 0 } = options;
    const received = await this.#receiveOnce(Math.min(max, RECEIVE_MESSAGES_MAX), waitMs, options);
    // A full answer says that there may be more; only then it is worth asking.
    if (received.length < RECEIVE_MESSAGES_MAX || max <= RECEIVE_MESSAGES_MAX) return received;
    const asks: Promise<LeasedMessage[]>[] = [];
    for (let left = max - received.length; left > 0; left -= RECEIVE_MESSAGES_MAX) {
      asks.push(this.#receiveOnce(Math.min(left, RECEIVE_MESSAGES_MAX), 0, options));
    }
    // What is leased already must not be lost because another ask failed.
    for (const more of await Promise.allSettled(asks)) {
      if (more.status === 'fulfilled') received.push(...more.value);
    }
    return received;
  }

  async complete(message: LeasedMessage, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    const lease = message.lease as Lease;
    if (lease.settled) return false;
    const held = isHeld(lease);
    // The work is done: also when the lease is over, nobody need do it again.
    const deleted = await this.#settle(lease, options, (abortSignal) => this.#delete(lease, abortSignal));
    return held && deleted;
  }

  async giveBack(message: LeasedMessage, delayMs: DurationMs = 0, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    const lease = message.lease as Lease;
    if (!isHeld(lease)) return false;
    return await this.#settle(lease, options, (abortSignal) => this.#show(lease, delayMs, abortSignal));
  }

  async deadLetter(
    message: LeasedMessage,
    reason: string,
    description: string,
    options: CallOptions = {},
  ): Promise<boolean> {
    options.signal?.throwIfAborted();
    const lease = message.lease as Lease;
    if (!isHeld(lease)) return false;
    await this.#call(options, 0, async (abortSignal) => {
      const attributes = { reason, description, sourceMessageId: message.id };
      const send = new SendMessageCommand({
        QueueUrl: this.#deadLetterUrl,
        MessageBody: message.body,
        MessageAttributes: Object.fromEntries(
          Object.entries(attributes).map(([name, value]) => [
            name,
            { DataType: 'String', StringValue: attributeText(value) },
          ]),
        ),
      });
      await this.#client.send(send, { abortSignal });
    });
    return await this.#settle(lease, options, (abortSignal) => this.#delete(lease, abortSignal));
  }

  async extend(message: LeasedMessage, leaseMs: DurationMs, options: CallOptions = {}): Promise<boolean> {
    options.signal?.throwIfAborted();
    const lease = message.lease as Lease;
    if (!isHeld(lease)) return false;
    const extended = await this.#orLost(() =>
      this.#call(options, 0, (abortSignal) => this.#show(lease, leaseMs, abortSignal)),
    );
    if (extended) lease.until = Date.now() + seconds(leaseMs) * 1000;
    return extended;
  }

  async depth(options: CallOptions = {}): Promise<QueueDepth> {
    const [own, deadLetters] = await Promise.all([
      this.#counts(this.#url, options),
      this.#counts(this.#deadLetterUrl, options),
    ]);
    return { ...own, deadLettered: deadLetters.visible + deadLetters.inFlight + deadLetters.delayed };
  }

  /** Nothing to close: the client is the site's. */
  async close(): Promise<void> {}

  /** Sends one batch; gives the entries that were not taken, each with why. */
  async #sendBatch(entries: SendMessageBatchRequestEntry[], options: CallOptions): Promise<Refused[]> {
    // Sending again after a lost reply is harmless: a pointer may always come twice.
    const { Failed = [] } = await this.#call(options, 0, (abortSignal) => {
      // Only what the service knows: `refusal` is ours.
      const Entries = entries.map(({ Id, MessageBody, DelaySeconds }) => ({ Id, MessageBody, DelaySeconds }));
      return this.#client.send(new SendMessageBatchCommand({ QueueUrl: this.#url, Entries }), { abortSignal });
    });
    return Failed.flatMap(({ Id, Code = '', SenderFault = false }) => {
      const entry = entries.find((each) => each.Id === Id);
      return entry === undefined ? [] : [{ ...entry, refusal: { code: Code, ours: SenderFault } }];
    });
  }

  async #receiveOnce(max: number, waitMs: DurationMs, options: CallOptions): Promise<LeasedMessage[]> {
    const { Messages = [] } = await this.#call(options, waitMs, (abortSignal) => {
      const receive = new ReceiveMessageCommand({
        QueueUrl: this.#url,
        MaxNumberOfMessages: max,
        WaitTimeSeconds: Math.floor(waitMs / 1000),
        VisibilityTimeout: seconds(this.#leaseMs),
        MessageSystemAttributeNames: ['ApproximateReceiveCount'],
      });
      return this.#client.send(receive, { abortSignal });
    });
    const until = Date.now() + seconds(this.#leaseMs) * 1000;
    return Messages.map(({ MessageId = '', Body = '', ReceiptHandle = '', Attributes = {} }) => {
      const lease: Lease = { receiptHandle: ReceiptHandle, until, settled: false };
      return { id: MessageId, body: Body, deliveryCount: Number(Attributes.ApproximateReceiveCount ?? 1), lease };
    });
  }

  async #settle(lease: Lease, options: CallOptions, call: (signal: AbortSignal) => Promise<unknown>): Promise<boolean> {
    const done = await this.#orLost(() => this.#call(options, 0, call));
    lease.settled = true;
    return done;
  }

  /** False where the service says that the lease is over. */
  async #orLost(call: () => Promise<unknown>): Promise<boolean> {
    try {
      await call();
      return true;
    } catch (error) {
      if (LEASE_LOST.has(awsCodeOf((error as Error).cause))) return false;
      throw error;
    }
  }

  async #delete({ receiptHandle }: Lease, abortSignal: AbortSignal): Promise<void> {
    await this.#client.send(new DeleteMessageCommand({ QueueUrl: this.#url, ReceiptHandle: receiptHandle }), {
      abortSignal,
    });
  }

  async #show({ receiptHandle }: Lease, inMs: DurationMs, abortSignal: AbortSignal): Promise<void> {
    const change = new ChangeMessageVisibilityCommand({
      QueueUrl: this.#url,
      ReceiptHandle: receiptHandle,
      VisibilityTimeout: seconds(inMs),
    });
    await this.#client.send(change, { abortSignal });
  }

  async #counts(url: string, options: CallOptions): Promise<Omit<QueueDepth, 'deadLettered'>> {
    const { Attributes = {} } = await this.#call(options, 0, (abortSignal) => {
      const get = new GetQueueAttributesCommand({
        QueueUrl: url,
        AttributeNames: [
          'ApproximateNumberOfMessages',
          'ApproximateNumberOfMessagesNotVisible',
          'ApproximateNumberOfMessagesDelayed',
        ],
      });
      return this.#client.send(get, { abortSignal });
    });
    return {
      visible: Number(Attributes.ApproximateNumberOfMessages ?? 0),
      inFlight: Number(Attributes.ApproximateNumberOfMessagesNotVisible ?? 0),
      delayed: Number(Attributes.ApproximateNumberOfMessagesDelayed ?? 0),
    };
  }

  /** Every call of SQS can be made again without harm. */
  async #call<T>(options: CallOptions, waitMs: DurationMs, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const translate = (error: unknown) => awsError(error, this.name, 'repeatable');
    return await retryBriefly(options, () => attempt(this.#timeouts, options, { waitMs, translate }, call));
  }
}

interface Refused extends SendMessageBatchRequestEntry {
  refusal: { code: string; ours: boolean };
}

function rejectRefused(name: string): (refused: Refused[]) => void {
  return ([first]) => {
    if (first === undefined) return;
    const { code, ours } = first.refusal;
    if (ours) throw new InvariantError('message_rejected', `${name}: ${code}`);
    throw new TransientError('send_incomplete', `${name}: a message was not taken: ${code}`);
  };
}

function inBatches(messages: readonly OutgoingMessage[]): SendMessageBatchRequestEntry[][] {
  const batches: SendMessageBatchRequestEntry[][] = [];
  let batch: SendMessageBatchRequestEntry[] = [];
  let bytes = 0;
  for (const { body, delayMs = 0 } of messages) {
    const size = Buffer.byteLength(body);
    if (batch.length === BATCH_MESSAGES_MAX || bytes + size > BATCH_BYTES_MAX) {
      batches.push(batch);
      batch = [];
      bytes = 0;
    }
    batch.push({ Id: String(batch.length), MessageBody: body, DelaySeconds: seconds(delayMs) });
    bytes += size;
  }
  if (batch.length > 0) batches.push(batch);
  return batches;
}

function isHeld(lease: Lease): boolean {
  return !lease.settled && Date.now() < lease.until;
}

/** Up to the next whole second: never sooner than asked. */
function seconds(ms: DurationMs): number {
  return Math.ceil(ms / 1000);
}

/** Text as SQS takes it: bounded, not empty, without control characters. */
function attributeText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that SQS refuses
  const clean = text.toWellFormed().replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd');
  return clean.slice(0, DESCRIPTION_CHARS_MAX).toWellFormed() || '-';
}
