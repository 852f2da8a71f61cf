import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import middy from '@middy/core';
import partialFailure from '@middy/sqs-partial-batch-failure';
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { sqsLeasedMessage } from '../../functions-aws/adapters/queue.ts';
import { sqsWorker } from '../../functions-aws/handlers/worker.ts';
import type { SqsWire } from '../../functions-aws/wire.ts';
import type { Core } from '../../shared/core.ts';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import { silentLog } from '../../shared/ports/log.ts';
import type { Queue } from '../../shared/ports/queue.ts';
import { VirtualClock } from './virtual-clock.ts';

const arn = 'arn:aws:sqs:us-east-1:123456789012:holdfast-work';

/** An event of `count` records, of which `failing` per cent are bad. */
export function eventOf(count: number, failing: number): SQSEvent {
  const every = failing === 0 ? 0 : Math.round(100 / failing);
  const Records = Array.from({ length: count }, (_, i): SQSRecord => {
    const isBad = every > 0 && i % every === 0;
    const body = {
      v: 1,
      kind: 'chunk',
      batch: `batch_${String(i).padStart(32, '0')}`,
      firstLine: 50 * i,
      lines: 50,
      isBad,
    };
    return {
      messageId: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
      receiptHandle: 'AQEB',
      body: JSON.stringify(body),
      attributes: {
        ApproximateReceiveCount: '1',
        SentTimestamp: '1767225600000',
        SenderId: 'AIDA',
        ApproximateFirstReceiveTimestamp: '1767225600001',
      },
      messageAttributes: {},
      md5OfBody: '0',
      eventSource: 'aws:sqs',
      eventSourceARN: arn,
      awsRegion: 'us-east-1',
    };
  });
  return { Records };
}

/** The work on one record: none to speak of, so that what is around it shows. */
function work(body: string): void {
  if ((JSON.parse(body) as { isBad: boolean }).isBad) throw new Error('bad');
}

const workOn = async ({ body }: SQSRecord) => work(body);

/** Calls that gave a message back, whoever made them. */
export const calls = { giveBack: 0 };
const queue = {
  name: 'work',
  giveBack: async () => {
    calls.giveBack += 1;
    return true;
  },
} as Partial<Queue> as Queue;

/** As `workOn`, by somebody who wants what failed to come again soon. */
async function workOnOrGiveBack(record: SQSRecord): Promise<void> {
  try {
    work(record.body);
  } catch (error) {
    await queue.giveBack(sqsLeasedMessage(record), 0);
    throw error;
  }
}

export type Handler = (event: SQSEvent) => Promise<SQSBatchResponse>;
type Work = (record: SQSRecord) => Promise<void>;

const plain =
  (workOn: Work): Handler =>
  async ({ Records }) => {
    const ends = await Promise.allSettled(Records.map(workOn));
    return {
      batchItemFailures: ends.flatMap(({ status }, i) =>
        status === 'rejected' ? [{ itemIdentifier: Records[i]!.messageId }] : [],
      ),
    };
  };

const complete: Settlement = { kind: 'complete' };
const giveBack: Settlement = { kind: 'giveBack', delayMs: 0 };

/** As the worker settles (`workOne` in `shared/worker/work.ts`): each delivery on its own, waited for, last. */
async function settle(delivery: Delivery): Promise<void> {
  let settlement = complete;
  try {
    work(delivery.body as string);
  } catch {
    settlement = giveBack;
  }
  const settling = delivery.settle(settlement);
  if (settling !== undefined) await settling;
}

const context = { getRemainingTimeInMillis: () => 240_000 } as Context;
const core = { clock: new VirtualClock(), log: silentLog } as unknown as Core;
const wire: SqsWire = { core, partOf: () => 'work', queueOf: () => queue, leasedMessage: sqsLeasedMessage };
const worker = sqsWorker(
  async () => wire,
  async (_core, deliveries) => {
    await Promise.all(deliveries.map(settle));
  },
);
const ours: Handler = (event) => worker(event, context);

const processor = new BatchProcessor(EventType.SQS);
const powertools =
  (workOn: Work): Handler =>
  (event) =>
    processPartialResponse(event, workOn, processor, { throwOnFullBatchFailure: false });

/** No handler at all: the work, its errors and the calls, which are the same for everybody. */
const bare =
  (givesBack: boolean): Handler =>
  async ({ Records }) => {
    const batchItemFailures: SQSBatchResponse['batchItemFailures'] = [];
    for (const record of Records)
      try {
        work(record.body);
      } catch {
        if (givesBack) void queue.giveBack(sqsLeasedMessage(record), 0);
        batchItemFailures.push({ itemIdentifier: record.messageId });
      }
    return { batchItemFailures };
  };

function withMiddy(workOn: Work): Handler {
  const handler = middy<SQSEvent, unknown>()
    .use(partialFailure({ logger: () => {} }))
    .handler(async ({ Records }) => Promise.allSettled(Records.map(workOn)));
  return (event) => handler(event, context) as Promise<SQSBatchResponse>;
}

const rivalsWith = (workOn: Work, givesBack: boolean): Record<string, Handler> => ({
  bare: bare(givesBack),
  plain: plain(workOn),
  ours,
  powertools: powertools(workOn),
  middy: withMiddy(workOn),
});
/** Each as it comes: only ours gives messages back. */
export const asTheyCome = rivalsWith(workOn, false);
/** Each with a call that gives back what failed. */
export const allGivingBack = rivalsWith(workOnOrGiveBack, true);
