import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { duplicateDetectionMs } from '../../functions-azure/adapters/messages.ts';
import { startAzureEmulator } from '../azure-emulator/index.ts';
import { deploy } from '../bundles.ts';
import { CONTAINERS, localConfig, QUEUES, serviceBusConnection } from '../config.ts';
import type { FunctionsOrder, FunctionsReady } from '../hosts/functions/main.ts';
import { startModelServer } from '../model-server/index.ts';
import { lockMs } from '../settings.ts';
import { keepRunning, type Respawned } from './child.ts';
import { type Cloud, type CloudOptions, Opened } from './cloud.ts';
import { type HostHandle, startFront } from './front.ts';

/** As `infra/azure` sets them, but for the lock. */
const QUEUE_CONFIG = {
  lockDurationMs: lockMs,
  maxDeliveryCount: 1_000,
  duplicateDetectionWindowMs: duplicateDetectionMs,
};

const root = resolve(import.meta.dirname, '../..');

/**
 * Azure on one machine: Blob, Service Bus, a model server, and the Functions host in a process of its own.
 * @throws ConfigError when a port is taken
 */
export async function startAzure({ dataDir, ports, identity, bundles, log }: CloudOptions): Promise<Cloud> {
  const opened = new Opened();
  let host: Respawned<FunctionsReady> | undefined;
  try {
    const handle: HostHandle = {
      get host() {
        return host;
      },
      get apiPort() {
        return host?.current?.port;
      },
    };
    await startFront('azure', ports, handle, opened);
    const emulator = startAzureEmulator({
      blobPort: ports.azure.blob,
      amqpPort: ports.azure.amqp,
      adminPort: ports.azure.amqpAdmin,
      dataDir,
      containers: CONTAINERS,
      queues: QUEUES.map((name) => ({ name, ...QUEUE_CONFIG })),
    });
    opened.add(await emulator);
    opened.add(await startModelServer({ name: 'azure', port: ports.azure.model }));
  } catch (error) {
    await opened.close();
    throw error;
  }

  return {
    async startFunctions() {
      const { source, environment } = localConfig('azure', ports, identity);
      const config = join(dataDir, 'holdfast.config.json');
      writeFileSync(config, JSON.stringify(source, null, 2));
      const order: FunctionsOrder = {
        bundle: join(deploy('functions-azure', dataDir, bundles), mainOfPackage()),
        hostJson: join(root, 'host.json'),
      };
      const pidFile = join(dataDir, 'host.pid');
      const module = new URL('../hosts/functions/main.ts', import.meta.url);
      const env = {
        ...process.env,
        ...environment,
        HOLDFAST_CONFIG: config,
        HOLDFAST_SERVICEBUS: serviceBusConnection(ports.routes.azure.trigger),
      };
      host = opened.add(keepRunning<FunctionsReady>({ name: 'functions', module, order, env, pidFile, log }));
      await host.first;
    },
    close: () => opened.close(),
  };
}

/** The Functions project is the repository: its `main` is what the host loads. */
function mainOfPackage(): string {
  const { main } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { main: string };
  return main;
}
