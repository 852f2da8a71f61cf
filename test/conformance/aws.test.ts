import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll } from '@jest/globals';
import { type AwsSite, connectAwsSite, connectS3Stores } from '../../functions-aws/adapters/site.ts';
import { type AwsEmulator, startAwsEmulator } from '../../local/aws-emulator/index.ts';
import type { StateStore } from '../../shared/ports/object-store.ts';
import { startLossyProxy } from './lossy-proxy.ts';
import { objectStoreConformance, type StoreUnderTest, stateStoreConformance } from './object-store.ts';
import { queueConformance } from './queue.ts';

const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
const memory = 'the emulator lives in this process';

/** The requests that make an object visible: a plain put, and the completion of an upload in parts. */
const isCommit = (method: string, url: string) => {
  const query = new URL(url, 'http://s3').searchParams;
  return (method === 'PUT' && !query.has('partNumber')) || (method === 'POST' && query.has('uploadId'));
};

let emulator: AwsEmulator;
let queues = 0;
beforeAll(async () => {
  emulator = await startAwsEmulator({
    buckets: ['state', { name: 'journal', versioned: true }],
    queues: [],
  });
});
afterAll(() => emulator.close());

const siteAt = (endpoint: string, queueName = 'none'): AwsSite => {
  const url = (name: string) => `${endpoint}/000000000000/${name}`;
  return connectAwsSite({
    id: 'aws',
    region: 'us-east-1',
    endpoint,
    credentials,
    journalBucket: 'journal',
    journalVersioned: true,
    stateBucket: 'state',
    intakeQueueUrl: url(queueName),
    workQueueUrl: url(queueName),
    intakeDlqUrl: url(`${queueName}-dlq`),
    workDlqUrl: url(`${queueName}-dlq`),
    leaseMs: 4000,
  });
};

const storeOf = (part: 'journal' | 'state') => async (): Promise<StoreUnderTest<StateStore>> => {
  const proxy = await startLossyProxy(emulator.endpoint, isCommit);
  const site = siteAt(proxy.url);
  return {
    store: site[part] as StateStore,
    network: proxy.network,
    async close() {
      await site.close();
      await proxy.close();
    },
  };
};

objectStoreConformance('s3Store over the AWS emulator, versioned', storeOf('journal'), { memory });
stateStoreConformance('s3Store over the AWS emulator', storeOf('state'), { memory });

/** The witness as it runs: a process of its own, so that this one's memory is the adapter's. */
const witnessStore = async (): Promise<StoreUnderTest<StateStore>> => {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-witness-'));
  const main = join(import.meta.dirname, '../../local/witness/main.ts');
  const witness: ChildProcess = spawn(process.execPath, [main, '--port', '0', '--data', dataDir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(createInterface({ input: witness.stdout! }), 'line');
  const proxy = await startLossyProxy(JSON.parse(String(line)).url, isCommit);
  const stores = connectS3Stores({
    id: 'witness',
    region: 'auto',
    endpoint: proxy.url,
    credentials,
    journalBucket: 'witness-journal',
    stateBucket: 'witness-state',
    prefix: 'tenant-of-ours/',
  });
  return {
    store: stores.state,
    network: proxy.network,
    async close() {
      await stores.close();
      await proxy.close();
      witness.kill();
      await once(witness, 'exit');
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
};

objectStoreConformance('s3Store over the witness process, under a prefix', witnessStore);
stateStoreConformance('s3Store over the witness process, under a prefix', witnessStore);

queueConformance('sqsQueue over the AWS emulator', async () => {
  const name = `q${queues++}`;
  emulator.createQueue({ name, visibilityTimeoutS: 240, maxReceiveCount: 1000, dlq: `${name}-dlq` });
  const proxy = await startLossyProxy(emulator.endpoint, () => false);
  const site = siteAt(proxy.url, name);
  return {
    queue: site.work,
    leaseMs: 4000,
    pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    network: proxy.network,
    async close() {
      await site.close();
      await proxy.close();
    },
  };
});
