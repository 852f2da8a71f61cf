import { ConfigError } from '../shared/errors.ts';

/** Default of `--port-base`. */
export const defaultPortBase = 4_000;

/** Every port of the local clouds. All are fixed, so that a cloud that is started again is found where it was. */
export interface LocalPorts {
  readonly console: number;
  readonly witness: number;
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
  readonly routes: { readonly aws: RoutePorts; readonly azure: RoutePorts };
}

/** One port for each service that functions call, and one for the triggers that call them. */
export interface RoutePorts {
  readonly awsStore: number;
  readonly awsQueue: number;
  readonly azureStore: number;
  readonly azureQueue: number;
  readonly azureQueueAdmin: number;
  readonly witness: number;
  /** The model server of the own cloud. */
  readonly model: number;
  /** The own cloud's queue, as its triggers poll it. */
  readonly trigger: number;
}

/**
 * Console N, AWS N + 100, Azure N + 200, witness N + 300; the rest within the same hundreds.
 * @throws ConfigError for a base that leaves no room
 */
export function portsOf(base: number): LocalPorts {
  if (!Number.isInteger(base) || base < 1_024 || base > 65_000)
    throw new ConfigError('port-base', `port-base: ${base} must be a whole number from 1024 to 65000`);
  const routes = (from: number): RoutePorts => ({
    awsStore: from,
    awsQueue: from + 1,
    azureStore: from + 2,
    azureQueue: from + 3,
    azureQueueAdmin: from + 4,
    witness: from + 5,
    model: from + 6,
    trigger: from + 7,
  });
  return {
    console: base,
    witness: base + 300,
    aws: { api: base + 100, emulator: base + 110, model: base + 120, lambda: base + 130, faults: base + 190 },
    azure: {
      api: base + 200,
      blob: base + 210,
      amqp: base + 211,
      amqpAdmin: base + 212,
      model: base + 220,
      faults: base + 290,
    },
    routes: { aws: routes(base + 140), azure: routes(base + 240) },
  };
}

/** Every port that both clouds together take. */
export function everyPort(base: number): number[] {
  const flat = (value: number | object): number[] =>
    typeof value === 'number' ? [value] : Object.values(value).flatMap(flat);
  return flat(portsOf(base));
}
