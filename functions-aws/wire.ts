import type { SQSRecord } from 'aws-lambda';
import type { Hono } from 'hono';
import { azureModels } from '../functions-azure/adapters/models.ts';
import { type AzureSite, connectAzureSite } from '../functions-azure/adapters/site.ts';
import { assembleCore } from '../runtime/core.ts';
import type { DrillsWire } from '../runtime/drills.ts';
import { once } from '../runtime/lazy.ts';
import { version } from '../runtime/version.ts';
import type { ApiEnv } from '../shared/api/env.ts';
import type { Core } from '../shared/core.ts';
import { ConfigError } from '../shared/errors.ts';
import type { MonitorDeps } from '../shared/health/monitor.ts';
import { lambdaPayloadBytesMax } from '../shared/limits.ts';
import type { LeasedMessage, Queue, QueuePart } from '../shared/ports/queue.ts';
import { awsModels } from './adapters/models.ts';
import { type AwsSite, connectAwsSite, connectS3Stores } from './adapters/site.ts';

/**
 * Bytes of a body that still fit Lambda's limit: base64 makes four of three, and the rest of the event (headers, for the
 * most part) is given 64 KiB.
 */
const bodyBytesMax = Math.floor(((lambdaPayloadBytesMax - 64 * 1024) * 3) / 4);

const connect = {
  aws: connectAwsSite,
  azure: connectAzureSite,
  witness: connectS3Stores,
  models: { ...awsModels, ...azureModels },
};
const assembled = once(async () => {
  const { config, own, core } = await assembleCore<AwsSite | AzureSite>(import.meta.dirname, process.env, connect);
  const site = config.sites[own.id]!;
  if (own.cloud === 'aws' && site.cloud === 'aws') return { config, own, core, queues: site.queues };
  throw new ConfigError('HOLDFAST_SITE', `HOLDFAST_SITE: '${own.id}' must be a site of AWS: this is Lambda`);
});

/** The core of this process, made once; nothing is connected before it is used. */
export const wire = async (): Promise<Core> => (await assembled()).core;

/** What the worker needs to settle messages beside the core. */
export interface SqsWire {
  core: Core;
  /** Which of the two queues a message came from. */
  partOf(record: Pick<SQSRecord, 'eventSourceARN'>): QueuePart;
  queueOf(record: Pick<SQSRecord, 'eventSourceARN'>): Queue;
  leasedMessage(record: SQSRecord): LeasedMessage;
}

export const wireSqs = once(async (): Promise<SqsWire> => {
  const [{ core, own, queues }, { sqsLeasedMessage }] = await Promise.all([assembled(), import('./adapters/queue.ts')]);
  const intake = new URL(queues.intake).pathname.split('/').at(-1);
  const partOf: SqsWire['partOf'] = ({ eventSourceARN }) =>
    eventSourceARN.split(':').at(-1) === intake ? 'intake' : 'work';
  return {
    core,
    partOf,
    queueOf: (record) => own[partOf(record)],
    leasedMessage: sqsLeasedMessage,
  };
});

/** What the monitor looks with, and what it does about what it sees. */
export const wireMonitor = once(async (): Promise<MonitorDeps> => {
  const [{ config, core, own }, { observeDeps }, { tendSite }] = await Promise.all([
    assembled(),
    import('../runtime/health.ts'),
    import('../shared/control/tend.ts'),
  ]);
  return {
    ...observeDeps(config, core.self, core.self, connect.models),
    act: (all, seen) => tendSite(all, seen, own.consumers),
  };
});

/** What is needed to run drills, and those that have a schedule. */
export const wireDrills = once(async (): Promise<DrillsWire> => {
  const [{ config, core }, { drillsWire }] = await Promise.all([assembled(), import('../runtime/drills.ts')]);
  return drillsWire(config, core);
});

export const wireApi = once(async (): Promise<Hono<ApiEnv>> => {
  const [{ config, core, own }, { createApi }] = await Promise.all([assembled(), import('../shared/api/index.ts')]);
  const checkModel = once(async () => (await import('../runtime/check-model.ts')).modelChecker(config, connect.models));
  return createApi(core, {
    bodyBytesMax,
    responseBytesMax: bodyBytesMax,
    presign: own.presigners,
    cors: config.cors,
    version,
    checkModel: async (alias, endpoint) => (await checkModel())(alias, endpoint),
  });
});
