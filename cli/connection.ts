import { type Command, InvalidArgumentError, Option } from 'commander';
import { type ClientOptions, type CloudName, createClient, type HoldfastClient } from '../client/index.ts';
import { defaultPortBase, portsOf } from '../local/ports.ts';
import { CliError, exitCodes } from './exit.ts';
import type { Io } from './io.ts';
import { text } from './text.ts';

/** The key that both local clouds know. */
export const localKey = 'hf_local_operator';

/** Flags of every command that talks to the clouds. */
export interface ConnectionFlags {
  aws?: string;
  azure?: string;
  key?: string;
  portBase?: number;
}

export interface Connection {
  aws: string;
  azure: string;
  key: string;
}

/** Adds the flags that say where the clouds are. */
export function withConnection(command: Command): Command {
  return command
    .addOption(new Option('--aws <url>', 'API of the AWS side (or HOLDFAST_AWS_URL)'))
    .addOption(new Option('--azure <url>', 'API of the Azure side (or HOLDFAST_AZURE_URL)'))
    .addOption(new Option('--key <key>', 'API key; HOLDFAST_KEY keeps it out of process lists'))
    .addOption(portBaseOption());
}

export function portBaseOption(): Option {
  return new Option('--port-base <port>', `first port of the local clouds (default: ${defaultPortBase})`).argParser(
    parsePortBase,
  );
}

/** @throws InvalidArgumentError */
export function parsePortBase(value: string): number {
  const port = Number(value);
  if (!/^\d+$/.test(value) || port < 1024 || port > 65_000)
    throw new InvalidArgumentError('It must be a whole number from 1024 to 65000.');
  return port;
}

/** Flags, then environment, then the local clouds. @throws CliError for what is no address */
export function connectionOf(flags: ConnectionFlags, env: Io['env']): Connection {
  const local = portsOf(flags.portBase ?? defaultPortBase);
  return {
    aws: address('--aws', 'HOLDFAST_AWS_URL', flags.aws, flags.portBase, env, local.aws.api),
    azure: address('--azure', 'HOLDFAST_AZURE_URL', flags.azure, flags.portBase, env, local.azure.api),
    key: flags.key ?? (env.HOLDFAST_KEY || localKey),
  };
}

function address(
  flag: string,
  variable: string,
  flagged: string | undefined,
  portBase: number | undefined,
  env: Io['env'],
  localPort: number,
): string {
  // A port base on the command line means the local clouds, whatever the environment says.
  const fromEnv = portBase === undefined ? env[variable] || undefined : undefined;
  const given = flagged ?? fromEnv ?? `http://127.0.0.1:${localPort}/v1`;
  const url = URL.parse(given);
  const named = flagged !== undefined ? flag : variable;
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new CliError(exitCodes.usage, text`${named}: '${given}' is not an http or https address`);
  if (url.username !== '' || url.password !== '' || url.search !== '')
    throw new CliError(
      exitCodes.usage,
      text`${named}: the address must hold neither user nor query; the key goes in HOLDFAST_KEY`,
    );
  return `${url.origin}${url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')}/v1`;
}

/** A client of both clouds, or of the one that was asked for. */
export function connect(
  connection: Connection,
  options: Pick<ClientOptions, 'prefer' | 'retryForMs' | 'answerMs' | 'onRetry'> & { cloud?: CloudName | 'auto' } = {},
): HoldfastClient {
  const { cloud = 'auto', ...more } = options;
  const { aws, azure, key } = connection;
  return createClient({
    key,
    retryForMs: 5_000,
    ...(cloud !== 'azure' && { aws }),
    ...(cloud !== 'aws' && { azure }),
    ...more,
  });
}
