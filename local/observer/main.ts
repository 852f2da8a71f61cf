/**
 * A third place that observes both local clouds, as a process of its own:
 * `node local/observer/main.ts --data .holdfast --port-base 4000`. It decides nothing; its word breaks ties.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { observeDeps } from '../../runtime/health.ts';
import { runObserver } from '../../shared/health/monitor.ts';
import { identityOf } from '../identity.ts';
import { portsOf } from '../ports.ts';
import { localModels, wireLocal } from '../wire.ts';

const { values } = parseArgs({
  options: { data: { type: 'string', default: '.holdfast' }, 'port-base': { type: 'string', default: '4000' } },
});
// One after the other: loaded at the same moment, the two halves of the Azure SDK cannot find each other.
await import('@azure/storage-blob');
await import('@azure/service-bus');
const data = resolve(values.data);
const { core, config, close } = await wireLocal(
  data,
  portsOf(Number(values['port-base'])),
  identityOf(data),
  'observer',
);
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
process.once('disconnect', () => stop.abort());
// A terminal's Ctrl-C reaches every process; where there is a parent, it says who ends when.
process.on('SIGINT', process.send ? () => {} : () => stop.abort());
process.send?.({ stage: 'ready' });
await runObserver(core, observeDeps(config, 'observer', null, localModels), { signal: stop.signal });
await close();
process.exit(0);
