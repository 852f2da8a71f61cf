import { ConfigError } from '../shared/errors.ts';

/** Default of `--port-base`. */
export const defaultPortBase = 4_000;

/** Every port of the local clouds. All are fixed, so that a cloud that is started again is found where it was. */
export interface LocalPorts {
  readonly console: number;
  readonly witness: number;
  /** Where faults of the witness are set. */
  readonly witnessFaults: number;
  readonly aws: {
    /** The front door. */
    readonly api: number;
    /** S3 and SQS. */
    readonly emulator: number;
    readonly model: number;
    /** Lambda's control calls. */
    readonly lambda: number;
    /** Where faults are set. */
    readonly faults: number;
  };
  readonly azure: {
    readonly api: number;
    readonly blob: number;
    readonly amqp: number;
    readonly amqpAdmin: number;
    readonly model: number;
    readonly faults: number;
  };
  /** What a cloud's functions call instead of the services themselves, by who calls. */
  readonly routes: { readonly aws: CloudRoutes; readonly azure: CloudRoutes; readonly observer: RoutePorts };
}

/** One port for each service. */
export interface RoutePorts {
  readonly awsStore: number;
  readonly awsQueue: number;
  readonly azureStore: number;
  readonly azureQueue: number;
  readonly azureQueueAdmin: number;
  readonly witness: number;
  readonly awsModel: number;
  readonly azureModel: number;
}

/** What the functions of a cloud call. */
export interface CloudRoutes extends RoutePorts {
  /** The own cloud's queue, as its triggers poll it. */
  readonly trigger: number;
  /** The front door of the other cloud. */
  readonly peerApi: number;
}

/**
 * Ports from 1024 on that `fetch` refuses to call.
 * @source https://fetch.spec.whatwg.org/#port-blocking 2026-11
 */
const blockedPorts: ReadonlySet<number> = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

/**
 * Console N, AWS N + 100, Azure N + 200, witness N + 300; the rest within the same hundreds.
 * @throws ConfigError for a base that leaves no room, or that would need a port which nobody may call
 */
export function portsOf(base: number): LocalPorts {
  const ports = portsFrom(base);
  const blocked = flat(ports).find((port) => blockedPorts.has(port));
  if (blocked !== undefined)
    throw new ConfigError('port-base', `port-base: ${base} needs port ${blocked}, which fetch refuses to call`);
  return ports;
}

function portsFrom(base: number): LocalPorts {
  if (!Number.isInteger(base) || base < 1_024 || base > 65_000)
    throw new ConfigError('port-base', `port-base: ${base} must be a whole number from 1024 to 65000`);
  const routes = (from: number): CloudRoutes => ({
    awsStore: from,
    awsQueue: from + 1,
    azureStore: from + 2,
    azureQueue: from + 3,
    azureQueueAdmin: from + 4,
    witness: from + 5,
    awsModel: from + 6,
    azureModel: from + 7,
    trigger: from + 8,
    peerApi: from + 9,
  });
  return {
    console: base,
    witness: base + 300,
    witnessFaults: base + 380,
    aws: { api: base + 100, emulator: base + 110, model: base + 120, lambda: base + 130, faults: base + 180 },
    azure: {
      api: base + 200,
      blob: base + 210,
      amqp: base + 211,
      amqpAdmin: base + 212,
      model: base + 220,
      faults: base + 280,
    },
    routes: {
      aws: routes(base + 140),
      azure: routes(base + 240),
      // Each in the process of what is called: a third place reaches what is up.
      observer: {
        awsStore: base + 150,
        awsQueue: base + 151,
        awsModel: base + 156,
        azureStore: base + 252,
        azureQueue: base + 253,
        azureQueueAdmin: base + 254,
        azureModel: base + 257,
        witness: base + 305,
      },
    },
  };
}

/** Every port that both clouds together take. */
export const everyPort = (base: number): number[] => flat(portsOf(base));

const flat = (value: number | object): number[] =>
  typeof value === 'number' ? [value] : Object.values(value).flatMap(flat);
