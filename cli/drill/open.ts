import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { defaultPortBase, portsOf } from '../../local/ports.ts';
import type { DrillDeps } from '../../shared/drill/run.ts';
import type { TurnCore } from '../../shared/drill/turns.ts';
import type { Flags } from '../command.ts';
import { portBaseOption } from '../connection.ts';
import { CliError, exitCodes } from '../exit.ts';
import type { Io } from '../io.ts';
import { text } from '../text.ts';

/** Where the stores are that a drill reads and writes: its verdict is about them, and no API stands between. */
export interface StoresConfig {
  /** Of a deployment; `undefined`: the local clouds. */
  file: string | undefined;
  dataDir: string;
  portBase: number;
}

export function withStores(command: Command): Command {
  return command
    .option('--config <file>', 'the deployed configuration; without it, the local clouds')
    .option('--data <dir>', 'data of the local clouds (default: .holdfast)')
    .addOption(portBaseOption());
}

export const storesConfig = (flags: Flags): StoresConfig => ({
  file: flags.config,
  dataDir: resolve(flags.data ?? '.holdfast'),
  portBase: flags.portBase ?? defaultPortBase,
});

/** The stores of both clouds, and what a drill may do to them. */
export interface OpenStores {
  core: TurnCore;
  deps: Omit<DrillDeps, 'runner'>;
  close(): Promise<void>;
}

/**
 * @param lost the site that a drill takes to fail: another one is asked first
 * @throws CliError where no local clouds were ever started there; ConfigError for a configuration that does not hold
 */
export async function openStores(
  { file, dataDir, portBase }: StoresConfig,
  env: Io['env'],
  lost?: string,
): Promise<OpenStores> {
  const { canaryJob } = await import('../../runtime/health.ts');
  if (file !== undefined) {
    const { wireDeployment } = await import('../wire.ts');
    const site = lost === undefined ? env.HOLDFAST_SITE : ['aws', 'azure'].find((one) => one !== lost);
    const { core, config, close } = await wireDeployment(file, env, site);
    return { core, deps: { job: jobOf(canaryJob(config)) }, close };
  }
  if (!existsSync(join(dataDir, 'identity.json')))
    throw new CliError(exitCodes.unreachable, text`there are no local clouds in ${dataDir}`, [
      text`"holdfast up" starts them; --data says where they keep their data, --config names a deployment.`,
    ]);
  // One after the other: loaded at the same moment, the two halves of the Azure SDK cannot find each other.
  await import('@azure/storage-blob');
  await import('@azure/service-bus');
  const [{ wireLocal }, { identityOf }, { localFaults }] = await Promise.all([
    import('../../local/wire.ts'),
    import('../../local/identity.ts'),
    import('./faults.ts'),
  ]);
  const ports = portsOf(portBase);
  const { core, config, close } = await wireLocal(dataDir, ports, identityOf(dataDir));
  return { core, deps: { job: jobOf(canaryJob(config)), faults: localFaults(ports) }, close };
}

function jobOf(job: DrillDeps['job'] | undefined): DrillDeps['job'] {
  if (job !== undefined) return job;
  throw new CliError(
    exitCodes.usage,
    text`no model is served in both clouds, so no batch of a drill could be taken over`,
  );
}
