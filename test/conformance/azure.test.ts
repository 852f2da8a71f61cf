import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type AzureSite, connectAzureSite } from '../../functions-azure/adapters/site.ts';
import type { BlobEmulator } from '../../local/azure-emulator/blob.ts';
import { startServiceBusEmulator } from '../../local/servicebus-emulator/src/index.ts';
import type { StateStore } from '../../shared/ports/object-store.ts';
import { startDoor } from './door.ts';
import { spawnEmulator } from './emulator-process.ts';
import { startLossyProxy } from './lossy-proxy.ts';
import { objectStoreConformance, type StoreUnderTest, stateStoreConformance } from './object-store.ts';
import { type QueueUnderTest, queueConformance } from './queue.ts';

const LOCK_MS = 5_000;

const siteWith = (services: Partial<Parameters<typeof connectAzureSite>[0]>): AzureSite =>
  connectAzureSite({
    id: 'azure',
    blobEndpoint: 'http://127.0.0.1:9',
    serviceBusNamespace: '127.0.0.1',
    journalContainer: 'journal',
    journalVersioned: true,
    stateContainer: 'state',
    intakeQueue: 'intake',
    workQueue: 'work',
    ...services,
  });

const blob = (part: 'journal' | 'state') => async (): Promise<StoreUnderTest<StateStore>> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-blob-'));
  // In a process of its own, so that this one's memory is the adapter's.
  const emulator = await spawnEmulator<BlobEmulator>('local/azure-emulator/blob.ts', 'startBlobEmulator', {
    dataDir,
    containers: ['journal', 'state'],
  });
  const { endpoint, connectionString } = emulator.ready;
  const { origin } = new URL(endpoint);
  const proxy = await startLossyProxy(origin, (method, url) => {
    const operation = new URL(url, origin).searchParams.get('comp');
    return method === 'PUT' && (operation === null || operation === 'blocklist');
  });
  const site = siteWith({ storageConnectionString: connectionString.replace(origin, proxy.url) });
  return {
    store: site[part] as StateStore,
    network: {
      ...proxy.network,
      // A client in this process needs some turns to see that its idle connections were closed; a request on one of them
      // may have arrived, for all it knows.
      refuse: async (on) => {
        await proxy.network.refuse(on);
        for (let turns = 0; turns < 10; turns++) await new Promise((resolve) => setImmediate(resolve));
      },
    },
    async close() {
      await site.close();
      await proxy.close();
      await emulator.kill();
      await rm(dataDir, { recursive: true });
    },
  };
};

const serviceBus = async (): Promise<QueueUnderTest> => {
  const emulator = await startServiceBusEmulator({
    queues: [{ name: 'work', lockDurationMs: LOCK_MS, maxDeliveryCount: 1_000, duplicateDetectionWindowMs: 3_600_000 }],
  });
  const amqp = await startDoor(emulator.amqpPort);
  const administration = await startDoor(emulator.adminPort);
  const site = siteWith({
    serviceBusConnectionString: emulator.connectionString.replace(`:${emulator.amqpPort}`, `:${amqp.port}`),
    administrationEndpoint: `http://127.0.0.1:${administration.port}`,
  });
  return {
    queue: site.work,
    leaseMs: LOCK_MS,
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    network: {
      refuse: async (on) => {
        await Promise.all([amqp.refuse(on), administration.refuse(on)]);
      },
    },
    async close() {
      await site.close();
      await Promise.all([amqp.close(), administration.close()]);
      await emulator.close();
    },
  };
};

objectStoreConformance('Blob, versioned', blob('journal'));
stateStoreConformance('Blob', blob('state'));
queueConformance('Service Bus', serviceBus);
