import type { Server } from 'node:http';
import { ConfigError } from '../../shared/errors.ts';
import type { LocalPorts } from '../ports.ts';
import { createFaultControl } from '../proxy/control.ts';
import { type FaultProxy, type RouteSpec, startProxy } from '../proxy/index.ts';
import type { Opened } from './cloud.ts';

/**
 * What stands before and beside a cloud's functions: the port of its front door, a route to everything they call, and
 * the switch that breaks those.
 * @param apiPort where the function host takes requests now
 * @throws ConfigError when a port is taken
 */
export async function startFront(
  from: 'aws' | 'azure',
  ports: LocalPorts,
  apiPort: () => number | undefined,
  opened: Opened,
): Promise<void> {
  const own = ports[from];
  const routes = ports.routes[from];
  const to = (port: number) => () => ({ host: '127.0.0.1', port });
  const specs: RouteSpec[] = [
    { from, site: 'aws', service: 'store', port: routes.awsStore, target: to(ports.aws.emulator) },
    { from, site: 'aws', service: 'queue', port: routes.awsQueue, target: to(ports.aws.emulator) },
    { from, site: 'azure', service: 'store', port: routes.azureStore, target: to(ports.azure.blob) },
    { from, site: 'azure', service: 'queue', port: routes.azureQueue, target: to(ports.azure.amqp) },
    { from, site: 'azure', service: 'queue-admin', port: routes.azureQueueAdmin, target: to(ports.azure.amqpAdmin) },
    { from, site: 'witness', service: 'store', port: routes.witness, target: to(ports.witness) },
    { from, site: from, service: 'model', port: routes.model, target: to(own.model) },
    {
      from: 'trigger',
      site: from,
      service: 'queue',
      port: routes.trigger,
      target: to(from === 'aws' ? ports.aws.emulator : ports.azure.amqp),
    },
    {
      from: 'client',
      site: from,
      service: 'api',
      port: own.api,
      target: () => {
        const port = apiPort();
        return port === undefined ? undefined : { host: '127.0.0.1', port };
      },
    },
  ];
  const proxy: FaultProxy = opened.add(await startProxy(specs));
  opened.add(await listen(createFaultControl(proxy), own.faults));
}

function listen(server: Server, port: number): Promise<{ close(): Promise<void> }> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new ConfigError('port', `cannot listen on 127.0.0.1:${port} (faults): ${cause.message}`, { cause })),
    );
    server.listen(port, '127.0.0.1', () =>
      resolve({
        close: async () => {
          server.closeAllConnections();
          await new Promise((done) => server.close(done));
        },
      }),
    );
  });
}
