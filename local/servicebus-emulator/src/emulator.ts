import { AdminServer } from './admin/server.ts';
import { AmqpServer } from './amqp/server.ts';
import { Broker } from './broker.ts';
import type { QueueConfig, QueueStatus } from './config.ts';
import { inspectQueue, type QueueInspector } from './inspect.ts';
import { type EmulatorLogger, silentLogger } from './logger.ts';
import { openSqliteStore } from './sqlite-store.ts';
import { createMemoryStore } from './store.ts';

export interface EmulatorOptions {
  /** Address to listen on. Default 127.0.0.1. Nobody is authenticated, so think before giving another. */
  host?: string;
  /** Default 0: any free port. */
  amqpPort?: number;
  /** Default 0: any free port. */
  adminPort?: number;
  /** Directory to keep queues and messages in. Default: they are gone with the process. */
  dataDir?: string;
  /** Queues to have from the start; those already in `dataDir` take these settings and keep their messages and status. */
  queues: readonly QueueConfig[];
  /** Epoch milliseconds. Default `Date.now`. After moving a clock by hand call `tick()`. */
  clock?: () => number;
  /** Default: silent. */
  logger?: EmulatorLogger;
}

export interface ServiceBusEmulator {
  /** For `new ServiceBusClient(...)`. */
  readonly connectionString: string;
  /** For `createAdminClient(...)`. */
  readonly adminConnectionString: string;
  readonly adminUrl: string;
  readonly host: string;
  readonly amqpPort: number;
  readonly adminPort: number;
  /** @throws ServiceBusFault where there is no such queue. */
  queue(name: string): QueueInspector;
  /** Removes all messages, dead-lettered ones too. @returns how many there were. @throws ServiceBusFault */
  purge(name: string): Promise<number>;
  /** Links the new status forbids are detached. @throws ServiceBusFault */
  setStatus(name: string, status: QueueStatus): Promise<void>;
  /** Does now what the clock has made due: schedules, lock losses, expiries. */
  tick(): void;
  /** Drops all connections and closes the store. What was acknowledged is kept. */
  close(): Promise<void>;
}

/**
 * Starts an emulator in this process; it listens when the promise resolves.
 * @throws RangeError for a queue configuration out of range, Error where a port or `dataDir` is in use.
 */
export async function startServiceBusEmulator(options: EmulatorOptions): Promise<ServiceBusEmulator> {
  const { host = '127.0.0.1', amqpPort = 0, adminPort = 0, dataDir, queues, clock = Date.now } = options;
  const logger = options.logger ?? silentLogger;
  const store = dataDir === undefined ? createMemoryStore() : openSqliteStore(dataDir);
  const broker = new Broker({ queues, store, clock });
  const amqp = new AmqpServer(broker, logger);
  const admin = new AdminServer(broker, logger);
  const durable = () => new Promise<void>((resolve) => store.whenDurable(resolve));

  let closing: Promise<void> | undefined;
  function close(): Promise<void> {
    closing ??= Promise.all([amqp.close(), admin.close()]).then(() => broker.close());
    return closing;
  }

  let ports: [number, number];
  try {
    ports = [await amqp.listen(host, amqpPort), await admin.listen(host, adminPort)];
    await durable();
  } catch (cause) {
    await close();
    throw cause;
  }
  const [amqpListening, adminListening] = ports;
  const authority = (port: number) => `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const connectionString = (port: number) =>
    `Endpoint=sb://${authority(port)};SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;`;
  logger.info('service bus emulator listening', { host, amqpPort: amqpListening, adminPort: adminListening });

  return {
    connectionString: connectionString(amqpListening),
    adminConnectionString: connectionString(adminListening),
    adminUrl: `http://${authority(adminListening)}`,
    host,
    amqpPort: amqpListening,
    adminPort: adminListening,
    queue: (name) => inspectQueue(broker.get(name)),
    async purge(name) {
      const purged = broker.get(name).purge();
      await durable();
      return purged;
    },
    async setStatus(name, status) {
      broker.updateQueue(name, broker.get(name).config, status);
      await durable();
    },
    tick: () => broker.tick(),
    close,
  };
}
