import type { Context, SQSBatchResponse, SQSEvent } from 'aws-lambda';
import { work } from '../../shared/worker/index.ts';
import { type SqsWire, wireSqs } from '../wire.ts';
import { sqsDeliveries } from './deliveries.ts';

/** Kept back from the time Lambda gives: to write what is done and settle every message. At most a quarter of it. */
const reserveMsMax = 10_000;

/**
 * A worker for both queues: event-source mappings with `ReportBatchItemFailures` call it. Which queue a message came
 * from matters only for its lease and its dead letters: the pointer itself says what is to be done.
 */
export function sqsWorker(wire: () => Promise<SqsWire>, run: typeof work) {
  return async (event: SQSEvent, context: Pick<Context, 'getRemainingTimeInMillis'>): Promise<SQSBatchResponse> => {
    const leftMs = context.getRemainingTimeInMillis();
    const { core, partOf, queueOf, leasedMessage } = await wire();
    const records = event.Records ?? [];
    const deadline = core.clock.now() + leftMs - Math.min(reserveMsMax, leftMs / 4);
    const { deliveries, response } = sqsDeliveries(records, queueOf, leasedMessage, core.log);
    // All are from one queue: an event-source mapping has one.
    await run(core, deliveries, { deadline, ...(records[0] !== undefined && { queue: partOf(records[0]) }) });
    return response();
  };
}

export const handler = sqsWorker(wireSqs, work);
