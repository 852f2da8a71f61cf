import { setTimeout as sleep } from 'node:timers/promises';
import {
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  type SQSClient,
} from '@aws-sdk/client-sqs';
import { ConfigError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/ports/log.ts';
import { errorText } from '../log.ts';
import { failedItems } from './batch-response.ts';
import { type EventSourceSpec, queueArn } from './function-spec.ts';
import type { FunctionPool } from './pool.ts';

/** Of one receive call. @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html 2026-08 */
const RECEIVE_MESSAGES_MAX = 10;
/**
 * Lambda waits for up to 20 seconds. Here a host is killed often, and what arrives while its last receive is still open
 * at the queue would be handed to nobody and stay hidden for the whole visibility timeout.
 */
const RECEIVE_WAIT_S_MAX = 2;
/** Of one delete call. */
const DELETE_MESSAGES_MAX = 10;
/** After a call that failed; doubles up to the second number. */
const RETRY_MS = [200, 5_000] as const;
/** A batch's event must fit a synchronous invocation: no more is gathered once it is this large. */
const BATCH_BYTES_MAX = 5 * 1024 * 1024;

/** A queue that calls a function. */
export interface EventSource {
  readonly spec: EventSourceSpec;
  readonly enabled: boolean;
  /** Off: nothing is received after the receive that is under way; what is being worked ends as usual. */
  setEnabled(on: boolean): void;
  /** Off, as when the service behind the mapping stands still: the same, and the switch still says what it said. */
  setPolling(on: boolean): void;
  /** Stops at once. What was received is left to its visibility timeout. */
  close(): Promise<void>;
}

/** What an event source needs besides its specification. */
export interface EventSourceOptions {
  readonly spec: EventSourceSpec;
  readonly queueUrl: string;
  readonly region: string;
  readonly sqs: SQSClient;
  readonly pool: FunctionPool;
  readonly enabled: boolean;
  readonly log: Log;
}

/**
 * Polls a queue and calls the function with batches, as many at once as the function has environments. It receives only
 * when one of them is free and loaded: messages that nobody works yet stay visible, and are not hidden for the whole
 * visibility timeout when the host is killed meanwhile.
 */
export function startEventSource(options: EventSourceOptions): EventSource {
  const { spec, queueUrl, region, sqs, pool, log } = options;
  const arn = queueArn(spec.queueName, region);
  const stop = new AbortController();
  let enabled = options.enabled;
  let polls = true;
  let switched = Promise.withResolvers<void>();
  let inFlight = 0;
  let freed = Promise.withResolvers<void>();

  async function poll(): Promise<void> {
    let waitMs: number = RETRY_MS[0];
    while (!stop.signal.aborted) {
      if (!enabled || !polls) await Promise.race([switched.promise, aborted(stop.signal)]);
      else if (inFlight >= pool.spec.concurrencyMax) await Promise.race([freed.promise, aborted(stop.signal)]);
      else {
        try {
          await Promise.race([pool.warm(), aborted(stop.signal)]);
          if (stop.signal.aborted) break;
          const batch = await gather();
          waitMs = RETRY_MS[0];
          if (batch.length > 0) void work(batch);
        } catch (error) {
          if (stop.signal.aborted) break;
          log.warn('queue.unreachable', { queue: spec.queueName, error: String((error as Error)?.message) });
          await sleep(waitMs, undefined, { signal: stop.signal }).catch(() => {});
          waitMs = Math.min(waitMs * 2, RETRY_MS[1]);
        }
      }
    }
  }

  /** One batch: whatever the first receive brings, and what the window brings until the batch is full. */
  async function gather(): Promise<Message[]> {
    const batch: Message[] = [];
    let ends = Number.POSITIVE_INFINITY;
    for (;;) {
      const room = Math.min(RECEIVE_MESSAGES_MAX, spec.batchSize - batch.length);
      const leftS = Math.ceil((ends - performance.now()) / 1000);
      try {
        batch.push(...(await receive(room, Math.min(RECEIVE_WAIT_S_MAX, leftS))));
      } catch (error) {
        if (batch.length === 0) throw error;
        return batch;
      }
      if (batch.length === 0) return batch;
      if (ends === Number.POSITIVE_INFINITY) ends = performance.now() + spec.windowMs;
      const isFull = batch.length >= spec.batchSize || bytesOf(batch) >= BATCH_BYTES_MAX;
      if (isFull || performance.now() >= ends) return batch;
    }
  }

  async function receive(max: number, waitS: number): Promise<Message[]> {
    const { Messages = [] } = await sqs.send(
      new ReceiveMessageCommand({
        QueueUrl: queueUrl,
        MaxNumberOfMessages: max,
        WaitTimeSeconds: waitS,
        MessageSystemAttributeNames: ['All'],
        MessageAttributeNames: ['All'],
      }),
      { abortSignal: stop.signal },
    );
    return Messages;
  }

  async function work(batch: Message[]): Promise<void> {
    inFlight++;
    try {
      const ids = batch.map((message) => message.MessageId!);
      const event = JSON.stringify({ Records: batch.map((message) => recordOf(message, arn, region)) });
      const invocation = await pool.invoke(event);
      const outcome = invocation === 'tooLarge' ? { failed: true, payload: '' } : invocation;
      const kept = new Set(failedItems(outcome, ids, spec.reportsItemFailures));
      await remove(batch.filter((message) => !kept.has(message.MessageId!)));
    } catch (error) {
      // What is not deleted comes back when its visibility ends.
      log.warn('batch.unsettled', { queue: spec.queueName, error: errorText(error) });
    } finally {
      inFlight--;
      freed.resolve();
      freed = Promise.withResolvers();
    }
  }

  async function remove(messages: readonly Message[]): Promise<void> {
    for (let i = 0; i < messages.length; i += DELETE_MESSAGES_MAX) {
      const Entries = messages
        .slice(i, i + DELETE_MESSAGES_MAX)
        .map((message, at) => ({ Id: String(at), ReceiptHandle: message.ReceiptHandle }));
      const { Failed = [] } = await sqs.send(new DeleteMessageBatchCommand({ QueueUrl: queueUrl, Entries }));
      if (Failed[0])
        log.warn('message.undeleted', { queue: spec.queueName, messages: Failed.length, code: Failed[0].Code });
    }
  }

  function wake(): void {
    switched.resolve();
    switched = Promise.withResolvers();
  }

  const polling = poll();
  return {
    spec,
    get enabled() {
      return enabled;
    },
    setEnabled(on) {
      enabled = on;
      wake();
    },
    setPolling(on) {
      polls = on;
      wake();
    },
    async close() {
      stop.abort();
      await polling;
    },
  };
}

/**
 * Lambda refuses a mapping from a queue that shows a message again before the function has timed out.
 * @throws ConfigError naming the queue and both spans
 * @source https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html 2026-08
 */
export async function checkVisibility(
  sqs: SQSClient,
  queueUrl: string,
  { queueName }: EventSourceSpec,
  pool: FunctionPool,
): Promise<void> {
  const { Attributes } = await sqs.send(
    new GetQueueAttributesCommand({ QueueUrl: queueUrl, AttributeNames: ['VisibilityTimeout'] }),
  );
  const visibilityS = Number(Attributes?.VisibilityTimeout);
  const timeoutS = pool.spec.timeoutMs / 1000;
  if (visibilityS < timeoutS)
    throw new ConfigError(
      queueName,
      `Queue visibility timeout: ${visibilityS} seconds is less than Function timeout: ${timeoutS} seconds (${queueName}, ${pool.spec.name})`,
    );
}

function recordOf(message: Message, arn: string, region: string) {
  return {
    messageId: message.MessageId,
    receiptHandle: message.ReceiptHandle,
    body: message.Body,
    attributes: message.Attributes ?? {},
    messageAttributes: Object.fromEntries(
      Object.entries(message.MessageAttributes ?? {}).map(([name, value]) => [
        name,
        { stringValue: value.StringValue, stringListValues: [], binaryListValues: [], dataType: value.DataType },
      ]),
    ),
    md5OfBody: message.MD5OfBody,
    eventSource: 'aws:sqs',
    eventSourceARN: arn,
    awsRegion: region,
  };
}

function bytesOf(batch: readonly Message[]): number {
  return batch.reduce((sum, message) => sum + Buffer.byteLength(message.Body ?? ''), 0);
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
