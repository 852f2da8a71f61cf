/** The Lambda host as a process of its own: told over IPC which functions to run, it answers where it listens. */
import { hostLog } from '../log.ts';
import { type HostSwitch, orderFromParent, tellParent } from '../parent.ts';
import { type LambdaHostOptions, startLambdaHost } from './host.ts';

/** What the parent orders. */
export type LambdaOrder = Omit<LambdaHostOptions, 'log'>;

/** What it answers. */
export interface LambdaReady {
  ready: true;
  urlPort?: number;
  controlPort: number;
}

const order = await orderFromParent<LambdaOrder>();
const host = await startLambdaHost({ ...order, log: hostLog('lambda') });
process.once('SIGTERM', () => void host.close().finally(() => process.exit(0)));
process.on('message', ({ polls }: HostSwitch) => host.setPolling(polls));
tellParent({ ready: true, urlPort: host.urlPort, controlPort: host.controlPort } satisfies LambdaReady);
