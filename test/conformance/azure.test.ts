import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient } from '@azure/storage-blob';
import { blobStore } from '../../functions-azure/adapters/store.ts';
import { type BlobEmulator, connectionStringTo } from '../../local/azure-emulator/blob.ts';
import type { StateStore } from '../../shared/ports/object-store.ts';
import { spawnEmulator } from './azure-emulator.ts';
import { startLossyProxy } from './lossy-proxy.ts';
import { objectStoreConformance, type StoreUnderTest, stateStoreConformance } from './object-store.ts';

async function blob(): Promise<StoreUnderTest<StateStore>> {
  const dataDir = await mkdtemp(join(tmpdir(), 'holdfast-blob-'));
  const emulator = await spawnEmulator<BlobEmulator>('local/azure-emulator/blob.ts', 'startBlobEmulator', {
    dataDir,
    containers: ['state'],
  });
  const { origin, pathname } = new URL(emulator.ready.endpoint);
  const proxy = await startLossyProxy(origin, (method, url) => {
    const operation = new URL(url, origin).searchParams.get('comp');
    return method === 'PUT' && (operation === null || operation === 'blocklist');
  });
  const service = BlobServiceClient.fromConnectionString(connectionStringTo(`${proxy.url}${pathname}`), {
    retryOptions: { maxTries: 1 },
  });
  const store = blobStore({
    name: 'azure/state',
    container: service.getContainerClient('state'),
    versioned: true,
  });
  return {
    store,
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
      await proxy.close();
      await emulator.kill();
      await rm(dataDir, { recursive: true });
    },
  };
}

objectStoreConformance('Blob', blob);
stateStoreConformance('Blob', blob);
