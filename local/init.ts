import { createApiKey } from '../shared/api/keys.ts';
import { initControl } from '../shared/control/log.ts';
import { REGIONS } from './config.ts';
import type { Identity } from './identity.ts';
import type { LocalPorts } from './ports.ts';
import { wireLocal } from './wire.ts';

/** The key of whoever sits at this machine. No secret: it opens nothing but the local clouds. */
export const operatorKey = 'hf_local_operator';
/** The key of the canary, whose batches are not in the operator's lists. */
export const canaryKey = 'hf_local_canary';

/**
 * What both stores and the witness must hold before any function runs: the first control entry and the keys. Done again
 * at every start, it changes nothing.
 * @throws ConfigError where a store was emptied, and may not vote as what it was
 */
export async function initLocal(dataDir: string, ports: LocalPorts, identity: Identity): Promise<void> {
  const { core, close } = await wireLocal(dataDir, ports, identity);
  try {
    const { aws, azure, witness } = identity.incarnations;
    await initControl(core, {
      sites: { aws: { cloud: 'aws', region: REGIONS.aws }, azure: { cloud: 'azure', region: REGIONS.azure } },
      voters: [
        { store: 'aws', incarnation: aws },
        { store: 'azure', incarnation: azure },
        { store: 'witness', incarnation: witness },
      ],
      actor: 'holdfast up',
      reason: 'first start of the local clouds',
    });
    await createApiKey(core, { tenant: 'local', role: 'operator', secret: operatorKey });
    await createApiKey(core, { tenant: 'canary', role: 'submitter', secret: canaryKey });
  } finally {
    await close();
  }
}
