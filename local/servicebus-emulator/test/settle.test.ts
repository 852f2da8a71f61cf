import { describe, expect, test } from '@jest/globals';
import { codeOf, connect, createClock, receiveNone, receiveOne, sendOne, setUp } from './helpers.ts';

const DEAD_LETTERS = { subQueueType: 'deadLetter' } as const;

describe('settling', () => {
  test('an abandoned message comes back at once, first in order, with its count and the properties it was given', async () => {
    const { client } = await setUp();
    await sendOne(client, 'first', { applicationProperties: { kept: 1, changed: 'old' } });
    await sendOne(client, 'second');
    const receiver = client.createReceiver('q');
    await receiver.abandonMessage(await receiveOne(receiver), { changed: 'new', added: true });
    const again = await receiveOne(receiver);
    expect(again).toMatchObject({ body: 'first', deliveryCount: 1 });
    expect(again.applicationProperties).toEqual({ kept: 1, changed: 'new', added: true });
  });

  test('a dead-lettered message is in the dead-letter queue with reason, description and properties, and can be completed', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client, { job: 1 }, { applicationProperties: { kept: 1 } });
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    await receiver.deadLetterMessage(message, {
      deadLetterReason: 'unreadable',
      deadLetterErrorDescription: 'no such model',
      added: 'yes',
    });
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, deadLetter: 1 });
    const dead = client.createReceiver('q', DEAD_LETTERS);
    expect((await dead.peekMessages(1))[0]?.body).toEqual({ job: 1 });
    const received = await receiveOne(dead);
    expect(received).toMatchObject({ deadLetterReason: 'unreadable', deadLetterErrorDescription: 'no such model' });
    expect(received.applicationProperties).toMatchObject({ kept: 1, added: 'yes' });
    expect(received.sequenceNumber).toEqual(message.sequenceNumber);
    expect(received.enqueuedTimeUtc).toEqual(message.enqueuedTimeUtc);
    await dead.completeMessage(received);
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, deadLetter: 0, sizeInBytes: 0 });
  });

  test('a message cannot be dead-lettered twice', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = client.createReceiver('q');
    await receiver.deadLetterMessage(await receiveOne(receiver));
    const dead = client.createReceiver('q', DEAD_LETTERS);
    expect(await codeOf(dead.deadLetterMessage(await receiveOne(dead)))).toBe('GeneralError');
    expect(emulator.queue('q').counts().deadLetter).toBe(1);
  });

  test('completing, abandoning and dead-lettering neighbours, each in a turn of its own, are three outcomes', async () => {
    const { client, emulator } = await setUp();
    for (const body of ['completed', 'abandoned', 'dead']) await sendOne(client, body);
    const receiver = client.createReceiver('q');
    const [first, second, third] = (await receiver.receiveMessages(3)) as [never, never, never];
    // In one and the same turn rhea 3.0.5, inside the SDK, would send the second one's outcome as the first one's.
    const completing = receiver.completeMessage(first);
    await new Promise((resolve) => setImmediate(resolve));
    const abandoning = receiver.abandonMessage(second);
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([completing, abandoning, receiver.deadLetterMessage(third)]);
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual(['abandoned']);
    expect(
      emulator
        .queue('q')
        .peekDeadLetters()
        .map(({ body }) => body),
    ).toEqual(['dead']);
  });

  test('after the last allowed delivery a message is dead-lettered with MaxDeliveryCountExceeded', async () => {
    const { client, emulator } = await setUp({ maxDeliveryCount: 3 });
    await sendOne(client);
    const receiver = client.createReceiver('q');
    for (const expected of [0, 1, 2]) {
      const message = await receiveOne(receiver);
      expect(message.deliveryCount).toBe(expected);
      await receiver.abandonMessage(message);
    }
    expect(await receiveNone(receiver)).toEqual([]);
    expect(await receiveOne(client.createReceiver('q', DEAD_LETTERS))).toMatchObject({
      deadLetterReason: 'MaxDeliveryCountExceeded',
      deliveryCount: 3,
    });
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, deadLetter: 1 });
  });

  test('a message may be delivered 2,000 times where the queue says so', async () => {
    const { client, emulator } = await setUp({ maxDeliveryCount: 2_000 });
    await sendOne(client);
    const receiver = client.createReceiver('q');
    for (let delivery = 0; delivery < 50; delivery += 1) await receiver.abandonMessage(await receiveOne(receiver));
    expect(emulator.queue('q').counts()).toMatchObject({ active: 1, deadLetter: 0 });
  });

  test('a deferred message is handed out by sequence number only, and settled through $management', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client, 'later');
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    const sequenceNumber = message.sequenceNumber as NonNullable<typeof message.sequenceNumber>;
    await receiver.deferMessage(message, { note: 'parked' });
    expect(await receiveNone(receiver)).toEqual([]);
    expect((await receiver.peekMessages(1))[0]?.state).toBe('deferred');
    const [deferred] = await receiver.receiveDeferredMessages(sequenceNumber);
    expect(deferred).toMatchObject({ body: 'later', state: 'deferred', applicationProperties: { note: 'parked' } });
    // While it is locked nobody else gets it.
    expect(await codeOf(receiver.receiveDeferredMessages(sequenceNumber))).toBe('MessageNotFound');
    await receiver.completeMessage(deferred as NonNullable<typeof deferred>);
    expect(emulator.queue('q').counts().active).toBe(0);
    expect(await codeOf(receiver.receiveDeferredMessages(sequenceNumber))).toBe('MessageNotFound');
  });

  test.each([
    ['abandoned', 'deferred', 1],
    ['deferred again', 'deferred', 0],
    ['dead-lettered', undefined, 0],
  ] as const)('a deferred message that is %s through $management ends where it should', async (how, state, count) => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    await receiver.deferMessage(message);
    const [held] = await receiver.receiveDeferredMessages(message.sequenceNumber as never);
    if (!held) throw new Error('nothing came');
    if (how === 'abandoned') await receiver.abandonMessage(held, { how });
    else if (how === 'deferred again') await receiver.deferMessage(held, { how });
    else
      await receiver.deadLetterMessage(held, { deadLetterReason: 'reason', deadLetterErrorDescription: 'text', how });
    const queue = emulator.queue('q');
    const [left] = state ? queue.peekAll() : queue.peekDeadLetters();
    expect(left).toMatchObject({ state: state ?? 'available', deliveryCount: count, applicationProperties: { how } });
    if (!state) {
      expect(left?.applicationProperties).toMatchObject({
        DeadLetterReason: 'reason',
        DeadLetterErrorDescription: 'text',
      });
    }
  });

  test('receive-and-delete of deferred messages removes them', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    await receiver.deferMessage(message);
    const deleting = client.createReceiver('q', { receiveMode: 'receiveAndDelete' });
    expect(await deleting.receiveDeferredMessages(message.sequenceNumber as never)).toHaveLength(1);
    expect(emulator.queue('q').counts().active).toBe(0);
  });

  test('a message is settled through $management when its receiver is closed: locks outlive links', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    await receiver.close();
    expect(emulator.queue('q').counts()).toMatchObject({ locked: 1 });
    const other = client.createReceiver('q');
    expect(await receiveNone(other)).toEqual([]);
    await other.completeMessage(message);
    expect(emulator.queue('q').counts().active).toBe(0);
  });
});

describe('locks', () => {
  const clocked = async (lockDurationMs = 30_000) => {
    const clock = createClock();
    const setup = await setUp({ lockDurationMs }, { clock: clock.now });
    return { ...setup, clock, receiver: setup.client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 }) };
  };

  test('a lock that runs out gives the message back with one delivery more, and settling it fails with MessageLockLost', async () => {
    const { client, clock, emulator, receiver } = await clocked();
    await sendOne(client);
    const message = await receiveOne(receiver);
    expect(message.lockedUntilUtc?.getTime()).toBe(clock.now() + 30_000);
    clock.advance(29_999);
    emulator.tick();
    expect(emulator.queue('q').counts()).toMatchObject({ locked: 1, available: 0 });
    clock.advance(1);
    emulator.tick();
    expect(emulator.queue('q').counts()).toMatchObject({ locked: 0, available: 1 });
    const again = await receiveOne(client.createReceiver('q'));
    expect(again.deliveryCount).toBe(1);
    expect(await codeOf(receiver.completeMessage(message))).toBe('MessageLockLost');
    expect(emulator.queue('q').counts()).toMatchObject({ locked: 1 });
  });

  test.each([
    ['complete', 'completeMessage'],
    ['abandon', 'abandonMessage'],
    ['defer', 'deferMessage'],
    ['dead-letter', 'deadLetterMessage'],
  ] as const)('%s after the lock ran out fails with MessageLockLost, ticked or not', async (_, settle) => {
    const { client, clock, emulator, receiver } = await clocked();
    await sendOne(client);
    const message = await receiveOne(receiver);
    clock.advance(30_000);
    expect(await codeOf(receiver[settle](message))).toBe('MessageLockLost');
    expect(emulator.queue('q').counts()).toMatchObject({ available: 1, deadLetter: 0 });
    expect(emulator.queue('q').peekAll()[0]?.deliveryCount).toBe(1);
  });

  test('a renewed lock holds, and renewing a lost one fails with MessageLockLost', async () => {
    const { client, clock, emulator, receiver } = await clocked();
    await sendOne(client);
    const message = await receiveOne(receiver);
    for (let renewal = 0; renewal < 5; renewal += 1) {
      clock.advance(20_000);
      emulator.tick();
      expect((await receiver.renewMessageLock(message)).getTime()).toBe(clock.now() + 30_000);
    }
    await receiver.completeMessage(message);
    expect(emulator.queue('q').counts().active).toBe(0);
    await sendOne(client);
    const other = await receiveOne(receiver);
    clock.advance(30_000);
    expect(await codeOf(receiver.renewMessageLock(other))).toBe('MessageLockLost');
  });

  test('of two messages completed in the same turn, the one whose lock is lost fails and the other does not', async () => {
    const { client, clock, emulator, receiver } = await clocked();
    for (const body of ['kept', 'lost', 'kept too']) await sendOne(client, body);
    const messages = await receiver.receiveMessages(3);
    clock.advance(20_000);
    await receiver.renewMessageLock(messages[0] as never);
    await receiver.renewMessageLock(messages[2] as never);
    clock.advance(20_000);
    const codes = messages.map((message) => codeOf(receiver.completeMessage(message)));
    expect(await Promise.all(codes)).toEqual([undefined, 'MessageLockLost', undefined]);
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual(['lost']);
  });

  test('the automatic renewal of the SDK keeps a message with a lock shorter than its handler', async () => {
    const { client, emulator } = await setUp({ lockDurationMs: 1_500 });
    await sendOne(client);
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    const locked = message.lockedUntilUtc?.getTime() ?? 0;
    while (Date.now() < locked + 1_000) await new Promise((resolve) => setTimeout(resolve, 50));
    await receiver.completeMessage(message);
    expect(emulator.queue('q').counts().active).toBe(0);
  });

  test('without anyone calling tick a lock runs out by the real clock', async () => {
    const { client } = await setUp({ lockDurationMs: 50 });
    await sendOne(client);
    await receiveOne(client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 }));
    expect((await receiveOne(client.createReceiver('q'))).deliveryCount).toBe(1);
  });

  test('lock losses count towards dead-lettering', async () => {
    const { client, clock, emulator, receiver } = await clocked();
    await sendOne(client);
    for (let delivery = 0; delivery < 10; delivery += 1) {
      await receiveOne(receiver);
      clock.advance(30_000);
      emulator.tick();
    }
    expect(emulator.queue('q').counts()).toMatchObject({ available: 0, deadLetter: 1 });
    expect(emulator.queue('q').peekDeadLetters()[0]?.applicationProperties).toMatchObject({
      DeadLetterReason: 'MaxDeliveryCountExceeded',
    });
  });

  test('a dropped connection keeps its locks until they run out, then the message counts one delivery', async () => {
    const { client, clock, emulator } = await clocked();
    await sendOne(client);
    const lost = connect(emulator);
    await receiveOne(lost.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 }));
    await lost.close();
    const receiver = client.createReceiver('q');
    expect(await receiveNone(receiver)).toEqual([]);
    clock.advance(30_000);
    emulator.tick();
    expect((await receiveOne(receiver)).deliveryCount).toBe(1);
  });
});
