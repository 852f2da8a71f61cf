import type { Consumers } from '../../shared/control/consumers.ts';
import type { CallOptions } from '../../shared/ports/object-store.ts';
import type { SiteId } from '../../shared/ports/site.ts';
import { serviceBusError } from './errors.ts';
import { attempt, defaultTimeouts, type Timeouts } from './http.ts';
import type { ServiceBusConnector } from './service-bus-client.ts';

export interface ServiceBusConsumersConfig {
  id: SiteId;
  /** Whose administration client is used; it needs the Manage right. Closed by its owner. */
  connector: Pick<ServiceBusConnector, 'administration'>;
  /** Queues whose receivers are switched: intake and work. */
  queues: readonly string[];
  timeouts?: Timeouts;
}

/**
 * The status of the site's queues: `ReceiveDisabled` still takes what is sent, and hands nothing out, to nobody. What is
 * locked can be settled. So the queues of a paused site cannot be drained, which nothing depends on.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/entity-suspend (2026-11-20)
 */
export function serviceBusConsumers(config: ServiceBusConsumersConfig): Consumers {
  const { connector, queues, timeouts = defaultTimeouts } = config;
  const name = `${config.id}/consumers`;
  const call = <T>(options: CallOptions, run: (abortSignal: AbortSignal) => Promise<T>) =>
    attempt(timeouts, options, { translate: (error) => serviceBusError(error, name) }, run);
  const read = (queue: string, options: CallOptions) =>
    call(options, (abortSignal) => connector.administration.getQueue(queue, { abortSignal }));
  const switchAll = async (status: 'Active' | 'ReceiveDisabled', options: CallOptions) => {
    await Promise.all(
      queues.map(async (queue) => {
        // An update replaces the whole description, so it begins with what stands.
        const description = await read(queue, options);
        // A queue that somebody disabled altogether is not ours to open.
        if (description.status === status || isForeign(description.status)) return;
        await call(options, (abortSignal) =>
          connector.administration.updateQueue({ ...description, status }, { abortSignal }),
        );
      }),
    );
  };
  return {
    name,
    isPaused: async (options = {}) =>
      (await Promise.all(queues.map((queue) => read(queue, options)))).every(({ status }) => status !== 'Active'),
    pause: (options = {}) => switchAll('ReceiveDisabled', options),
    resume: (options = {}) => switchAll('Active', options),
  };
}

const isForeign = (status: string): boolean => status !== 'Active' && status !== 'ReceiveDisabled';
