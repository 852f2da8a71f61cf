import type { AwsSiteConfig, AzureSiteConfig, HoldfastConfig, WitnessConfig } from '../shared/config/index.ts';
import { serviceBusQueues } from '../shared/config/queues.ts';
import type { SiteId } from '../shared/ports/site.ts';

/** What `connectAwsSite` is to be given. */
export function awsConnection(id: SiteId, site: AwsSiteConfig, { settings }: HoldfastConfig) {
  return {
    id,
    region: site.region,
    ...(site.endpoint !== null && { endpoint: site.endpoint }),
    ...(site.lambdaEndpoint !== null && { lambdaEndpoint: site.lambdaEndpoint }),
    ...accessKeyOf(site),
    journalBucket: site.journal,
    stateBucket: site.state,
    intakeQueueUrl: site.queues.intake,
    workQueueUrl: site.queues.work,
    intakeDlqUrl: site.queues.intakeDeadLetters,
    workDlqUrl: site.queues.workDeadLetters,
    leaseMs: settings.leaseMs,
  };
}

/** What `connectAzureSite` is to be given. */
export function azureConnection(id: SiteId, site: AzureSiteConfig, { settings }: HoldfastConfig) {
  return {
    id,
    region: site.region,
    blobEndpoint: site.blobEndpoint,
    ...(site.credentials !== null && {
      storageConnectionString: site.credentials.storageConnection,
      serviceBusConnectionString: site.credentials.serviceBusConnection,
    }),
    journalContainer: site.journal,
    stateContainer: site.state,
    serviceBusNamespace: site.namespace,
    ...(site.administrationEndpoint !== null && { administrationEndpoint: site.administrationEndpoint }),
    intakeQueue: serviceBusQueues.intake,
    workQueue: serviceBusQueues.work,
    leaseMs: settings.leaseMs,
  };
}

/** What `connectS3Stores` is to be given for the witness. */
export function witnessConnection(witness: WitnessConfig) {
  return {
    id: 'witness' as const,
    region: witness.region,
    endpoint: witness.endpoint,
    ...accessKeyOf(witness),
    journalBucket: witness.journal,
    stateBucket: witness.state,
  };
}

function accessKeyOf({ credentials }: Pick<AwsSiteConfig | WitnessConfig, 'credentials'>) {
  if (credentials === null) return {};
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  return { credentials: { accessKeyId, secretAccessKey, ...(sessionToken !== null && { sessionToken }) } };
}
