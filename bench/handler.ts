/**
 * What a handler adds to the work on SQS records that it settles one by one, against powertools, middy, and the plain
 * `Promise.allSettled` that anybody would write: each parses the body, does the same, and names what failed.
 * Goals: ≥ 1.6 × faster than powertools, ≤ 1.05 × the plain floor.
 */
import { BatchProcessor, EventType, processPartialResponse } from '@aws-lambda-powertools/batch';
import middy from '@middy/core';
import partialFailure from '@middy/sqs-partial-batch-failure';
import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from 'aws-lambda';
import { sqsDeliveries } from '../functions-aws/handlers/deliveries.ts';
import type { Settlement } from '../shared/ports/delivery.ts';
import { silentLog } from '../shared/ports/log.ts';
import type { Queue } from '../shared/ports/queue.ts';
import { median, medianRatio, roundsAsync } from './rounds.ts';
import { table } from './support/table.ts';

const arn = 'arn:aws:sqs:us-east-1:123456789012:holdfast-work';

function eventOf(count: number, failing: number): SQSEvent {
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

async function plain({ Records }: SQSEvent): Promise<SQSBatchResponse> {
  const ends = await Promise.allSettled(Records.map(workOn));
  return {
    batchItemFailures: ends.flatMap(({ status }, i) =>
      status === 'rejected' ? [{ itemIdentifier: Records[i]!.messageId }] : [],
    ),
  };
}

const queue = { name: 'work', giveBack: async () => true } as Partial<Queue> as Queue;
const leased = (record: SQSRecord) => ({
  id: record.messageId,
  body: record.body,
  deliveryCount: Number(record.attributes.ApproximateReceiveCount),
  lease: record.receiptHandle,
});

const complete: Settlement = { kind: 'complete' };
const giveBack: Settlement = { kind: 'giveBack', delayMs: 0 };

/** As the worker settles: each delivery on its own, whatever becomes of the others. */
async function ours({ Records }: SQSEvent): Promise<SQSBatchResponse> {
  const { deliveries, response } = sqsDeliveries(Records, () => queue, leased, silentLog);
  await Promise.all(
    deliveries.map(async (delivery) => {
      try {
        work(delivery.body as string);
      } catch {
        return delivery.settle(giveBack);
      }
      return delivery.settle(complete);
    }),
  );
  return response();
}

const processor = new BatchProcessor(EventType.SQS);
const powertools = (event: SQSEvent) =>
  processPartialResponse(event, workOn, processor, { throwOnFullBatchFailure: false });

const context = {} as Context;
const withMiddy = middy<SQSEvent, unknown>()
  .use(partialFailure({ logger: () => {} }))
  .handler(async ({ Records }) => Promise.allSettled(Records.map(workOn)));
const middyRival = (event: SQSEvent) => withMiddy(event, context) as Promise<SQSBatchResponse>;

const rivals = { plain, ours, powertools, middy: middyRival };
const ids = ({ batchItemFailures }: SQSBatchResponse) =>
  JSON.stringify(batchItemFailures.map(({ itemIdentifier }) => itemIdentifier).sort());

let isMet = true;
const rows: string[][] = [];
for (const count of [10, 100, 1_000, 10_000])
  for (const failing of [0, 5, 100]) {
    const event = eventOf(count, failing);
    const expected = ids(await plain(event));
    for (const [name, run] of Object.entries(rivals))
      if (ids((await run(event)) ?? { batchItemFailures: [] }) !== expected)
        throw new Error(`${name}: not the same failures`);
    // As many events in a round as make it last some milliseconds.
    const repeat = Math.max(1, Math.round(3_000 / count));
    const repeated = Object.fromEntries(
      Object.entries(rivals).map(([name, run]) => [
        name,
        async () => {
          for (let i = 0; i < repeat; i++) await run(event);
        },
      ]),
    );
    const times = await roundsAsync(11, repeated);
    const ratio = (name: string) => medianRatio(times[name]!, times.plain!);
    const toPowertools = medianRatio(times.powertools!, times.ours!);
    isMet &&= ratio('ours') <= 1.05 && toPowertools >= 1.6;
    rows.push([
      `${count}, ${failing} %`,
      ((median(times.plain!) * 1e6) / (count * repeat)).toFixed(0),
      ...['ours', 'powertools', 'middy'].map((name) => ratio(name).toFixed(2)),
      toPowertools.toFixed(2),
    ]);
  }
table(
  ['records, failing', 'plain ns each', 'ours ÷ plain', 'powertools ÷ plain', 'middy ÷ plain', 'powertools ÷ ours'],
  rows,
);
console.log(`goals: ours ÷ plain ≤ 1.05, powertools ÷ ours ≥ 1.6: ${isMet ? 'met' : 'MISSED'}`);
process.exitCode = isMet ? 0 : 1;
