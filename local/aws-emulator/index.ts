import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSqs, type SqsStore } from './fauxqs.ts';
import { type Listed, ObjectDisk } from './s3/disk.ts';
import { S3Server } from './s3/server.ts';

export interface AwsEmulatorOptions {
  /** Default `127.0.0.1`. */
  host?: string;
  /** Default 0: any free one. */
  port?: number;
  /** Where everything is kept; absent: in a temporary directory that goes with the emulator. */
  dataDir?: string;
  buckets?: readonly (string | { name: string; versioned: boolean })[];
  queues?: readonly QueueSpec[];
}

export interface QueueSpec {
  name: string;
  /** 0 to 43,200. */
  visibilityTimeoutS: number;
  /** Deliveries after which a message moves to `dlq`; both or none. */
  maxReceiveCount?: number;
  /** Name of the dead-letter queue, created too. */
  dlq?: string;
}

export interface InspectedMessage {
  id: string;
  body: string;
  receiveCount: number;
  /** Text attributes by name. */
  attributes: Record<string, string>;
}

export interface AwsEmulator {
  /** `http://host:port`, of S3 and SQS alike. */
  readonly endpoint: string;
  readonly port: number;
  /** Requests by operation (`PutObject`, `SendMessageBatch`, …) since the start. */
  readonly calls: Readonly<Record<string, number>>;
  queueUrl(name: string): string;
  createQueue(spec: QueueSpec): void;
  /** Looks without receiving. */
  inspectQueue(name: string): Record<'ready' | 'delayed' | 'inFlight', InspectedMessage[]>;
  /** Deletes all messages, as the service's own purge does. */
  purgeQueue(name: string): void;
  /** All current objects under a prefix. */
  inspectBucket(bucket: string, prefix?: string): Listed[];
  /** Uploads in parts that were neither completed nor aborted. */
  openUploads(): number;
  close(): Promise<void>;
}

const ACCOUNT = '000000000000';
const REGION = 'us-east-1';

/**
 * S3 and SQS on one port. What was answered survives `kill -9`: start again with the same `dataDir`.
 *
 * SQS is `fauxqs`. S3 is our own: `fauxqs` has no conditional puts, lists in the order of a locale, and holds whole
 * objects in memory for every range of them.
 */
export async function startAwsEmulator(options: AwsEmulatorOptions = {}): Promise<AwsEmulator> {
  const { host = '127.0.0.1', port = 0 } = options;
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), 'holdfast-aws-'));
  mkdirSync(dataDir, { recursive: true });
  const disk = new ObjectDisk(dataDir);
  for (const bucket of options.buckets ?? []) {
    if (typeof bucket === 'string') disk.createBucket(bucket);
    else disk.createBucket(bucket.name, bucket.versioned);
  }
  const s3 = new S3Server(disk);
  const { app, queues } = buildSqs(dataDir);
  app.addHook('onRequest', async (request, reply) => {
    const target = request.headers['x-amz-target'];
    if (typeof target === 'string') {
      const operation = target.replace('AmazonSQS.', '');
      s3.calls[operation] = (s3.calls[operation] ?? 0) + 1;
    } else if (isS3(request.url, request.method)) {
      reply.hijack();
      await s3.handle(request.raw, reply.raw);
    }
  });
  await app.listen({ host, port });
  const listening = (app.server.address() as AddressInfo).port;
  const endpoint = `http://${host}:${listening}`;
  const queueUrl = (name: string) => `${endpoint}/${ACCOUNT}/${name}`;
  const create = (spec: QueueSpec) => createQueue(queues, spec, queueUrl);
  for (const queue of options.queues ?? []) create(queue);
  return {
    endpoint,
    port: listening,
    calls: s3.calls,
    queueUrl,
    createQueue: create,
    inspectQueue: (name) => inspectQueue(queues, name),
    purgeQueue: (name) => queues.getQueueByName(name)?.purge(),
    inspectBucket: (bucket, prefix = '') => disk.list(bucket, prefix, '', Number.MAX_SAFE_INTEGER),
    openUploads: () => disk.openUploads(),
    async close() {
      await app.close();
      disk.close();
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** Everything that is not for SQS (by its header), STS and SNS (forms), or a look at the emulator itself. */
function isS3(url: string, method: string): boolean {
  return !(url === '/' && method === 'POST') && url !== '/health' && !url.startsWith('/_fauxqs/');
}

/** Creates a queue and its dead-letter queue, or changes what is there already. */
function createQueue(queues: SqsStore, spec: QueueSpec, queueUrl: (name: string) => string): void {
  const attributes: Record<string, string> = { VisibilityTimeout: String(spec.visibilityTimeoutS) };
  if (spec.dlq !== undefined) {
    if (queues.getQueueByName(spec.dlq) === undefined) {
      queues.createQueue(spec.dlq, queueUrl(spec.dlq), arnOf(spec.dlq), { MessageRetentionPeriod: '1209600' });
    }
    attributes.RedrivePolicy = JSON.stringify({
      deadLetterTargetArn: arnOf(spec.dlq),
      maxReceiveCount: spec.maxReceiveCount ?? 1000,
    });
  }
  const known = queues.getQueueByName(spec.name);
  // Creating it again would empty it.
  if (known === undefined) queues.createQueue(spec.name, queueUrl(spec.name), arnOf(spec.name), attributes);
  else known.setAttributes(attributes);
}

const arnOf = (name: string) => `arn:aws:sqs:${REGION}:${ACCOUNT}:${name}`;

function inspectQueue(queues: SqsStore, name: string): Record<'ready' | 'delayed' | 'inFlight', InspectedMessage[]> {
  const queue = queues.getQueueByName(name);
  if (queue === undefined) throw new Error(`no queue ${name}`);
  queue.processTimers();
  const { ready, delayed, inflight } = queue.inspectMessages();
  const show = (message: (typeof ready)[number]): InspectedMessage => ({
    id: message.messageId,
    body: message.body,
    receiveCount: message.approximateReceiveCount,
    attributes: Object.fromEntries(
      Object.entries(message.messageAttributes).map(([attribute, { StringValue }]) => [attribute, StringValue ?? '']),
    ),
  });
  return { ready: ready.map(show), delayed: delayed.map(show), inFlight: inflight.map(({ message }) => show(message)) };
}
