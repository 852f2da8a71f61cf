import { lazyPort, once } from '../../runtime/lazy.ts';
import type { Consumers } from '../../shared/control/consumers.ts';
import type { StateStore } from '../../shared/ports/object-store.ts';
import type { Presigner, SitePresigners } from '../../shared/ports/presign.ts';
import type { Site, SiteId } from '../../shared/ports/site.ts';
import type { BlobConnection } from './blob-client.ts';
import { defaultTimeouts, type Timeouts } from './http.ts';
import type { ServiceBusQueue } from './queue.ts';
import type { ServiceBusConnection } from './service-bus-client.ts';

export interface AzureSiteConfig extends BlobConnection, ServiceBusConnection {
  id: SiteId;
  journalContainer: string;
  stateContainer: string;
  /** True where the account keeps versions, as it should outside of one machine. Default: no key or string is given. */
  journalVersioned?: boolean;
  intakeQueue: string;
  workQueue: string;
  timeouts?: Timeouts;
}

export interface AzureSite extends Site {
  readonly cloud: 'azure';
  readonly intake: ServiceBusQueue;
  readonly work: ServiceBusQueue;
  readonly presigners: SitePresigners;
  /** Who takes messages off this site's queues. */
  readonly consumers: Consumers;
  /** Closes every connection. */
  close(): Promise<void>;
}

/**
 * Blob and Service Bus of one region. Connecting loads nothing and reaches nothing: each client and its part of the SDK
 * comes with the first call that needs it, since a function's cold start pays for what is loaded.
 */
export function connectAzureSite(config: AzureSiteConfig): AzureSite {
  const timeouts = config.timeouts ?? defaultTimeouts;
  const closers: (() => void | Promise<void>)[] = [];
  const blob = once(async () => {
    const { blobClient } = await import('./blob-client.ts');
    const client = blobClient(config);
    closers.push(client.destroy);
    return client.service;
  });
  const bus = once(async () => {
    const { ServiceBusConnector } = await import('./service-bus-client.ts');
    const connector = new ServiceBusConnector(config);
    closers.push(() => connector.close());
    return connector;
  });
  const store = (part: 'journal' | 'state', containerName: string, versioned: boolean): StateStore => {
    const name = `${config.id}/${part}`;
    return lazyPort<StateStore>({ name }, async () => {
      const [{ blobStore }, service] = await Promise.all([import('./store.ts'), blob()]);
      return blobStore({ container: service.getContainerClient(containerName), name, versioned, timeouts });
    });
  };
  const queue = (part: 'intake' | 'work', queueName: string): ServiceBusQueue => {
    const name = `${config.id}/${part}`;
    return lazyPort<ServiceBusQueue>({ name }, async () => {
      const [{ serviceBusQueue }, connector] = await Promise.all([import('./queue.ts'), bus()]);
      return serviceBusQueue({ connector, name, queue: queueName, timeouts });
    });
  };
  const presigner = (part: 'journal' | 'state', container: string): Presigner =>
    lazyPort<Presigner>({}, async () => {
      const [{ blobPresigner }, service] = await Promise.all([import('./presign.ts'), blob()]);
      return blobPresigner({ service, container, name: `${config.id}/${part}`, timeouts });
    });
  const { journalContainer, stateContainer, journalVersioned = config.storageConnectionString === undefined } = config;
  return {
    id: config.id,
    cloud: 'azure',
    journal: store('journal', journalContainer, journalVersioned),
    state: store('state', stateContainer, false),
    intake: queue('intake', config.intakeQueue),
    work: queue('work', config.workQueue),
    consumers: lazyPort<Consumers>({ name: `${config.id}/consumers` }, async () => {
      const [{ serviceBusConsumers }, connector] = await Promise.all([import('./consumers.ts'), bus()]);
      return serviceBusConsumers({
        id: config.id,
        connector,
        queues: [config.intakeQueue, config.workQueue],
        timeouts,
      });
    }),
    presigners: { state: presigner('state', stateContainer), journal: presigner('journal', journalContainer) },
    async close() {
      await Promise.all(closers.map((close) => close()));
    },
  };
}
