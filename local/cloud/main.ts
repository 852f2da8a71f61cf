/**
 * One local cloud as a process of its own: `node local/cloud/main.ts --cloud aws --data .holdfast --port-base 4000`.
 *
 * Services first, then (when the parent says so, if there is one) the functions, in a child process that is started
 * again whenever it dies. Killing this process and its children is the total loss of a cloud; its data stays.
 */
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigError, codeOf } from '../../shared/errors.ts';
import { errorText, hostLog } from '../hosts/log.ts';
import { identityOf } from '../identity.ts';
import { lockDirectory } from '../lock.ts';
import { portsOf } from '../ports.ts';
import type { Cloud, CloudOptions } from './cloud.ts';

/** What the process tells its parent. */
export type CloudMessage =
  | { stage: 'services' }
  | { stage: 'ready'; api: string; pid: number }
  | { stage: 'failed'; key?: string; error: string };

/** What the parent tells it, after `services`: the first control entry stands, functions may start. */
export type CloudOrder = { start: 'functions' };

const { values } = parseArgs({
  options: {
    cloud: { type: 'string' },
    data: { type: 'string', default: '.holdfast' },
    'port-base': { type: 'string', default: '4000' },
    bundles: { type: 'string' },
  },
});
const tell = (message: CloudMessage, told = () => {}) => (process.send ? process.send(message, told) : told());

try {
  await run();
} catch (error) {
  console.error(codeOf(error) === 'config_invalid' ? (error as Error).message : errorText(error));
  const { key, message } = error as ConfigError;
  tell({ stage: 'failed', key, error: message }, () => process.exit(1));
}

async function run(): Promise<void> {
  const name = values.cloud;
  if (name !== 'aws' && name !== 'azure') throw new ConfigError('cloud', 'cloud: must be aws or azure');
  const ports = portsOf(Number(values['port-base']));
  const data = resolve(values.data);
  const dataDir = join(data, name);
  const unlock = lockDirectory(dataDir);
  const { bundles } = values;
  const options: CloudOptions = { dataDir, ports, identity: identityOf(data), bundles, log: hostLog(name) };
  const ordered = functionsOrdered();
  const cloud = await start(name, options);
  endWithParent(cloud, unlock);
  tell({ stage: 'services' });
  await ordered;
  await cloud.startFunctions();
  const ready = { stage: 'ready', api: `http://127.0.0.1:${ports[name].api}/v1`, pid: process.pid } as const;
  if (process.send) tell(ready);
  else console.log(JSON.stringify({ [name]: { api: ready.api, pid: ready.pid } }));
}

async function start(name: 'aws' | 'azure', options: CloudOptions): Promise<Cloud> {
  if (name === 'aws') return (await import('./aws.ts')).startAws(options);
  return (await import('./azure.ts')).startAzure(options);
}

function functionsOrdered(): Promise<unknown> {
  return process.send ? new Promise((resolve) => process.once('message', resolve)) : Promise.resolve();
}

/** Ends when the parent is gone, or says so; by itself, on Ctrl-C. */
function endWithParent(cloud: Cloud, unlock: () => void): void {
  const end = () =>
    void cloud.close().finally(() => {
      unlock();
      process.exit(0);
    });
  process.once('SIGTERM', end);
  if (process.send) {
    process.once('disconnect', end);
    // A terminal's Ctrl-C reaches every process; the parent says who ends when.
    process.on('SIGINT', () => {});
  } else process.once('SIGINT', end);
}
