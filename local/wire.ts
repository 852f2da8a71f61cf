import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectAwsSite, connectS3Stores } from '../functions-aws/adapters/site.ts';
import { connectAzureSite } from '../functions-azure/adapters/site.ts';
import { assembleCore } from '../runtime/core.ts';
import type { Core } from '../shared/core.ts';
import { localConfig } from './config.ts';
import type { Identity } from './identity.ts';
import type { LocalPorts } from './ports.ts';

/** The core of a tool on this machine, which calls the services themselves and not the routes to them. */
export async function wireLocal(
  dataDir: string,
  ports: LocalPorts,
  identity: Identity,
): Promise<{ core: Core; close(): Promise<void> }> {
  const { source, environment } = localConfig('direct', ports, identity);
  const config = join(dataDir, 'holdfast.config.json');
  writeFileSync(config, JSON.stringify(source, null, 2), { mode: 0o600 });
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(site: T): T => {
    opened.push(site);
    return site;
  };
  const { core } = await assembleCore(
    dataDir,
    { HOLDFAST_LOG: 'error', ...environment, HOLDFAST_CONFIG: config },
    {
      aws: (connection) => keep(connectAwsSite(connection)),
      azure: (connection) => keep(connectAzureSite(connection)) as never,
      witness: (connection) => keep(connectS3Stores(connection)),
    },
  );
  return { core, close: async () => void (await Promise.all(opened.map((site) => site.close()))) };
}
