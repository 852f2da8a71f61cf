/** The local witness as a process of its own: `node local/witness/main.ts --port 4300 --data DIR`. */
import { parseArgs } from 'node:util';
import { startWitness, WITNESS_BUCKETS } from './index.ts';

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' }, data: { type: 'string' } } });
const port = Number(values.port);
if (values.data === undefined || !Number.isInteger(port)) {
  console.error('usage: node local/witness/main.ts --port N --data DIR');
  process.exit(2);
}
const witness = await startWitness({ port, dataDir: values.data });
console.log(JSON.stringify({ ready: true, url: witness.endpoint, pid: process.pid, buckets: WITNESS_BUCKETS }));
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void witness.close().then(() => process.exit(0)));
}
