import { describe, expect, test } from '@jest/globals';
import { codeOf, deferred, receiveNone, receiveOne, sendOne, setUp } from './helpers.ts';

describe('queue status', () => {
  test.each([
    ['Active', undefined, undefined],
    ['SendDisabled', 'MessagingEntityDisabled', undefined],
    ['ReceiveDisabled', undefined, 'MessagingEntityDisabled'],
    ['Disabled', 'MessagingEntityDisabled', 'MessagingEntityDisabled'],
  ] as const)('%s: sending ends with %s, receiving with %s', async (status, sending, receiving) => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    await emulator.setStatus('q', status);
    const message = { body: 'x', messageId: 'x' };
    const receiver = client.createReceiver('q');
    expect(await codeOf(client.createSender('q').sendMessages(message))).toBe(sending);
    expect(await codeOf(client.createSender('q').scheduleMessages(message, new Date(Date.now() + 60_000)))).toBe(
      sending,
    );
    expect(await codeOf(receiver.receiveMessages(1))).toBe(receiving);
    expect(
      await codeOf(
        client.createReceiver('q', { subQueueType: 'deadLetter' }).receiveMessages(1, { maxWaitTimeInMs: 50 }),
      ),
    ).toBe(receiving);
    // Browsing changes nothing, so no status forbids it.
    expect((await receiver.peekMessages(1)).length).toBe(1);
  });

  test('a sender that is open when sending is disabled is refused, and works again once it is enabled', async () => {
    const { client, emulator } = await setUp();
    const sender = client.createSender('q');
    await sender.sendMessages({ body: 1, messageId: 'm1' });
    await emulator.setStatus('q', 'SendDisabled');
    expect(await codeOf(sender.sendMessages({ body: 2, messageId: 'm2' }))).toBe('MessagingEntityDisabled');
    await emulator.setStatus('q', 'Active');
    await sender.sendMessages({ body: 3, messageId: 'm3' });
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual([1, 3]);
  });

  test('a subscriber is told that receiving was disabled, and goes on where it stood once it is enabled', async () => {
    const { emulator, client } = await setUp();
    const { ServiceBusClient } = await import('@azure/service-bus');
    const patient = new ServiceBusClient(emulator.connectionString, {
      retryOptions: { maxRetries: 0, retryDelayInMs: 50 },
    });
    const told = deferred<string>();
    const received = deferred<unknown>();
    patient.createReceiver('q').subscribe({
      async processMessage({ body }) {
        if (body === 'after') received.resolve(body);
      },
      async processError({ error }) {
        told.resolve((error as { code?: string }).code ?? '');
      },
    });
    await sendOne(client, 'before');
    await emulator.setStatus('q', 'ReceiveDisabled');
    expect(await told.promise).toBe('MessagingEntityDisabled');
    await sendOne(client, 'after');
    expect(emulator.queue('q').counts().available).toBeGreaterThan(0);
    await emulator.setStatus('q', 'Active');
    expect(await received.promise).toBe('after');
    await patient.close();
  });

  test('completing needs a queue that may be received from', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    await emulator.setStatus('q', 'ReceiveDisabled');
    expect(await codeOf(receiver.completeMessage(message))).toBe('MessagingEntityDisabled');
    expect(emulator.queue('q').counts()).toMatchObject({ locked: 1 });
  });

  test('scheduled messages still become due while the queue is disabled', async () => {
    const { client, emulator } = await setUp();
    await client.createSender('q').scheduleMessages({ body: 'x', messageId: 'x' }, new Date(Date.now() + 150));
    await emulator.setStatus('q', 'Disabled');
    while (emulator.queue('q').counts().scheduled > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(emulator.queue('q').counts().available).toBe(1);
  });
});

describe('addresses', () => {
  test('a queue that does not exist is MessagingEntityNotFound for senders, receivers and management', async () => {
    const { client } = await setUp();
    const message = { body: 'x', messageId: 'x' };
    expect(await codeOf(client.createSender('missing').sendMessages(message))).toBe('MessagingEntityNotFound');
    expect(await codeOf(client.createReceiver('missing').receiveMessages(1))).toBe('MessagingEntityNotFound');
    expect(await codeOf(client.createReceiver('missing').peekMessages(1))).toBe('MessagingEntityNotFound');
  });

  test('nothing can be sent to a dead-letter queue', async () => {
    const { client } = await setUp();
    expect(
      await codeOf(client.createSender('q/$deadletterqueue').sendMessages({ body: 'x', messageId: 'x' })),
    ).toBeDefined();
  });

  test('sessions are refused', async () => {
    const { client } = await setUp();
    expect(await codeOf(client.acceptSession('q', 'session'))).toBe('SessionCannotBeLocked');
  });

  test('purge empties queue and dead-letter queue, and tells how many messages there were', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client, 1);
    await sendOne(client, 2);
    await client.createSender('q').scheduleMessages({ body: 3, messageId: 'x' }, new Date(Date.now() + 60_000));
    const receiver = client.createReceiver('q');
    await receiver.deadLetterMessage(await receiveOne(receiver));
    expect(await emulator.purge('q')).toBe(3);
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, scheduled: 0, deadLetter: 0, sizeInBytes: 0 });
    expect(await receiveNone(receiver)).toEqual([]);
  });
});
