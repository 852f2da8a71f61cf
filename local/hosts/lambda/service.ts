import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parse } from 'yaml';
import { ConfigError } from '../../../shared/errors.ts';
import type { DurationMs } from '../../../shared/units.ts';
import type { EventSourceSpec, FunctionSpec } from './function-spec.ts';

const root = resolve(import.meta.dirname, '../../..');

/** What differs on one machine from what is deployed. */
export interface LocalFunctions {
  /** Folder in which the paths of handlers are looked up. */
  readonly codeDir: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Time-outs of functions with an event source are cut to this. */
  readonly timeoutMsMax: DurationMs;
  /** By function; default 1. */
  readonly concurrencyMax: Readonly<Record<string, number>>;
}

interface Service {
  functions: Record<string, ServiceFunction>;
  resources: { Resources: Record<string, { Type: string; Properties: { QueueName?: string } }> };
}

interface ServiceFunction {
  handler: string;
  timeout: number;
  memorySize: number;
  url?: boolean;
  events?: { sqs?: ServiceQueue; schedule?: string | { method: 'scheduler'; rate: string } }[];
}

interface ServiceQueue {
  arn: string;
  batchSize?: number;
  maximumBatchingWindow?: number;
  functionResponseType?: string;
  filterPatterns?: unknown;
}

/**
 * The functions that `serverless.yml` deploys, with their triggers as they stand there.
 * @throws ConfigError for what is not emulated
 */
export function readFunctions(local: LocalFunctions): FunctionSpec[] {
  // CloudFormation's own tags (`!GetAtt Work.Arn`) are read as their text.
  const { functions, resources } = parse(readFileSync(join(root, 'serverless.yml'), 'utf8'), {
    logLevel: 'silent',
  }) as Service;
  return Object.entries(functions).map(([name, { handler, timeout, memorySize, url, events = [] }]) => {
    const queues = events.flatMap(({ sqs }) => (sqs ? [sqs] : []));
    const scheduled = events.find((event) => event.schedule)?.schedule;
    const schedule = typeof scheduled === 'object' ? scheduled.rate : scheduled;
    if (schedule !== undefined && schedule !== 'rate(1 minute)')
      throw new ConfigError(`functions.${name}`, `functions.${name}: schedule ${schedule} is not emulated`);
    const at = handler.lastIndexOf('.');
    return {
      name,
      bundle: join(local.codeDir, `${handler.slice(0, at)}.mjs`),
      handler: handler.slice(at + 1),
      timeoutMs: Math.min(timeout * 1_000, queues.length > 0 ? local.timeoutMsMax : Number.POSITIVE_INFINITY),
      memoryMb: memorySize,
      concurrencyMax: local.concurrencyMax[name] ?? 1,
      environment: local.environment,
      eventSources: queues.map((queue) => eventSource(name, queue, resources)),
      url: url === true,
      ...(schedule !== undefined && { everyMs: 60_000 }),
    };
  });
}

function eventSource(name: string, queue: ServiceQueue, resources: Service['resources']): EventSourceSpec {
  if (queue.filterPatterns !== undefined)
    throw new ConfigError(`functions.${name}`, `functions.${name}: filterPatterns are not emulated, and lose messages`);
  const queueName = resources.Resources[queue.arn.split('.')[0]!]?.Properties.QueueName;
  if (queueName === undefined)
    throw new ConfigError(`functions.${name}`, `functions.${name}: ${queue.arn} is no queue of this template`);
  return {
    queueName,
    batchSize: queue.batchSize ?? 10,
    windowMs: (queue.maximumBatchingWindow ?? 0) * 1_000,
    reportsItemFailures: queue.functionResponseType === 'ReportBatchItemFailures',
  };
}
