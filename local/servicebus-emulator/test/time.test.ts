import { describe, expect, test } from '@jest/globals';
import { codeOf, createClock, receiveNone, receiveOne, sendOne, setUp } from './helpers.ts';

const MINUTE = 60_000;

async function clocked(queue: Parameters<typeof setUp>[0] = {}) {
  const clock = createClock();
  return { ...(await setUp(queue, { clock: clock.now })), clock };
}

describe('scheduled messages', () => {
  test('a scheduled message appears at its time, under a new sequence number and with that time as enqueued time', async () => {
    const { client, clock, emulator } = await clocked();
    const sender = client.createSender('q');
    const due = new Date(clock.now() + MINUTE);
    const [scheduled] = await sender.scheduleMessages({ body: 'later', messageId: 'm' }, due);
    await sendOne(client, 'now');
    const receiver = client.createReceiver('q');
    expect(emulator.queue('q').counts()).toMatchObject({ scheduled: 1, active: 1 });
    expect((await receiver.peekMessages(2)).map(({ state }) => state)).toEqual(['scheduled', 'active']);
    await receiver.completeMessage(await receiveOne(receiver));
    clock.advance(MINUTE - 1);
    emulator.tick();
    expect(await receiveNone(receiver)).toEqual([]);
    clock.advance(1);
    emulator.tick();
    const message = await receiveOne(receiver);
    expect(message.body).toBe('later');
    expect(message.enqueuedTimeUtc).toEqual(due);
    expect(message.scheduledEnqueueTimeUtc).toEqual(due);
    expect(message.sequenceNumber?.toNumber()).toBeGreaterThan(scheduled?.toNumber() ?? Number.NaN);
  });

  test('scheduledEnqueueTimeUtc on a plain send and inside a batch schedules, in the past it does not', async () => {
    const { client, clock, emulator } = await clocked();
    const at = (ms: number) => ({ scheduledEnqueueTimeUtc: new Date(clock.now() + ms) });
    await sendOne(client, 'alone', at(MINUTE));
    await client.createSender('q').sendMessages([
      { body: 'in a batch', messageId: 'a', ...at(2 * MINUTE) },
      { body: 'unscheduled', messageId: 'b' },
      { body: 'past', messageId: 'c', ...at(-MINUTE) },
    ]);
    expect(emulator.queue('q').counts()).toMatchObject({ scheduled: 2, active: 2 });
    clock.advance(2 * MINUTE);
    emulator.tick();
    const received = await client.createReceiver('q').receiveMessages(4);
    expect(received.map(({ body }) => body)).toEqual(['unscheduled', 'past', 'alone', 'in a batch']);
  });

  test('a cancelled message never appears, and cancelling what is not scheduled fails with MessageNotFound', async () => {
    const { client, clock, emulator } = await clocked();
    const sender = client.createSender('q');
    const messages = [1, 2, 3].map((body) => ({ body, messageId: `m${body}` }));
    const numbers = await sender.scheduleMessages(messages, new Date(clock.now() + MINUTE));
    await sender.cancelScheduledMessages(numbers.slice(0, 2));
    expect(await codeOf(sender.cancelScheduledMessages(numbers))).toBe('MessageNotFound');
    expect(emulator.queue('q').counts().scheduled).toBe(1);
    clock.advance(MINUTE);
    emulator.tick();
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual([3]);
    expect(await codeOf(sender.cancelScheduledMessages(numbers[2] as never))).toBe('MessageNotFound');
  });

  test('messages scheduled for the same moment appear in the order in which they were sent', async () => {
    const { client, clock, emulator } = await clocked();
    const messages = Array.from({ length: 50 }, (_, body) => ({ body, messageId: `m${body}` }));
    await client.createSender('q').scheduleMessages(messages, new Date(clock.now() + MINUTE));
    clock.advance(MINUTE);
    emulator.tick();
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual(messages.map(({ body }) => body));
  });

  test('without anyone calling tick a message appears by the real clock', async () => {
    const { client } = await setUp();
    await client.createSender('q').scheduleMessages({ body: 'soon', messageId: 'm' }, new Date(Date.now() + 100));
    expect((await receiveOne(client.createReceiver('q'))).body).toBe('soon');
  });
});

describe('time to live', () => {
  test('an expired message is dropped where the queue does not dead-letter', async () => {
    const { client, clock, emulator } = await clocked();
    await sendOne(client, 'short', { timeToLive: MINUTE });
    await sendOne(client, 'unlimited');
    clock.advance(MINUTE);
    emulator.tick();
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual(['unlimited']);
    expect(emulator.queue('q').counts().deadLetter).toBe(0);
  });

  test('an expired message is dead-lettered with TTLExpiredException where the queue says so, and stays there', async () => {
    const { client, clock, emulator } = await clocked({ deadLetterOnExpiry: true });
    await sendOne(client, 'short', { timeToLive: MINUTE });
    clock.advance(MINUTE);
    emulator.tick();
    clock.advance(1_000 * MINUTE);
    emulator.tick();
    const dead = client.createReceiver('q', { subQueueType: 'deadLetter' });
    expect(await receiveOne(dead)).toMatchObject({ body: 'short', deadLetterReason: 'TTLExpiredException' });
  });

  test('a time to live of a year, more than the AMQP header can say, is kept', async () => {
    const { client, clock, emulator } = await clocked();
    const year = 365 * 24 * 60 * MINUTE;
    await client
      .createSender('q')
      .sendMessages({ body: 'long', bodyType: 'value', header: { timeToLive: year } } as never);
    expect((await client.createReceiver('q').peekMessages(1))[0]?.timeToLive).toBe(year);
    clock.advance(year - 1);
    emulator.tick();
    expect(emulator.queue('q').counts().active).toBe(1);
    clock.advance(1);
    emulator.tick();
    expect(emulator.queue('q').counts().active).toBe(0);
  });

  test('a receiver does not get an expired message even when nobody ticked', async () => {
    const { client, clock, emulator } = await clocked({ deadLetterOnExpiry: true });
    await sendOne(client, 'short', { timeToLive: MINUTE });
    clock.advance(MINUTE);
    expect(await receiveNone(client.createReceiver('q'))).toEqual([]);
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, deadLetter: 1 });
  });

  test("the queue's time to live is the default and the ceiling", async () => {
    const { client, clock, emulator } = await clocked({ defaultTtlMs: MINUTE });
    await sendOne(client, 'default');
    await sendOne(client, 'longer', { timeToLive: 10 * MINUTE });
    await sendOne(client, 'shorter', { timeToLive: 1_000 });
    const peeked = await client.createReceiver('q').peekMessages(3);
    expect(peeked.map(({ timeToLive }) => timeToLive)).toEqual([MINUTE, MINUTE, 1_000]);
    expect(peeked[0]?.expiresAtUtc?.getTime()).toBe(clock.now() + MINUTE);
    clock.advance(MINUTE);
    emulator.tick();
    expect(emulator.queue('q').counts().active).toBe(0);
  });

  test('a locked message does not expire; when it is given back it does', async () => {
    const { client, clock, emulator } = await clocked({ lockDurationMs: 5 * MINUTE, deadLetterOnExpiry: true });
    const receiver = client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 });
    await sendOne(client, 'completed', { timeToLive: MINUTE });
    await sendOne(client, 'abandoned', { timeToLive: MINUTE });
    const [completed, abandoned] = await receiver.receiveMessages(2);
    clock.advance(2 * MINUTE);
    emulator.tick();
    expect(emulator.queue('q').counts()).toMatchObject({ locked: 2 });
    await receiver.completeMessage(completed as never);
    await receiver.abandonMessage(abandoned as never);
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, deadLetter: 1 });
  });

  test('a deferred message expires only when somebody asks for it', async () => {
    const { client, clock, emulator } = await clocked({ deadLetterOnExpiry: true });
    await sendOne(client, 'parked', { timeToLive: MINUTE });
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    await receiver.deferMessage(message);
    clock.advance(2 * MINUTE);
    emulator.tick();
    expect(emulator.queue('q').counts()).toMatchObject({ deferred: 1, deadLetter: 0 });
    expect(await codeOf(receiver.receiveDeferredMessages(message.sequenceNumber as never))).toBe('MessageNotFound');
    expect(emulator.queue('q').counts()).toMatchObject({ deferred: 0, deadLetter: 1 });
  });

  test('the time to live of a scheduled message starts when it appears', async () => {
    const { client, clock, emulator } = await clocked();
    const scheduledEnqueueTimeUtc = new Date(clock.now() + 10 * MINUTE);
    await sendOne(client, 'later', { timeToLive: MINUTE, scheduledEnqueueTimeUtc });
    clock.advance(10 * MINUTE);
    emulator.tick();
    expect(emulator.queue('q').counts()).toMatchObject({ available: 1 });
    clock.advance(MINUTE);
    emulator.tick();
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0 });
  });
});
