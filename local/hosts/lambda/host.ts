import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { SQSClient } from '@aws-sdk/client-sqs';
import { ConfigError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/ports/log.ts';
import { createControlApi } from './control-api.ts';
import { checkVisibility, type EventSource, startEventSource } from './event-source.ts';
import { ACCOUNT, type FunctionSpec } from './function-spec.ts';
import { createFunctionUrl } from './function-url.ts';
import { MappingBook } from './mappings.ts';
import { createPool } from './pool.ts';
import { startSchedule } from './schedule.ts';

/** How to start a Lambda host. */
export interface LambdaHostOptions {
  readonly functions: readonly FunctionSpec[];
  /** Where SQS is. */
  readonly sqsEndpoint: string;
  readonly region: string;
  /** Port of the function URL (one function may have one); default 0: any free one. */
  readonly urlPort?: number;
  /** Port of the control calls; default 0. */
  readonly controlPort?: number;
  /** Where the switches of event-source mappings are kept; absent: nowhere. */
  readonly dataDir?: string;
  readonly log: Log;
}

/** A Lambda service with its functions, running. */
export interface LambdaHost {
  /** Port of the function URL; absent where no function has one. */
  readonly urlPort?: number;
  readonly controlPort: number;
  /** Off: no queue is polled, as when the service's pollers stand still. Function URL, schedules and switches go on. */
  setPolling(on: boolean): void;
  /** Stops polling, ends every environment. What was being worked comes back by its visibility timeout. */
  close(): Promise<void>;
}

/**
 * Starts everything that calls the functions: event-source mappings, the function URL, schedules, control calls.
 * @throws ConfigError where a queue shows messages again before its function has timed out, or a port is taken
 */
export async function startLambdaHost(options: LambdaHostOptions): Promise<LambdaHost> {
  const { functions, region, log } = options;
  const sqs = new SQSClient({
    region,
    endpoint: options.sqsEndpoint,
    credentials: { accessKeyId: ACCOUNT, secretAccessKey: 'local' },
    maxAttempts: 1,
  });
  const queueUrl = (name: string) => `${options.sqsEndpoint}/${ACCOUNT}/${name}`;
  const pools = new Map(functions.map((spec) => [spec.name, createPool(spec, region, log)]));
  const book = new MappingBook(options.dataDir && join(options.dataDir, 'event-source-mappings.json'));
  const bound = functions.flatMap((spec) =>
    spec.eventSources.map((source) => ({ pool: pools.get(spec.name)!, source })),
  );
  await Promise.all(bound.map(({ pool, source }) => checkVisibility(sqs, queueUrl(source.queueName), source, pool)));

  const sources: EventSource[] = [];
  const mappings = bound.map(({ pool, source }) => {
    const { enabled } = book.open(pool.spec.name, source.queueName);
    const started = startEventSource({
      spec: source,
      queueUrl: queueUrl(source.queueName),
      region,
      sqs,
      pool,
      enabled,
      log,
    });
    sources.push(started);
    return book.bind(pool.spec.name, started);
  });
  const schedules = functions.flatMap((spec) =>
    spec.everyMs === undefined ? [] : [startSchedule(pools.get(spec.name)!, spec.everyMs, region)],
  );
  const servers: Server[] = [];
  const serve = async (server: Server, port = 0) => {
    servers.push(server);
    return listen(server, port);
  };
  const close = async () => {
    for (const end of schedules) end();
    await Promise.all(sources.map((source) => source.close()));
    await Promise.all([...pools.values()].map((pool) => pool.close()));
    await Promise.all(servers.map(stop));
    sqs.destroy();
  };
  try {
    const front = functions.find((spec) => spec.url);
    return {
      urlPort: front && (await serve(createFunctionUrl(pools.get(front.name)!, log), options.urlPort)),
      controlPort: await serve(createControlApi({ region, pools, mappings }, log), options.controlPort),
      setPolling(on) {
        for (const source of sources) source.setPolling(on);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new ConfigError('port', `cannot listen on 127.0.0.1:${port}: ${cause.message}`, { cause })),
    );
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

async function stop(server: Server): Promise<void> {
  if (!server.listening) return;
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
