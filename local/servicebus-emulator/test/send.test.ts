import { describe, expect, test } from '@jest/globals';
import { startServiceBusEmulator } from '../src/index.ts';
import { closeAfterTest, codeOf, connect, receiveOne, sendOne, setUp } from './helpers.ts';

describe('sending', () => {
  test('every property, application property and annotation of a message comes back as it was sent', async () => {
    const { client } = await setUp();
    const sent = {
      body: { nested: [1, 'two', null] },
      messageId: 'id-1',
      correlationId: 'correlation',
      contentType: 'application/json',
      subject: 'subject',
      to: 'to',
      replyTo: 'reply-to',
      replyToSessionId: 'reply-session',
      sessionId: 'session',
      partitionKey: 'session',
      timeToLive: 60_000,
      applicationProperties: { text: 'ü', number: -12, fraction: 1.5, yes: true, large: 2 ** 40 },
    };
    await client.createSender('q').sendMessages(sent);
    const received = await receiveOne(client.createReceiver('q'));
    expect(received).toMatchObject(sent);
    expect(received.state).toBe('active');
    expect(received.deliveryCount).toBe(0);
    expect(received.deadLetterReason).toBeUndefined();
  });

  test.each([
    ['data', Buffer.from([0, 1, 255])],
    ['value', { key: 'value', list: [1, 2] }],
    ['value', 'text'],
    [
      'sequence',
      [
        ['a', 1],
        ['b', 2],
      ],
    ],
  ] as const)('an AMQP body of type %s keeps its type and content', async (bodyType, body) => {
    const { client } = await setUp();
    await client.createSender('q').sendMessages({
      body,
      bodyType,
      properties: { messageId: 'm', userId: 'user' },
      messageAnnotations: { 'x-own': 'annotation' },
      header: { durable: true, priority: 7 },
    } as never);
    const [received] = await client.createReceiver('q', { skipParsingBodyAsJson: true }).receiveMessages(1);
    const raw = received?._rawAmqpMessage;
    expect(raw?.bodyType).toBe(bodyType);
    expect(received?.body).toEqual(body);
    expect(raw?.messageAnnotations?.['x-own']).toBe('annotation');
    expect(raw?.header).toMatchObject({ durable: true, priority: 7 });
  });

  test('a message without an id is taken, and two with the same id are two messages', async () => {
    const { client, emulator } = await setUp();
    const sender = client.createSender('q');
    await sender.sendMessages({ body: 'anonymous' });
    await sender.sendMessages([
      { body: 1, messageId: 'same' },
      { body: 2, messageId: 'same' },
    ]);
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ messageId, body }) => [messageId, body]),
    ).toEqual([
      [undefined, 'anonymous'],
      ['same', 1],
      ['same', 2],
    ]);
  });

  test('with a duplicate detection window, a repeated id is accepted and dropped', async () => {
    const { client, emulator } = await setUp({ duplicateDetectionWindowMs: 60_000 });
    const sender = client.createSender('q');
    await sender.sendMessages({ body: 'first', messageId: 'same' });
    await sender.sendMessages({ body: 'second', messageId: 'same' });
    await sender.sendMessages({ body: 'other', messageId: 'other' });
    expect(
      emulator
        .queue('q')
        .peekAll()
        .map(({ body }) => body),
    ).toEqual(['first', 'other']);
  });

  test('a batch arrives whole and in order, each message with its own properties', async () => {
    const { client } = await setUp();
    const sender = client.createSender('q');
    const batch = await sender.createMessageBatch();
    expect(batch.maxSizeInBytes).toBe(262_144);
    for (let index = 0; index < 100; index += 1) {
      expect(batch.tryAddMessage({ body: index, messageId: `m${index}`, applicationProperties: { index } })).toBe(true);
    }
    await sender.sendMessages(batch);
    const received = await client.createReceiver('q').receiveMessages(100);
    expect(received.map(({ body }) => body)).toEqual(Array.from({ length: 100 }, (_, index) => index));
    expect(received.map(({ applicationProperties }) => applicationProperties?.index)).toEqual(
      received.map(({ body }) => body),
    );
    expect(received.map(({ sequenceNumber }) => sequenceNumber?.toNumber())).toEqual(
      received.map(({ body }) => body + 1),
    );
  });

  test('a full batch of the size the link announces is accepted', async () => {
    const { client, emulator } = await setUp();
    const sender = client.createSender('q');
    const batch = await sender.createMessageBatch();
    let added = 0;
    while (batch.tryAddMessage({ body: Buffer.alloc(10_000, added), messageId: `m${added}` })) added += 1;
    await sender.sendMessages(batch);
    expect(added).toBeGreaterThan(20);
    expect(emulator.queue('q').counts().active).toBe(added);
  });

  test('a message just under 256 KB passes in several frames, one above is refused with MessageSizeExceeded', async () => {
    const { client } = await setUp();
    const sender = client.createSender('q');
    const body = Buffer.alloc(262_000, 7);
    await sender.sendMessages({ body, messageId: 'fits' });
    expect(await codeOf(sender.sendMessages({ body: Buffer.alloc(262_144), messageId: 'too large' }))).toBe(
      'MessageSizeExceeded',
    );
    await sender.sendMessages({ body: 'after', messageId: 'after' });
    const received = await client.createReceiver('q').receiveMessages(2);
    expect(received.map(({ messageId }) => messageId)).toEqual(['fits', 'after']);
    expect(body.equals(received[0]?.body)).toBe(true);
  });

  test('of three messages sent in the same turn, the one that is too large fails and the others do not', async () => {
    const { client, emulator } = await setUp();
    const sender = client.createSender('q');
    await sender.sendMessages({ body: 'opens the link', messageId: 'm0' });
    const sizes = [10, 262_144, 10];
    const codes = sizes.map((size, index) =>
      codeOf(sender.sendMessages({ body: Buffer.alloc(size), messageId: `m${index}` })),
    );
    expect(await Promise.all(codes)).toEqual([undefined, 'MessageSizeExceeded', undefined]);
    expect(emulator.queue('q').counts().active).toBe(3);
  });

  test('a queue that is full refuses with QuotaExceeded and takes messages again once there is room', async () => {
    const { client, emulator } = await setUp({ maxSizeBytes: 2_000 });
    const sender = client.createSender('q');
    await sender.sendMessages({ body: Buffer.alloc(1_500), messageId: 'm1' });
    expect(await codeOf(sender.sendMessages({ body: Buffer.alloc(1_500), messageId: 'm2' }))).toBe('QuotaExceeded');
    expect(emulator.queue('q').counts().active).toBe(1);
    const receiver = client.createReceiver('q');
    await receiver.completeMessage(await receiveOne(receiver));
    await sender.sendMessages({ body: Buffer.alloc(1_500), messageId: 'm3' });
    expect(emulator.queue('q').counts()).toMatchObject({ active: 1 });
  });

  test('3,000 concurrent sends on one sender are all accepted', async () => {
    const { client, emulator } = await setUp();
    const sender = client.createSender('q');
    await sender.sendMessages({ body: 'opens the link', messageId: 'first' });
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(
        Array.from({ length: 1_000 }, (_, index) =>
          sender.sendMessages({ body: index, messageId: `${round}-${index}` }),
        ),
      );
    }
    expect(emulator.queue('q').counts().active).toBe(3_001);
  });

  test('queues are told apart, and found whatever the case of their name', async () => {
    const emulator = await startServiceBusEmulator({ queues: [{ name: 'one' }, { name: 'a/Two' }] });
    closeAfterTest(() => emulator.close());
    const client = connect(emulator);
    await client.createSender('ONE').sendMessages({ body: 1, messageId: 'm' });
    await client.createSender('A/two').sendMessages({ body: 2, messageId: 'm' });
    expect((await receiveOne(client.createReceiver('one'))).body).toBe(1);
    expect((await receiveOne(client.createReceiver('a/Two'))).body).toBe(2);
  });

  test('the connection string with the loopback port reaches the emulator without TLS', async () => {
    const { emulator, client } = await setUp();
    expect(emulator.connectionString).toContain(`Endpoint=sb://127.0.0.1:${emulator.amqpPort};`);
    expect(emulator.connectionString).toContain('UseDevelopmentEmulator=true');
    await sendOne(client);
    expect(emulator.queue('q').counts().active).toBe(1);
  });
});
