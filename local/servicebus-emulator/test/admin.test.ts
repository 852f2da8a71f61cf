import { ServiceBusAdministrationClient } from '@azure/service-bus';
import { describe, expect, test } from '@jest/globals';
import { createAdminClient } from '../src/index.ts';
import { codeOf, connect, receiveOne, sendOne, setUp } from './helpers.ts';

describe('administration', () => {
  test('runtime properties count active, scheduled and dead-lettered messages and their bytes', async () => {
    const { client, emulator } = await setUp();
    const admin = createAdminClient(emulator.connectionString, emulator.adminUrl);
    for (const body of [1, 2, 3]) await sendOne(client, body);
    await client.createSender('q').scheduleMessages({ body: 4, messageId: 'x' }, new Date(Date.now() + 60_000));
    const receiver = client.createReceiver('q');
    await receiver.deadLetterMessage(await receiveOne(receiver));
    await receiveOne(receiver);
    const properties = await admin.getQueueRuntimeProperties('q');
    expect(properties).toMatchObject({
      name: 'q',
      activeMessageCount: 2,
      scheduledMessageCount: 1,
      deadLetterMessageCount: 1,
      transferMessageCount: 0,
      transferDeadLetterMessageCount: 0,
      totalMessageCount: 4,
      sizeInBytes: emulator.queue('q').counts().sizeInBytes,
    });
    expect(properties.sizeInBytes).toBeGreaterThan(0);
    expect(properties.createdAt.getTime()).toBeLessThanOrEqual(Date.now());
  });

  test('the connection string of the administration endpoint needs no address besides', async () => {
    const { emulator } = await setUp();
    expect(await createAdminClient(emulator.adminConnectionString).queueExists('q')).toBe(true);
  });

  test('properties of a queue are those it was configured with', async () => {
    const { emulator } = await setUp({
      lockDurationMs: 1_500,
      maxDeliveryCount: 1_000,
      defaultTtlMs: 86_400_000,
      deadLetterOnExpiry: true,
      maxSizeBytes: 5 * 1_024 ** 3,
    });
    expect(await createAdminClient(emulator.adminConnectionString).getQueue('q')).toMatchObject({
      name: 'q',
      status: 'Active',
      lockDuration: 'PT1.5S',
      maxDeliveryCount: 1_000,
      defaultMessageTimeToLive: 'PT86400S',
      deadLetteringOnMessageExpiration: true,
      maxSizeInMegabytes: 5_120,
      requiresSession: false,
      requiresDuplicateDetection: false,
    });
  });

  test('a status set with updateQueue holds for clients at once, and changes nothing else', async () => {
    const { client, emulator } = await setUp({ lockDurationMs: 1_500, maxSizeBytes: 12_345 });
    const admin = createAdminClient(emulator.adminConnectionString);
    const before = await admin.getQueue('q');
    const after = await admin.updateQueue({ ...before, status: 'ReceiveDisabled' });
    expect(after).toMatchObject({ ...before, status: 'ReceiveDisabled' });
    expect(await codeOf(client.createReceiver('q').receiveMessages(1))).toBe('MessagingEntityDisabled');
    await admin.updateQueue({ ...after, status: 'Active', maxDeliveryCount: 2 });
    await sendOne(client);
    const receiver = client.createReceiver('q');
    await receiver.abandonMessage(await receiveOne(receiver));
    await receiver.abandonMessage(await receiveOne(receiver));
    expect(emulator.queue('q').counts().deadLetter).toBe(1);
    // The size is kept in bytes though the API speaks megabytes.
    expect(await codeOf(client.createSender('q').sendMessages({ body: Buffer.alloc(12_345), messageId: 'x' }))).toBe(
      'QuotaExceeded',
    );
  });

  test('queues are created, listed page by page, and deleted together with their links', async () => {
    const { emulator } = await setUp();
    const admin = createAdminClient(emulator.adminConnectionString);
    for (let index = 0; index < 5; index += 1) {
      await admin.createQueue(`made/${index}`, { lockDuration: 'PT10S', defaultMessageTimeToLive: 'P1DT12H' });
    }
    const pages: number[] = [];
    const names: string[] = [];
    for await (const page of admin.listQueues().byPage({ maxPageSize: 2 })) {
      pages.push(page.length);
      names.push(...page.map(({ name }) => name));
    }
    expect(pages).toEqual([2, 2, 2]);
    expect(names).toEqual(['made/0', 'made/1', 'made/2', 'made/3', 'made/4', 'q']);
    expect(await admin.getQueue('made/0')).toMatchObject({
      lockDuration: 'PT10S',
      defaultMessageTimeToLive: 'PT129600S',
    });

    const client = connect(emulator);
    const sender = client.createSender('made/0');
    await sender.sendMessages({ body: 1, messageId: 'm' });
    await admin.deleteQueue('made/0');
    expect(await admin.queueExists('made/0')).toBe(false);
    expect(await codeOf(sender.sendMessages({ body: 2, messageId: 'm' }))).toBe('MessagingEntityNotFound');
    await admin.createQueue('made/0');
    expect(emulator.queue('made/0').counts().active).toBe(0);
    await sender.sendMessages({ body: 3, messageId: 'm' });
    expect(emulator.queue('made/0').counts().active).toBe(1);
  });

  test('what is not there and what is there already have the codes the SDK knows', async () => {
    const { emulator } = await setUp();
    const admin = createAdminClient(emulator.adminConnectionString);
    expect(await codeOf(admin.getQueue('missing'))).toBe('MessageEntityNotFoundError');
    expect(await codeOf(admin.deleteQueue('missing'))).toBe('MessageEntityNotFoundError');
    expect(await codeOf(admin.updateQueue({ ...(await admin.getQueue('q')), name: 'missing' }))).toBe(
      'MessageEntityNotFoundError',
    );
    expect(await codeOf(admin.createQueue('q'))).toBe('MessageEntityAlreadyExistsError');
    expect(await codeOf(admin.createQueue('made', { requiresSession: true }))).toBe('ServiceError');
    expect(await codeOf(admin.createQueue('made', { maxDeliveryCount: 2_001 }))).toBe('ServiceError');
    expect(await codeOf(admin.createQueue('made', { lockDuration: 'PT6M' }))).toBe('ServiceError');
    expect(await admin.queueExists('made')).toBe(false);
    expect((await admin.getNamespaceProperties()).messagingSku).toBe('Standard');
  });

  test('without the policy the administration client speaks https, and the emulator does not', async () => {
    const { emulator } = await setUp();
    const plain = new ServiceBusAdministrationClient(emulator.adminConnectionString, {
      retryOptions: { maxRetries: 0 },
    });
    await expect(plain.getQueue('q')).rejects.toThrow();
  });

  test.each([
    ['GET', '/%', 400],
    ['POST', '/q', 405],
    ['PUT', '/made', 400],
    ['PUT', '/%24bad%00name', 400],
    ['DELETE', '/missing', 404],
  ])('%s %s is answered with %i and an error document', async (method, path, status) => {
    const { emulator } = await setUp();
    const response = await fetch(`${emulator.adminUrl}${path}`, { method });
    expect(response.status).toBe(status);
    expect(await response.text()).toMatch(/^<Error><Code>\d+<\/Code><Detail>[^<]+<\/Detail><\/Error>$/);
  });
});
