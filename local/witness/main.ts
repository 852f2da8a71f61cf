/** The local witness as a process of its own: `node local/witness/main.ts --port 4300 --data DIR`. */
import { parseArgs } from 'node:util';
import { startWitness, WITNESS_BUCKETS } from './index.ts';

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' }, data: { type: 'string' } } });
const port = Number(values.port);
if (values.data === undefined || !Number.isInteger(port)) {
  console.error('usage: node local/witness/main.ts --port N --data DIR');
  process.exit(2);
}
const end = () => void witness.close().then(() => process.exit(0));
const witness = await startWitness({ port, dataDir: values.data });
process.once('SIGTERM', end);
if (process.send) {
  // Ends with its parent, which also says when Ctrl-C ends it.
  process.once('disconnect', end);
  process.on('SIGINT', () => {});
  process.send({ stage: 'ready', url: witness.endpoint, pid: process.pid });
} else {
  process.once('SIGINT', end);
  console.log(JSON.stringify({ ready: true, url: witness.endpoint, pid: process.pid, buckets: WITNESS_BUCKETS }));
}
