import { describe, expect, test } from '@jest/globals';
import { connect, deferred, receiveNone, receiveOne, sendOne, setUp } from './helpers.ts';

async function sendNumbers(client: Parameters<typeof sendOne>[0], count: number): Promise<void> {
  const sender = client.createSender('q');
  for (let from = 0; from < count; from += 500) {
    const size = Math.min(500, count - from);
    await sender.sendMessages(
      Array.from({ length: size }, (_, index) => ({ body: from + index, messageId: `m${from + index}` })),
    );
  }
  await sender.close();
}

describe('receiving', () => {
  test('a locked message is not given to another receiver, and is gone once completed', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = client.createReceiver('q');
    const message = await receiveOne(receiver);
    expect(message.lockedUntilUtc?.getTime()).toBeGreaterThan(Date.now());
    expect(await receiveNone(client.createReceiver('q'))).toEqual([]);
    await receiver.completeMessage(message);
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, sizeInBytes: 0 });
  });

  test('messages come in the order in which they were sent', async () => {
    const { client } = await setUp();
    await sendNumbers(client, 1_200);
    const received = await client.createReceiver('q').receiveMessages(1_200);
    expect(received.map(({ body }) => body)).toEqual(Array.from({ length: 1_200 }, (_, index) => index));
  });

  test('receive-and-delete removes a message by receiving it', async () => {
    const { client, emulator } = await setUp();
    await sendNumbers(client, 3);
    const receiver = client.createReceiver('q', { receiveMode: 'receiveAndDelete' });
    const received = await receiver.receiveMessages(2);
    expect(received.map(({ body }) => body)).toEqual([0, 1]);
    expect(received[0]?.lockToken).toBeUndefined();
    expect(emulator.queue('q').counts().active).toBe(1);
  });

  test.each(['peekLock', 'receiveAndDelete'] as const)(
    '%s for more messages than there are gets those there are',
    async (receiveMode) => {
      const { client, emulator } = await setUp();
      await sendNumbers(client, 3);
      const receiver = client.createReceiver('q', { receiveMode });
      const received = await receiver.receiveMessages(10, { maxWaitTimeInMs: 500 });
      expect(received.map(({ body }) => body)).toEqual([0, 1, 2]);
      await sendOne(client, 'later');
      expect(emulator.queue('q').counts().available).toBe(1);
    },
  );

  test('a receiver that asks before there is a message gets it as soon as it is sent', async () => {
    const { client } = await setUp();
    const receiving = client.createReceiver('q').receiveMessages(1, { maxWaitTimeInMs: 30_000 });
    await sendOne(client, 'late');
    expect((await receiving).map(({ body }) => body)).toEqual(['late']);
  });

  test('a drained receiver leaves the message that comes later to the next call', async () => {
    const { client, emulator } = await setUp();
    const receiver = client.createReceiver('q');
    expect(await receiveNone(receiver)).toEqual([]);
    await sendOne(client);
    expect(emulator.queue('q').counts()).toMatchObject({ available: 1, locked: 0 });
    await receiveOne(receiver);
  });

  test('no more messages are locked than the receivers asked for', async () => {
    const { client, emulator } = await setUp();
    await sendNumbers(client, 20);
    await client.createReceiver('q').receiveMessages(3);
    expect(emulator.queue('q').counts()).toMatchObject({ available: 17, locked: 3 });
  });

  test('subscribers share the messages, each message goes to one of them, and auto-complete empties the queue', async () => {
    const { client, emulator } = await setUp();
    const seen: number[] = [];
    const perReceiver = [0, 0, 0];
    const done = deferred<void>();
    for (const index of perReceiver.keys()) {
      connect(emulator)
        .createReceiver('q')
        .subscribe(
          {
            async processMessage({ body }) {
              seen.push(body);
              perReceiver[index] = (perReceiver[index] as number) + 1;
              if (seen.length === 300) done.resolve();
            },
            async processError({ error }) {
              done.reject(error);
            },
          },
          { maxConcurrentCalls: 5 },
        );
    }
    await sendNumbers(client, 300);
    await done.promise;
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, index) => index));
    expect(Math.min(...perReceiver)).toBeGreaterThan(0);
    const { promise: empty, resolve } = deferred<void>();
    const poll = setInterval(() => emulator.queue('q').counts().active === 0 && resolve(), 10);
    await empty;
    clearInterval(poll);
  });

  test('a handler that throws gives the message back, and the next delivery counts one more', async () => {
    const { client } = await setUp();
    const counts: number[] = [];
    const done = deferred<void>();
    client.createReceiver('q').subscribe({
      async processMessage({ deliveryCount }) {
        counts.push(deliveryCount ?? -1);
        if (counts.length < 3) throw new Error('not yet');
        done.resolve();
      },
      async processError() {},
    });
    await sendOne(client);
    await done.promise;
    expect(counts).toEqual([0, 1, 2]);
  });

  test('a receiver takes 10,000 messages one by one, in order', async () => {
    const { client, emulator } = await setUp();
    await sendNumbers(client, 10_000);
    let next = 0;
    const done = deferred<void>();
    const receiver = client.createReceiver('q');
    receiver.subscribe(
      {
        async processMessage({ body }) {
          expect(body).toBe(next);
          next += 1;
          if (next === 10_000) done.resolve();
        },
        async processError({ error }) {
          done.reject(error);
        },
      },
      { maxConcurrentCalls: 1 },
    );
    await done.promise;
    await receiver.close();
    expect(emulator.queue('q').counts().active).toBeLessThanOrEqual(1);
  });

  test('a receiver that settles the last message first can go on for more messages than a session holds', async () => {
    const { client, emulator } = await setUp();
    await sendNumbers(client, 4_000);
    const receiver = client.createReceiver('q');
    const first = await receiveOne(receiver);
    let completed = 0;
    while (completed < 2_000) {
      const messages = await receiver.receiveMessages(500);
      for (const message of messages.reverse()) await receiver.completeMessage(message);
      completed += messages.length;
    }
    await receiver.completeMessage(first);
    expect(emulator.queue('q').counts().active).toBe(4_000 - completed - 1);
  });

  test('peeking shows every message without locking it, from any sequence number, and at most 250 at a time', async () => {
    const { client, emulator } = await setUp();
    await sendNumbers(client, 300);
    const receiver = client.createReceiver('q');
    const first = await receiver.peekMessages(300);
    expect(first).toHaveLength(250);
    expect(first[0]?.lockToken).toBeUndefined();
    expect((await receiver.peekMessages(300)).map(({ body }) => body)).toEqual(
      Array.from({ length: 50 }, (_, index) => 250 + index),
    );
    expect(await receiver.peekMessages(1)).toEqual([]);
    const middle = await receiver.peekMessages(2, { fromSequenceNumber: first[99]?.sequenceNumber as never });
    expect(middle.map(({ sequenceNumber }) => sequenceNumber?.toNumber())).toEqual([100, 101]);
    expect(emulator.queue('q').counts().available).toBe(300);
  });

  test('when its client is gone a receiver takes no more messages', async () => {
    const { client, emulator } = await setUp();
    const other = connect(emulator);
    const receiving = other.createReceiver('q').receiveMessages(5, { maxWaitTimeInMs: 200 });
    await receiving;
    await other.close();
    await sendOne(client);
    expect(emulator.queue('q').counts()).toMatchObject({ available: 1, locked: 0 });
  });

  test('the emulator closes under a receiver that waits, and the receiver is told', async () => {
    const { client, emulator } = await setUp();
    const received = deferred<void>();
    const lost = deferred<unknown>();
    client.createReceiver('q').subscribe({
      async processMessage() {
        received.resolve();
      },
      async processError({ error }) {
        lost.resolve(error);
      },
    });
    await sendOne(client);
    await received.promise;
    await emulator.close();
    expect(await lost.promise).toBeDefined();
  });
});
