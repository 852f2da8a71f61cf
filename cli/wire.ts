import { awsModels } from '../functions-aws/adapters/models.ts';
import { connectAwsSite, connectS3Stores } from '../functions-aws/adapters/site.ts';
import { azureModels } from '../functions-azure/adapters/models.ts';
import { connectAzureSite } from '../functions-azure/adapters/site.ts';
import { assembleCore } from '../runtime/core.ts';
import type { HoldfastConfig } from '../shared/config/index.ts';
import type { Core } from '../shared/core.ts';
import type { Io } from './io.ts';

/** How this process reaches models with a vendor's SDK. */
export const deployedModels = { ...awsModels, ...azureModels };

/** The core of a tool that reaches the stores of a deployment itself, and what closes its connections. */
export interface Wired {
  core: Core;
  config: HoldfastConfig;
  close(): Promise<void>;
}

/**
 * Reads the deployed configuration and connects to what it names.
 * @param file path of the configuration
 * @param site the site that counts as near; default: the first one, as for a third place
 * @throws ConfigError if it is missing or does not hold
 */
export async function wireDeployment(file: string, env: Io['env'], site?: string): Promise<Wired> {
  // One after the other: loaded at the same moment, the two halves of the Azure SDK cannot find each other.
  await import('@azure/storage-blob');
  await import('@azure/service-bus');
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(one: T): T => {
    opened.push(one);
    return one;
  };
  const self = site ?? env.HOLDFAST_SITE ?? 'aws';
  const { core, config } = await assembleCore(
    '.',
    { HOLDFAST_LOG: 'silent', ...env, HOLDFAST_SITE: self, HOLDFAST_CONFIG: file },
    {
      aws: (connection) => keep(connectAwsSite(connection)),
      azure: (connection) => keep(connectAzureSite(connection)) as never,
      witness: (connection) => keep(connectS3Stores(connection)),
      models: deployedModels,
    },
  );
  return { core, config, close: async () => void (await Promise.all(opened.map((one) => one.close()))) };
}
