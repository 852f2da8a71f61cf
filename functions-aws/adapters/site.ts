import { lazyPort, once } from '../../runtime/lazy.ts';
import type { Consumers } from '../../shared/control/consumers.ts';
import type { StateStore } from '../../shared/ports/object-store.ts';
import type { Presigner, SitePresigners } from '../../shared/ports/presign.ts';
import type { Queue } from '../../shared/ports/queue.ts';
import type { Site, SiteId, Stores } from '../../shared/ports/site.ts';
import type { DurationMs } from '../../shared/units.ts';
import { defaultTimeouts, type Timeouts } from './http.ts';

export interface AwsCredentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken?: string;
}

/** How a client reaches a service. */
export interface AwsConnection {
  /** `us-east-1`, …; `auto` for R2. */
  region: string;
  /** Another address than Amazon's, addressed in path style. */
  endpoint?: string;
  /** Default: the SDK's own chain (environment, role). */
  credentials?: AwsCredentials;
  timeouts?: Timeouts;
}

export interface AwsSiteConfig extends AwsConnection {
  id: SiteId;
  journalBucket: string;
  stateBucket: string;
  /** True where the journal's bucket is versioned, as it should be outside of one machine. Default: no endpoint is given. */
  journalVersioned?: boolean;
  intakeQueueUrl: string;
  workQueueUrl: string;
  intakeDlqUrl: string;
  workDlqUrl: string;
  /** Lambda at another address than Amazon's. Default: Amazon's, whatever `endpoint` says. */
  lambdaEndpoint?: string;
  /** How long `receive` leases a message. Default 60,000. */
  leaseMs?: DurationMs;
}

export interface S3StoresConfig extends AwsConnection {
  id: SiteId | 'witness';
  journalBucket: string;
  stateBucket: string;
  /** Stands before every key, with its own `/`. Default none. */
  prefix?: string;
  /** Default false. */
  journalVersioned?: boolean;
}

export interface S3Stores extends Stores {
  readonly presigners: SitePresigners;
  /** Closes every connection. */
  close(): Promise<void>;
}

export interface AwsSite extends Site {
  readonly cloud: 'aws';
  readonly presigners: SitePresigners;
  /** Who takes messages off this site's queues. */
  readonly consumers: Consumers;
  /** Closes every connection. */
  close(): Promise<void>;
}

/**
 * S3 and SQS of one region. Connecting loads nothing and reaches nothing: each client and its part of the SDK comes with
 * the first call that needs it, since a function's cold start pays for what is loaded.
 */
export function connectAwsSite(config: AwsSiteConfig): AwsSite {
  const stores = connectS3Stores({ journalVersioned: config.endpoint === undefined, ...config });
  const timeouts = config.timeouts ?? defaultTimeouts;
  const clients: { destroy(): void }[] = [];
  const sqs = once(async () => {
    const { sqsClient } = await import('./sqs-client.ts');
    // A queue's address says where it is; S3 may be elsewhere, behind another route.
    const endpoint = config.endpoint && new URL(config.intakeQueueUrl).origin;
    const client = sqsClient({ ...config, endpoint, timeouts });
    clients.push(client);
    return client;
  });
  const queue = (part: 'intake' | 'work', url: string, deadLetterUrl: string): Queue => {
    const name = `${config.id}/${part}`;
    return lazyPort<Queue>({ name }, async () => {
      const [{ sqsQueue }, client] = await Promise.all([import('./queue.ts'), sqs()]);
      return sqsQueue({ client, name, url, deadLetterUrl, leaseMs: config.leaseMs, timeouts });
    });
  };
  const consumers = lazyPort<Consumers>({ name: `${config.id}/consumers` }, async () => {
    const { lambdaConsumers } = await import('./consumers.ts');
    const { id, region, credentials, lambdaEndpoint: endpoint } = config;
    const queueUrls = [config.intakeQueueUrl, config.workQueueUrl];
    const opened = lambdaConsumers({ id, region, endpoint, credentials, queueUrls, timeouts });
    clients.push({ destroy: () => opened.close() });
    return opened;
  });
  return {
    ...stores,
    id: config.id,
    cloud: 'aws',
    intake: queue('intake', config.intakeQueueUrl, config.intakeDlqUrl),
    work: queue('work', config.workQueueUrl, config.workDlqUrl),
    consumers,
    async close() {
      for (const client of clients) client.destroy();
      await stores.close();
    },
  };
}

/** The two containers of a voter in S3, or in what speaks like it (the witness). Loads nothing before it is used. */
export function connectS3Stores(config: S3StoresConfig): S3Stores {
  const timeouts = config.timeouts ?? defaultTimeouts;
  const clients: { destroy(): void }[] = [];
  const s3 = once(async () => {
    const { s3Client } = await import('./s3-client.ts');
    const client = s3Client({ ...config, timeouts });
    clients.push(client);
    return client;
  });
  const store = (part: 'journal' | 'state', bucket: string, versioned: boolean): StateStore => {
    const name = `${config.id}/${part}`;
    return lazyPort<StateStore>({ name }, async () => {
      const [{ s3Store }, client] = await Promise.all([import('./store.ts'), s3()]);
      return s3Store({ client, bucket, name, prefix: config.prefix, versioned, timeouts });
    });
  };
  const presigner = (bucket: string): Presigner =>
    lazyPort<Presigner>({}, async () => {
      const [{ s3Presigner }, client] = await Promise.all([import('./presign.ts'), s3()]);
      return s3Presigner({ client, bucket });
    });
  return {
    id: config.id,
    journal: store('journal', config.journalBucket, config.journalVersioned ?? false),
    state: store('state', config.stateBucket, false),
    presigners: { journal: presigner(config.journalBucket), state: presigner(config.stateBucket) },
    async close() {
      for (const client of clients) client.destroy();
    },
  };
}
