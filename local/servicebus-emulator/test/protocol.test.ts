import { connect as connectSocket } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import rhea, { type Connection, type EventContext } from 'rhea';
import type { ServiceBusEmulator } from '../src/index.ts';
import { closeAfterTest, codeOf, createClock, receiveOne, sendOne, setUp } from './helpers.ts';

/** A client that is not the SDK: plain AMQP. */
function connectPlain(emulator: ServiceBusEmulator): Connection {
  const container = rhea.create_container();
  const connection = container.connect({ host: emulator.host, port: emulator.amqpPort, reconnect: false });
  for (const event of ['disconnected', 'connection_error', 'error']) container.on(event, () => {});
  closeAfterTest(async () => connection.close());
  return connection;
}

const next = (emitter: { once(event: string, listener: (context: EventContext) => void): unknown }, event: string) =>
  new Promise<EventContext>((resolve) => emitter.once(event, resolve));

describe('plain AMQP', () => {
  test.each([
    ['nothing that is AMQP', Buffer.from('{"not":"amqp"}')],
    ['a section that ends too early', Buffer.from([0x00, 0x53, 0x75, 0xb0, 0x00, 0x00, 0xff, 0xff, 0x01])],
    ['a map longer than the message', Buffer.from([0x00, 0x53, 0x72, 0xd1, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 2])],
    ['an unknown section', Buffer.from([0x00, 0x53, 0x42, 0x45])],
    ['a map of ten thousand nested lists', nestedLists(10_000)],
  ])('a message that is %s is refused, and the link goes on', async (_, bytes) => {
    const { emulator } = await setUp();
    const sender = connectPlain(emulator).open_sender('q');
    await next(sender, 'sendable');
    sender.send(bytes as never, undefined, 0x80013700);
    const { delivery } = await next(sender, 'rejected');
    expect(delivery?.remote_state?.error?.condition).toBe('amqp:decode-error');
    sender.send(rhea.message.encode({ body: 'fine' }) as never, undefined, 0);
    await next(sender, 'accepted');
    expect(emulator.queue('q').peekAll()).toMatchObject([{ body: 'fine' }]);
  });

  test('bytes that are no protocol at all end their connection and no other', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client, 'before');
    const socket = connectSocket(emulator.amqpPort, emulator.host);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.write('GET / HTTP/1.1\r\n\r\n');
    socket.resume();
    await closed;
    await sendOne(client, 'after');
    expect(emulator.queue('q').counts().active).toBe(2);
  });

  test('a receiver that settles at once (first settle mode) completes, releases and rejects', async () => {
    const { client, emulator } = await setUp();
    for (const body of ['accept', 'release', 'reject']) await sendOne(client, body);
    const receiver = connectPlain(emulator).open_receiver({
      source: `amqps://any.host/q`,
      autoaccept: false,
      credit_window: 0,
    });
    const take = async () => {
      const message = next(receiver, 'message');
      receiver.add_credit(1);
      const { message: taken, delivery } = await message;
      return { body: JSON.parse(String(taken?.body?.content)), count: taken?.delivery_count ?? 0, delivery };
    };
    (await take()).delivery?.accept();
    const released = await take();
    expect(released).toMatchObject({ body: 'release', count: 0 });
    released.delivery?.release();
    // Released is not a failed delivery: the message comes first again, uncounted.
    const again = await take();
    expect(again).toMatchObject({ body: 'release', count: 0 });
    again.delivery?.modified({ delivery_failed: true, undeliverable_here: false });
    const counted = await take();
    expect(counted).toMatchObject({ body: 'release', count: 1 });
    counted.delivery?.accept();
    (await take()).delivery?.reject({ condition: 'app:bad', description: 'bad' });
    expect(await receiveOne(client.createReceiver('q', { subQueueType: 'deadLetter' }))).toMatchObject({
      body: 'reject',
    });
    expect(emulator.queue('q').counts()).toMatchObject({ active: 0, deadLetter: 1 });
  });

  test('types the SDK does not have (symbol, uuid, long, timestamp) pass unchanged', async () => {
    const { emulator } = await setUp();
    const connection = connectPlain(emulator);
    const { types } = rhea;
    const properties = {
      symbol: types.wrap_symbol('symbol'),
      uuid: types.wrap_uuid(Buffer.alloc(16, 7)),
      long: types.wrap_long(-5),
      time: types.wrap_timestamp(1_234),
      byte: types.wrap_ubyte(9),
    };
    const sender = connection.open_sender('q');
    await next(sender, 'sendable');
    const bytes = rhea.message.encode({ application_properties: properties, body: 'x' });
    sender.send(bytes as never, undefined, 0);
    await next(sender, 'accepted');
    const receiver = connection.open_receiver({ source: 'q', credit_window: 0 });
    receiver.add_credit(1);
    const { message } = await next(receiver, 'message');
    const sent = rhea.message.decode(bytes).application_properties;
    expect(message?.application_properties).toEqual(sent);
  });

  test('two links on one session are served side by side, each within its credit', async () => {
    const { client, emulator } = await setUp();
    for (let index = 0; index < 10; index += 1) await sendOne(client, index);
    const connection = connectPlain(emulator);
    const counts = [0, 0];
    const done = Promise.withResolvers<void>();
    const credits = [3, 5];
    for (const [index, credit] of credits.entries()) {
      const receiver = connection.open_receiver({ source: 'q', name: `receiver-${index}`, credit_window: 0 });
      receiver.on('message', () => {
        counts[index] = (counts[index] as number) + 1;
        if (counts[0] === 3 && counts[1] === 5) done.resolve();
      });
      receiver.add_credit(credit);
    }
    await done.promise;
    expect(emulator.queue('q').counts().available).toBe(2);
  });

  test('a drain is answered though there is no credit left to give back', async () => {
    const { client, emulator } = await setUp();
    await sendOne(client);
    const receiver = connectPlain(emulator).open_receiver({ source: 'q', credit_window: 0, autoaccept: false });
    const drained = next(receiver, 'receiver_drained');
    receiver.add_credit(1);
    (receiver as unknown as { drain_credit(): void }).drain_credit();
    await drained;
    expect(emulator.queue('q').counts().locked).toBe(1);
  });

  test('an address with dynamic or no node is refused', async () => {
    const { emulator } = await setUp();
    const sender = connectPlain(emulator).open_sender({ target: {} });
    const { sender: refused } = await next(sender, 'sender_error');
    expect(refused?.error).toMatchObject({ condition: 'amqp:not-implemented' });
  });

  test('an operation $management does not know is answered, not left waiting', async () => {
    const { client } = await setUp();
    const receiver = client.createReceiver('q');
    await receiver.peekMessages(1);
    const management = (
      receiver as unknown as { _context: { getManagementClient(path: string): ManagementClient } }
    )._context.getManagementClient('q');
    const request = {
      body: {},
      reply_to: management.replyTo,
      application_properties: { operation: 'com.microsoft:unknown' },
    };
    expect(await codeOf(management._makeManagementRequest(request, { logError() {}, verbose() {} }, {}))).toBe(
      'GeneralError',
    );
  });

  test('2,000 locks that run out together come back in order', async () => {
    const clock = createClock();
    const { client, emulator } = await setUp({}, { clock: clock.now });
    const sender = client.createSender('q');
    for (let from = 0; from < 2_000; from += 500) {
      await sender.sendMessages(Array.from({ length: 500 }, (_, index) => ({ body: from + index, messageId: 'm' })));
    }
    const receiver = client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 });
    expect(await receiver.receiveMessages(2_000)).toHaveLength(2_000);
    clock.advance(60_000);
    emulator.tick();
    const again = await client.createReceiver('q').receiveMessages(2_000);
    expect(again.map(({ body }) => body)).toEqual(Array.from({ length: 2_000 }, (_, index) => index));
    expect(new Set(again.map(({ deliveryCount }) => deliveryCount))).toEqual(new Set([1]));
  });
});

interface ManagementClient {
  replyTo: string;
  _makeManagementRequest(request: object, logger: object, options: object): Promise<unknown>;
}

/** Application properties whose one value is a list in a list in a list. */
function nestedLists(depth: number): Buffer {
  let value = Buffer.from([0x45]);
  for (let level = 0; level < depth; level += 1) {
    const head = Buffer.alloc(9);
    head[0] = 0xd0;
    head.writeUInt32BE(value.length + 4, 1);
    head.writeUInt32BE(1, 5);
    value = Buffer.concat([head, value]);
  }
  const key = Buffer.from([0xa1, 1, 0x78]);
  const map = Buffer.alloc(12);
  map.set([0x00, 0x53, 0x72, 0xd1]);
  map.writeUInt32BE(4 + key.length + value.length, 4);
  map.writeUInt32BE(2, 8);
  const message = Buffer.concat([map, key, value]);
  const section = Buffer.alloc(8);
  section.set([0x00, 0x53, 0x75, 0xb0]);
  section.writeUInt32BE(message.length, 4);
  return Buffer.concat([section, message]);
}
