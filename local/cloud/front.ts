import { createFaultBoard, type FunctionsSwitch } from '../faults/board.ts';
import { serveFaults } from '../faults/server.ts';
import type { LocalPorts } from '../ports.ts';
import { type RouteSpec, startProxy } from '../proxy/index.ts';
import type { Respawned } from './child.ts';
import type { Opened } from './cloud.ts';

/** What the front needs to know of the function host, which comes after it. */
export interface HostHandle {
  /** The process that runs now, if one does. */
  readonly host: Respawned<unknown> | undefined;
  /** Where it takes requests now. */
  readonly apiPort: number | undefined;
}

/** Until the answer to `kill` is out. */
const KILL_AFTER_MS = 50;

/**
 * What stands before and beside a cloud's functions: the port of its front door, a route to everything they call, and
 * the switch that breaks those.
 * @throws ConfigError when a port is taken
 */
export async function startFront(
  from: 'aws' | 'azure',
  ports: LocalPorts,
  handle: HostHandle,
  opened: Opened,
): Promise<void> {
  const proxy = opened.add(
    await startProxy([...routesOf(from, ports, handle), ...(from === 'aws' ? awsSeen(ports) : azureSeen(ports))]),
  );
  const functions: FunctionsSwitch = {
    freeze: (on) => handle.host?.tell({ polls: !on }),
    stop: (on) => handle.host?.hold(on),
    kill: () => handle.host?.kill(),
  };
  const kill = () => {
    setTimeout(() => {
      handle.host?.kill();
      process.kill(process.pid, 'SIGKILL');
    }, KILL_AFTER_MS);
  };
  opened.add(await serveFaults(createFaultBoard({ site: from, proxy, functions, kill }), ports[from].faults));
}

const to = (port: number) => () => ({ host: '127.0.0.1', port });

/** What the functions and triggers of a cloud call, and its own front door. */
function routesOf(from: 'aws' | 'azure', ports: LocalPorts, handle: HostHandle): RouteSpec[] {
  const { aws, azure } = ports;
  const port = ports.routes[from];
  const peer = from === 'aws' ? 'azure' : 'aws';
  const queue = from === 'aws' ? ({ protocol: 'sqs', target: to(aws.emulator) } as const) : amqp(ports);
  return [
    { from, site: 'aws', service: 'store', protocol: 's3', port: port.awsStore, target: to(aws.emulator) },
    { from, site: 'aws', service: 'queue', protocol: 'sqs', port: port.awsQueue, target: to(aws.emulator) },
    { from, site: 'azure', service: 'store', protocol: 'blob', port: port.azureStore, target: to(azure.blob) },
    { from, site: 'azure', service: 'queue', port: port.azureQueue, ...amqp(ports) },
    { from, site: 'azure', service: 'queue-admin', port: port.azureQueueAdmin, ...atom(ports) },
    { from, site: 'witness', service: 'store', protocol: 's3', port: port.witness, target: to(ports.witness) },
    { from, site: 'aws', service: 'model', protocol: 'openai', port: port.awsModel, target: to(aws.model) },
    { from, site: 'azure', service: 'model', protocol: 'openai', port: port.azureModel, target: to(azure.model) },
    { from, site: peer, service: 'api', protocol: 'openai', port: port.peerApi, target: to(ports[peer].api) },
    { from: 'trigger', site: from, service: 'queue', port: port.trigger, ...queue },
    {
      from: 'client',
      site: from,
      service: 'api',
      protocol: 'openai',
      port: ports[from].api,
      target: () => (handle.apiPort === undefined ? undefined : { host: '127.0.0.1', port: handle.apiPort }),
    },
  ];
}

/** What a third place sees of AWS. */
function awsSeen({ aws, routes: { observer } }: LocalPorts): RouteSpec[] {
  const seen = { from: 'observer', site: 'aws' } as const;
  return [
    { ...seen, service: 'store', protocol: 's3', port: observer.awsStore, target: to(aws.emulator) },
    { ...seen, service: 'queue', protocol: 'sqs', port: observer.awsQueue, target: to(aws.emulator) },
    { ...seen, service: 'model', protocol: 'openai', port: observer.awsModel, target: to(aws.model) },
  ];
}

/** What a third place sees of Azure. */
function azureSeen(ports: LocalPorts): RouteSpec[] {
  const { azure, routes } = ports;
  const seen = { from: 'observer', site: 'azure' } as const;
  return [
    { ...seen, service: 'store', protocol: 'blob', port: routes.observer.azureStore, target: to(azure.blob) },
    { ...seen, service: 'queue', port: routes.observer.azureQueue, ...amqp(ports) },
    { ...seen, service: 'queue-admin', port: routes.observer.azureQueueAdmin, ...atom(ports) },
    { ...seen, service: 'model', protocol: 'openai', port: routes.observer.azureModel, target: to(azure.model) },
  ];
}

const amqp = ({ azure }: LocalPorts) => ({ protocol: 'amqp', target: to(azure.amqp) }) as const;
const atom = ({ azure }: LocalPorts) => ({ protocol: 'atom', target: to(azure.amqpAdmin) }) as const;
