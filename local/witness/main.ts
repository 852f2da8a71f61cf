/** The local witness as a process of its own: `node local/witness/main.ts --port 4300 --data DIR`. */
import { parseArgs } from 'node:util';
import { createFaultBoard } from '../faults/board.ts';
import { serveFaults } from '../faults/server.ts';
import { lockDirectory } from '../lock.ts';
import { startProxy } from '../proxy/index.ts';
import { startWitness, WITNESS_BUCKETS } from './index.ts';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    data: { type: 'string' },
    'observer-port': { type: 'string', default: '0' },
    'faults-port': { type: 'string', default: '0' },
  },
});
const port = Number(values.port);
if (values.data === undefined || !Number.isInteger(port)) {
  console.error('usage: node local/witness/main.ts --port N --data DIR');
  process.exit(2);
}
/** Tells the process that started this one, if one did. */
const tell = (message: object, told = () => {}) => (process.send ? process.send(message, told) : told());

try {
  const { data } = values;
  const unlock = lockDirectory(data);
  const witness = await startWitness({ port, dataDir: data });
  const faults = await withFaults(witness.port);
  const end = () =>
    void Promise.all([witness.close(), faults.close()]).then(() => {
      unlock();
      process.exit(0);
    });
  process.once('SIGTERM', end);
  process.once('disconnect', end);
  // A terminal's Ctrl-C reaches every process; where there is a parent, it says who ends when.
  process.on('SIGINT', process.send ? () => {} : end);
  tell({ stage: 'ready' });
  if (!process.send)
    console.log(JSON.stringify({ ready: true, url: witness.endpoint, pid: process.pid, buckets: WITNESS_BUCKETS }));
} catch (error) {
  const { key, code, message } = error as { key?: string; code?: string; message: string };
  const taken = code === 'EADDRINUSE';
  console.error(message);
  tell(
    { stage: 'failed', key: taken ? 'port' : key, error: taken ? `cannot listen: ${message} (witness)` : message },
    () => process.exit(1),
  );
}

/** A route for whoever observes from a third place, and the switch that breaks it. */
async function withFaults(port: number): Promise<{ close(): Promise<unknown> }> {
  const proxy = await startProxy([
    {
      from: 'observer',
      site: 'witness',
      service: 'store',
      protocol: 's3',
      port: Number(values['observer-port']),
      target: () => ({ host: '127.0.0.1', port }),
    },
  ]);
  // After the answer is out.
  const kill = () => void setTimeout(() => process.kill(process.pid, 'SIGKILL'), 50);
  const served = await serveFaults(createFaultBoard({ site: 'witness', proxy, kill }), Number(values['faults-port']));
  return { close: () => Promise.all([served.close(), proxy.close()]) };
}
