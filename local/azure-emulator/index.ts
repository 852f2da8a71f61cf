import { join } from 'node:path';
import { type ServiceBusEmulator, startServiceBusEmulator } from '../servicebus-emulator/src/index.ts';
import { type BlobEmulator, startBlobEmulator } from './blob.ts';

export interface AzureEmulatorOptions {
  /** Default `127.0.0.1`. */
  host?: string;
  /** Each default 0: any free one. */
  blobPort?: number;
  amqpPort?: number;
  adminPort?: number;
  /** Directory that holds everything; created if missing. One process at a time. */
  dataDir: string;
  /** Containers to create where missing. */
  containers: readonly string[];
  queues: Parameters<typeof startServiceBusEmulator>[0]['queues'];
}

export interface AzureEmulator {
  readonly blob: BlobEmulator;
  readonly serviceBus: ServiceBusEmulator;
  close(): Promise<void>;
}

/** What Holdfast uses of Azure, on one machine: Blob and Service Bus. What was acknowledged survives `kill -9`. */
export async function startAzureEmulator(options: AzureEmulatorOptions): Promise<AzureEmulator> {
  const { host, dataDir, containers, queues, amqpPort, adminPort } = options;
  const blob = await startBlobEmulator({ host, port: options.blobPort, dataDir: join(dataDir, 'blob'), containers });
  try {
    const serviceBus = await startServiceBusEmulator({
      host,
      amqpPort,
      adminPort,
      dataDir: join(dataDir, 'servicebus'),
      queues,
    });
    return {
      blob,
      serviceBus,
      async close() {
        await Promise.all([blob.close(), serviceBus.close()]);
      },
    };
  } catch (error) {
    await blob.close();
    throw error;
  }
}
