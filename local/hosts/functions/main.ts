/** The Functions host as a process of its own: told over IPC what to load, it answers where it listens. */
import { hostLog } from '../log.ts';
import { type HostSwitch, orderFromParent, tellParent } from '../parent.ts';
import { startFunctionsHost } from './host.ts';

/** What the parent orders. App settings are the process's environment. */
export interface FunctionsOrder {
  bundle: string;
  hostJson: string;
  port?: number;
}

/** What it answers. */
export interface FunctionsReady {
  ready: true;
  port: number;
  functions: readonly string[];
}

const log = hostLog('functions');
const order = await orderFromParent<FunctionsOrder>();
const host = await startFunctionsHost({
  ...order,
  env: process.env,
  log,
  onTimeout: (name) => {
    log.error('invocation.timedOut', { function: name });
    process.exit(1);
  },
});
process.once('SIGTERM', () => void host.close().finally(() => process.exit(0)));
process.on('message', ({ polls }: HostSwitch) => host.setPolling(polls));
tellParent({ ready: true, port: host.port, functions: host.functions } satisfies FunctionsReady);
