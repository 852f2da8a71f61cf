import { connectionStringTo } from './azure-emulator/account.ts';
import type { Identity } from './identity.ts';
import type { LocalPorts, RoutePorts } from './ports.ts';
import { localSettings } from './settings.ts';
import { WITNESS_BUCKETS } from './witness/buckets.ts';

/**
 * Who is to be configured: a cloud's functions or a third place that observes, which call through routes, or a tool that
 * calls the services themselves.
 */
export type View = 'aws' | 'azure' | 'observer' | 'direct';

/** A configuration and the environment that goes with it. */
export interface LocalConfig {
  /** What `holdfast.config.yaml` would hold. */
  readonly source: object;
  readonly environment: Readonly<Record<string, string>>;
}

export const REGIONS = { aws: 'us-east-1', azure: 'eastus' } as const;
export const QUEUES = ['holdfast-intake', 'holdfast-work'] as const;
export const CONTAINERS = ['holdfast-journal', 'holdfast-state'] as const;
const ACCOUNT = '000000000000';

/**
 * How a process reaches both local clouds and the witness.
 * @param env where `HOLDFAST_AWS_MODEL_URL` and `HOLDFAST_AZURE_MODEL_URL` may name other model servers; those are
 * called directly, without a route, so that names in certificates hold
 */
export function localConfig(
  view: View,
  ports: LocalPorts,
  identity: Identity,
  env: NodeJS.ProcessEnv = process.env,
): LocalConfig {
  const at = (port: number) => `http://127.0.0.1:${port}`;
  const route = view === 'direct' ? directPorts(ports) : ports.routes[view];
  const api = {
    aws: view === 'azure' ? ports.routes.azure.peerApi : ports.aws.api,
    azure: view === 'aws' ? ports.routes.aws.peerApi : ports.azure.api,
  };
  const queue = (name: string) => `${at(route.awsQueue)}/${ACCOUNT}/${name}`;
  const local = { accessKeyIdEnv: 'LOCAL_ACCESS_KEY', secretAccessKeyEnv: 'LOCAL_SECRET_KEY' };
  const modelUrls = {
    aws: env.HOLDFAST_AWS_MODEL_URL || `${at(route.awsModel)}/v1`,
    azure: env.HOLDFAST_AZURE_MODEL_URL || `${at(route.azureModel)}/v1`,
  };
  const modelHosts = Object.values(modelUrls).flatMap((url) => URL.parse(url)?.hostname.replace(/^\[|\]$/g, '') ?? []);
  return {
    source: {
      sites: {
        aws: {
          cloud: 'aws',
          region: REGIONS.aws,
          endpoint: at(route.awsStore),
          lambdaEndpoint: at(ports.aws.lambda),
          queues: {
            intake: queue('holdfast-intake'),
            work: queue('holdfast-work'),
            intakeDeadLetters: queue('holdfast-intake-dlq'),
            workDeadLetters: queue('holdfast-work-dlq'),
          },
          credentials: local,
          api: `${at(api.aws)}/v1`,
        },
        azure: {
          cloud: 'azure',
          region: REGIONS.azure,
          blobEndpoint: `${at(route.azureStore)}/devstoreaccount1`,
          namespace: '127.0.0.1',
          administrationEndpoint: at(route.azureQueueAdmin),
          credentials: { storageConnectionEnv: 'LOCAL_BLOB', serviceBusConnectionEnv: 'LOCAL_SERVICEBUS' },
          api: `${at(api.azure)}/v1`,
        },
      },
      witness: {
        endpoint: at(route.witness),
        journal: WITNESS_BUCKETS.journal,
        state: WITNESS_BUCKETS.state,
        credentials: local,
        contentKeyEnv: 'LOCAL_CONTENT_KEY',
      },
      settings: localSettings,
      health: {
        // Other processes of this machine stand for the internet: enough of them outlive any cloud, and the witness.
        references: [
          ports.witness,
          ...[ports.aws.faults, ports.aws.model, ports.aws.emulator],
          ...[ports.azure.faults, ports.azure.model, ports.azure.blob],
        ].map((port) => `${at(port)}/`),
        canary: { model: 'canary', endpoint: '/v1/embeddings' },
      },
      network: { allowPrivate: [...new Set(['127.0.0.0/8', '::1', 'localhost', ...modelHosts])] },
      cors: { origins: [at(ports.console), `http://localhost:${ports.console}`] },
    },
    environment: {
      HOLDFAST_SITE: view === 'azure' ? 'azure' : 'aws',
      HOLDFAST_AWS_MODEL_URL: modelUrls.aws,
      HOLDFAST_AZURE_MODEL_URL: modelUrls.azure,
      ...pick(env, ['HOLDFAST_LOG', 'HOLDFAST_AWS_MODEL_KEY', 'HOLDFAST_AZURE_MODEL_KEY']),
      LOCAL_ACCESS_KEY: 'local',
      LOCAL_SECRET_KEY: 'local',
      LOCAL_BLOB: connectionStringTo(`${at(route.azureStore)}/devstoreaccount1`),
      LOCAL_SERVICEBUS: serviceBusConnection(route.azureQueue),
      LOCAL_CONTENT_KEY: identity.contentKey,
    },
  };
}

/** For the unmodified SDK, against the local emulator. */
export function serviceBusConnection(port: number): string {
  return `Endpoint=sb://127.0.0.1:${port};SharedAccessKeyName=local;SharedAccessKey=local;UseDevelopmentEmulator=true;`;
}

function directPorts(ports: LocalPorts): RoutePorts {
  return {
    awsStore: ports.aws.emulator,
    awsQueue: ports.aws.emulator,
    azureStore: ports.azure.blob,
    azureQueue: ports.azure.amqp,
    azureQueueAdmin: ports.azure.amqpAdmin,
    witness: ports.witness,
    awsModel: ports.aws.model,
    azureModel: ports.azure.model,
  };
}

function pick(env: NodeJS.ProcessEnv, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])));
}
