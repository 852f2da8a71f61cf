import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ServiceBusClient } from '@azure/service-bus';
import { beforeEach, describe, expect, jest, test } from '@jest/globals';
import { createAdminClient, type ServiceBusEmulator, startServiceBusEmulator } from '../src/index.ts';
import { closeAfterTest, connect, receiveOne, sendOne } from './helpers.ts';

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'servicebus-emulator-'));
  closeAfterTest(() => rm(dataDir, { recursive: true, force: true }));
});

async function start(): Promise<ServiceBusEmulator> {
  const queues = [{ name: 'q', lockDurationMs: 300_000, maxDeliveryCount: 1_000 }];
  const emulator = await startServiceBusEmulator({ dataDir, queues });
  closeAfterTest(() => emulator.close());
  return emulator;
}

interface Process {
  child: ChildProcess;
  connectionString: string;
  adminUrl: string;
  kill(): Promise<void>;
}

async function startProcess(): Promise<Process> {
  const script = join(import.meta.dirname, 'emulator-process.ts');
  const child = spawn(process.execPath, [script, dataDir], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  closeAfterTest(kill);
  const line = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', resolve);
    child.once('exit', () => reject(new Error('the emulator process ended')));
  });
  return { child, kill, ...(JSON.parse(line) as { connectionString: string; adminUrl: string }) };
}

/** A client that gives up soon, since its peer is going to be killed. */
function connectBriefly(emulator: { connectionString: string }): ServiceBusClient {
  const retryOptions = { maxRetries: 0, timeoutInMs: 2_000, retryDelayInMs: 50 };
  const client = new ServiceBusClient(emulator.connectionString, { retryOptions });
  closeAfterTest(() => client.close());
  return client;
}

describe('kill -9', () => {
  test('every acknowledged send is there after it, and no acknowledged completion comes back, over three kills', async () => {
    const sent = new Set<string>();
    const completed = new Set<string>();
    for (let round = 0; round < 3; round += 1) {
      const emulator = await startProcess();
      const client = connectBriefly(emulator);
      const sender = client.createSender('q');
      const receiver = client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 });
      const enough = Promise.withResolvers<void>();
      const settling: Promise<void>[] = [];
      let acknowledged = 0;
      receiver.subscribe(
        {
          async processMessage(message) {
            // Half of them stay, so that there is something to lose.
            if (Number(message.body) % 2 === 0) return;
            const settled = receiver.completeMessage(message).then(
              () => void completed.add(String(message.messageId)),
              () => {},
            );
            settling.push(settled);
          },
          async processError() {},
        },
        { autoCompleteMessages: false, maxConcurrentCalls: 20 },
      );
      const sending = Array.from({ length: 4 }, async (_, lane) => {
        for (let index = 0; ; index += 1) {
          const id = `${round}-${lane}-${index}`;
          await sender.sendMessages({ body: index, messageId: id });
          sent.add(id);
          acknowledged += 1;
          if (acknowledged === 200 + round * 37) enough.resolve();
        }
      });
      for (const lane of sending) lane.catch(() => {});
      await enough.promise;
      await emulator.kill();
      await Promise.allSettled([...sending, ...settling]);
      await client.close();
    }
    const emulator = await start();
    const left = new Set(
      emulator
        .queue('q')
        .peekAll()
        .map(({ messageId }) => messageId),
    );
    expect(completed.size).toBeGreaterThan(100);
    expect([...sent].filter((id) => !left.has(id) && !completed.has(id)).filter((id) => isEven(id))).toEqual([]);
    expect([...completed].filter((id) => left.has(id))).toEqual([]);
  }, 120_000);

  test('scheduled, deferred and dead-lettered messages, delivery counts, status and queues made later survive it', async () => {
    const before = await startProcess();
    const client = connectBriefly(before);
    const sender = client.createSender('q');
    const receiver = client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 });
    const due = new Date(Date.now() + 3_600_000);
    for (const body of ['dead', 'deferred', 'abandoned', 'locked']) {
      await sender.sendMessages({ body, messageId: body });
      const message = await receiveOne(receiver);
      if (body === 'dead')
        await receiver.deadLetterMessage(message, { deadLetterReason: 'why', deadLetterErrorDescription: 'text' });
      if (body === 'deferred') await receiver.deferMessage(message, { note: 'parked' });
      if (body === 'abandoned') {
        await receiver.abandonMessage(message);
        await receiver.abandonMessage(await receiveOne(receiver), { note: 'twice' });
        await receiver.deferMessage(await receiveOne(receiver));
      }
    }
    await sender.scheduleMessages({ body: 'scheduled', messageId: 'scheduled' }, due);
    const admin = createAdminClient(before.connectionString, before.adminUrl);
    await admin.createQueue('made/later', { lockDuration: 'PT7S' });
    await client.createSender('made/later').sendMessages({ body: 1, messageId: 'm' });
    await admin.updateQueue({ ...(await admin.getQueue('q')), status: 'SendDisabled' });
    await before.kill();

    const emulator = await start();
    const queue = emulator.queue('q');
    expect(queue.status).toBe('SendDisabled');
    const byId = new Map(queue.peekAll().map((message) => [message.messageId, message]));
    expect(byId.get('deferred')).toMatchObject({ state: 'deferred', applicationProperties: { note: 'parked' } });
    expect(byId.get('abandoned')).toMatchObject({
      state: 'deferred',
      deliveryCount: 2,
      applicationProperties: { note: 'twice' },
    });
    expect(byId.get('locked')).toMatchObject({ state: 'available', deliveryCount: 0 });
    expect(byId.get('scheduled')).toMatchObject({ state: 'scheduled', scheduledFor: due.getTime() });
    expect(queue.peekDeadLetters()).toMatchObject([
      { messageId: 'dead', applicationProperties: { DeadLetterReason: 'why' } },
    ]);
    expect(emulator.queue('made/later').counts().active).toBe(1);
    expect((await createAdminClient(emulator.adminConnectionString).getQueue('made/later')).lockDuration).toBe('PT7S');
  }, 120_000);
});

describe('a data directory', () => {
  test('sequence numbers go on where they stood, also when the last message is gone', async () => {
    const first = await start();
    const client = connect(first);
    await sendOne(client, 1);
    await sendOne(client, 2);
    const receiver = client.createReceiver('q', { receiveMode: 'receiveAndDelete' });
    await receiver.receiveMessages(2);
    await client.close();
    await first.close();
    const second = await start();
    await sendOne(connect(second), 3);
    expect(
      second
        .queue('q')
        .peekAll()
        .map(({ sequenceNumber }) => sequenceNumber),
    ).toEqual([3]);
  });

  test('settings given at the start replace those kept, messages stay', async () => {
    const first = await start();
    await sendOne(connect(first), 'kept');
    await first.close();
    const second = await startServiceBusEmulator({ dataDir, queues: [{ name: 'Q', lockDurationMs: 1_000 }] });
    closeAfterTest(() => second.close());
    const client = connect(second);
    const message = await receiveOne(client.createReceiver('q', { maxAutoLockRenewalDurationInMs: 0 }));
    expect(message.body).toBe('kept');
    expect(message.lockedUntilUtc?.getTime()).toBeLessThan(Date.now() + 60_000);
  });

  test('what fell due while the emulator was down happens when it comes up', async () => {
    const first = await start();
    await sendOne(connect(first), 'expired', { timeToLive: 1 });
    await connect(first)
      .createSender('q')
      .scheduleMessages({ body: 'due', messageId: 'm' }, new Date(Date.now() + 50));
    await first.close();
    const dueAt = Date.now() + 60;
    while (Date.now() < dueAt) await new Promise((resolve) => setTimeout(resolve, 5));
    const second = await start();
    expect(second.queue('q').peekAll()).toMatchObject([{ body: 'due', state: 'available' }]);
  });

  test('sends, settlements and administration are answered only once they are committed', async () => {
    const emulator = await start();
    const client = connect(emulator);
    const sender = client.createSender('q');
    const receiver = client.createReceiver('q');
    const admin = createAdminClient(emulator.adminConnectionString);
    await sender.sendMessages({ body: 1, messageId: 'm1' });
    const message = await receiveOne(receiver);
    await receiver.peekMessages(1);

    // The store commits in `setImmediate`: while that is held back, nothing is.
    const held: (() => void)[] = [];
    const hold = jest.spyOn(globalThis, 'setImmediate').mockImplementation(((callback: () => void) => {
      held.push(callback);
    }) as never);
    const answered: string[] = [];
    const asking = [
      sender.sendMessages({ body: 2, messageId: 'm2' }).then(() => answered.push('send')),
      receiver.completeMessage(message).then(() => answered.push('complete')),
      sender
        .scheduleMessages({ body: 3, messageId: 'm3' }, new Date(Date.now() + 60_000))
        .then(() => answered.push('schedule')),
      admin.createQueue('made').then(() => answered.push('create')),
    ];
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(answered).toEqual([]);
    expect(emulator.queue('q').counts()).toMatchObject({ active: 1, scheduled: 1 });
    hold.mockRestore();
    for (const callback of held) callback();
    await Promise.all(asking);
    expect(answered.toSorted()).toEqual(['complete', 'create', 'schedule', 'send']);
  });

  test('a log whose last record is torn opens with what came before', async () => {
    const emulator = await startProcess();
    const client = connectBriefly(emulator);
    for (let index = 0; index < 20; index += 1) await sendOne(client, index);
    await emulator.kill();
    const log = (await readdir(dataDir)).find((name) => name.endsWith('-wal'));
    if (!log) throw new Error('no log');
    const path = join(dataDir, log);
    await truncate(path, (await stat(path)).size - 100);
    const left = (await start())
      .queue('q')
      .peekAll()
      .map(({ body }) => body);
    expect(left.length).toBeGreaterThanOrEqual(19);
    expect(left).toEqual(Array.from({ length: left.length }, (_, index) => index));
  }, 120_000);

  test('a second emulator on the same directory is refused', async () => {
    await start();
    await expect(startServiceBusEmulator({ dataDir, queues: [] })).rejects.toThrow(/locked/);
  });
});

const isEven = (id: string): boolean => Number(id.split('-')[2]) % 2 === 0;
