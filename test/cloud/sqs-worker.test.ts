import { describe, expect, test } from '@jest/globals';
import type { SQSRecord } from 'aws-lambda';
import { sqsDeliveries } from '../../functions-aws/handlers/deliveries.ts';
import { ManualClock } from '../../local/in-memory/clock.ts';
import { InMemoryQueue } from '../../local/in-memory/queue.ts';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import { silentLog } from '../../shared/ports/log.ts';
import type { LeasedMessage } from '../../shared/ports/queue.ts';

/** Queue times as deployed: Lambda demands the function's time-out, the worker cuts it to the lease. */
const visibilityMs = 240_000;
const leaseMs = 60_000;

/** A record as Lambda gives it. */
function recordOf(message: LeasedMessage): SQSRecord {
  return {
    messageId: message.id,
    receiptHandle: `AQEB${message.id}`,
    body: message.body,
    attributes: {
      ApproximateReceiveCount: String(message.deliveryCount),
      SentTimestamp: '1767225600000',
      SenderId: 'AIDAIENQZJOLO23YVJ4VO',
      ApproximateFirstReceiveTimestamp: '1767225600001',
    },
    messageAttributes: {},
    md5OfBody: 'e4e68fb7bd0e697a0ae8f1bb342846b3',
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:us-east-1:123456789012:holdfast-work',
    awsRegion: 'us-east-1',
  };
}

async function setUp(count: number) {
  const clock = new ManualClock();
  const queue = new InMemoryQueue({ name: 'aws/work', clock, leaseMs: visibilityMs });
  await queue.send(Array.from({ length: count }, (_, i) => ({ id: `m${i}`, body: `body ${i}` })));
  const messages = await queue.receive({ max: count });
  const byId = new Map(messages.map((message) => [message.id, message]));
  const { deliveries, response } = sqsDeliveries(
    messages.map(recordOf),
    () => queue,
    ({ messageId }) => byId.get(messageId)!,
    silentLog,
  );
  /** What Lambda does when the handler has answered: delete every message that the answer does not name. */
  const answer = async () => {
    const failures = response().batchItemFailures.map(({ itemIdentifier }) => itemIdentifier);
    for (const message of messages) if (!failures.includes(message.id)) await queue.complete(message);
    return failures;
  };
  return { clock, queue, deliveries, answer };
}

const complete: Settlement = { kind: 'complete' };
const settleAll = (deliveries: Delivery[], settlement: Settlement) =>
  Promise.all(deliveries.map((delivery) => delivery.settle(settlement)));

describe('the messages of one Lambda invocation', () => {
  test('carry body and delivery count', async () => {
    const { deliveries } = await setUp(2);
    expect(deliveries.map(({ body, deliveryCount }) => ({ body, deliveryCount }))).toEqual([
      { body: 'body 0', deliveryCount: 1 },
      { body: 'body 1', deliveryCount: 1 },
    ]);
  });

  test('F10: of ten messages one is given back, exactly that one comes again', async () => {
    const { clock, queue, deliveries, answer } = await setUp(10);
    await settleAll(deliveries.toSpliced(3, 1), complete);
    await deliveries[3]!.settle({ kind: 'giveBack', delayMs: 5_000 });
    expect(await answer()).toEqual(['m3']);
    expect(await queue.receive()).toEqual([]);
    await clock.advance(5_000);
    expect(await queue.receive()).toEqual([expect.objectContaining({ id: 'm3', deliveryCount: 2 })]);
    await clock.advance(visibilityMs - 1);
    expect(await queue.depth()).toMatchObject({ visible: 0, inFlight: 1, delayed: 0 });
  });

  test('a message that nobody settled comes again; the others do not', async () => {
    const { queue, deliveries, answer } = await setUp(3);
    await settleAll(deliveries.slice(0, 2), complete);
    expect(await answer()).toEqual(['m2']);
    expect(await queue.depth()).toMatchObject({ visible: 0, inFlight: 1 });
  });

  test('extending sets the visibility to the lease: a crash brings it back after that, not after the longest run', async () => {
    const { clock, queue, deliveries } = await setUp(1);
    expect(await deliveries[0]!.extend(leaseMs)).toBe(true);
    await clock.advance(leaseMs);
    expect(await queue.receive()).toHaveLength(1);
  });

  test('a lease that is lost is told, and giving it back harms nobody', async () => {
    const { clock, queue, deliveries, answer } = await setUp(1);
    await clock.advance(visibilityMs);
    const [second] = await queue.receive();
    expect(await deliveries[0]!.extend(leaseMs)).toBe(false);
    await deliveries[0]!.settle({ kind: 'giveBack', delayMs: 0 });
    await answer();
    expect(await queue.complete(second!)).toBe(true);
  });

  test('what nobody can read goes to the dead letters with its reason, and Lambda may forget it', async () => {
    const { queue, deliveries, answer } = await setUp(2);
    await deliveries[0]!.settle({ kind: 'deadLetter', reason: 'unreadable', description: 'not JSON' });
    await deliveries[1]!.settle(complete);
    expect(await answer()).toEqual([]);
    expect(queue.deadLetters).toEqual([{ id: 'm0', body: 'body 0', reason: 'unreadable', description: 'not JSON' }]);
  });

  test('a dead letter that could not be written keeps the message', async () => {
    const { queue, deliveries, answer } = await setUp(1);
    queue.deadLetter = () => Promise.reject(new Error('dark'));
    await deliveries[0]!.settle({ kind: 'deadLetter', reason: 'unreadable', description: '' });
    expect(await answer()).toEqual(['m0']);
  });

  test('a queue that does not answer rejects nothing: the message comes back when its visibility ends', async () => {
    const { queue, deliveries, answer } = await setUp(1);
    queue.extend = () => Promise.reject(new Error('dark'));
    queue.giveBack = () => Promise.reject(new Error('dark'));
    expect(await deliveries[0]!.extend(leaseMs)).toBe(false);
    await deliveries[0]!.settle({ kind: 'giveBack', delayMs: 0 });
    expect(await answer()).toEqual(['m0']);
  });

  test('a queue that throws before it gives a promise rejects nothing either', async () => {
    const { queue, deliveries, answer } = await setUp(2);
    const throws = () => {
      throw new Error('dark');
    };
    queue.extend = throws;
    queue.giveBack = throws;
    queue.deadLetter = throws;
    expect(await deliveries[0]!.extend(leaseMs)).toBe(false);
    await deliveries[0]!.settle({ kind: 'giveBack', delayMs: 0 });
    await deliveries[1]!.settle({ kind: 'deadLetter', reason: 'unreadable', description: '' });
    expect(await answer()).toEqual(['m0', 'm1']);
  });

  test('the first settlement counts, and a settled message is not extended', async () => {
    const { queue, deliveries, answer } = await setUp(1);
    await deliveries[0]!.settle(complete);
    await deliveries[0]!.settle({ kind: 'giveBack', delayMs: 0 });
    expect(await deliveries[0]!.extend(leaseMs)).toBe(false);
    expect(queue.calls).toMatchObject({ giveBack: 0, extend: 0 });
    expect(await answer()).toEqual([]);
  });
});
