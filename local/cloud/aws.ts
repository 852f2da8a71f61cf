import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { startAwsEmulator } from '../aws-emulator/index.ts';
import { deploy } from '../bundles.ts';
import { CONTAINERS, localConfig, QUEUES, REGIONS } from '../config.ts';
import type { LambdaOrder, LambdaReady } from '../hosts/lambda/main.ts';
import { readFunctions } from '../hosts/lambda/service.ts';
import { startModelServer } from '../model-server/index.ts';
import { environmentsMax, workerTimeoutMs } from '../settings.ts';
import { keepRunning, type Respawned } from './child.ts';
import { type Cloud, type CloudOptions, Opened } from './cloud.ts';
import { type HostHandle, startFront } from './front.ts';

/** Times SQS hands a message out before it moves it to the dead-letter queue, as `serverless.yml` sets it. */
const RECEIVES_MAX = 1_000;

/**
 * AWS on one machine: S3 and SQS, a model server, and Lambda in a process of its own.
 * @throws ConfigError when a port is taken
 */
export async function startAws({ dataDir, ports, identity, bundles, log }: CloudOptions): Promise<Cloud> {
  const opened = new Opened();
  let host: Respawned<LambdaReady> | undefined;
  try {
    const handle: HostHandle = {
      get host() {
        return host;
      },
      get apiPort() {
        return host?.current?.urlPort;
      },
    };
    await startFront('aws', ports, handle, opened);
    const visibilityTimeoutS = workerTimeoutMs / 1_000;
    const emulator = startAwsEmulator({
      port: ports.aws.emulator,
      dataDir: join(dataDir, 'services'),
      buckets: [...CONTAINERS],
      queues: QUEUES.map((name) => ({ name, visibilityTimeoutS, maxReceiveCount: RECEIVES_MAX, dlq: `${name}-dlq` })),
    });
    opened.add(await emulator);
    opened.add(await startModelServer({ name: 'aws', port: ports.aws.model }));
  } catch (error) {
    await opened.close();
    throw error;
  }

  return {
    async startFunctions() {
      const { source, environment } = localConfig('aws', ports, identity);
      const config = join(dataDir, 'holdfast.config.json');
      writeFileSync(config, JSON.stringify(source, null, 2));
      const order: LambdaOrder = {
        functions: readFunctions({
          codeDir: deploy('functions-aws', dataDir, bundles),
          environment: { ...environment, HOLDFAST_CONFIG: config },
          timeoutMsMax: workerTimeoutMs,
          concurrencyMax: environmentsMax,
        }),
        sqsEndpoint: `http://127.0.0.1:${ports.routes.aws.trigger}`,
        region: REGIONS.aws,
        controlPort: ports.aws.lambda,
        dataDir,
      };
      const pidFile = join(dataDir, 'host.pid');
      const module = new URL('../hosts/lambda/main.ts', import.meta.url);
      host = opened.add(keepRunning<LambdaReady>({ name: 'lambda', module, order, env: process.env, pidFile, log }));
      await host.first;
    },
    close: () => opened.close(),
  };
}
