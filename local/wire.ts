import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { awsModels } from '../functions-aws/adapters/models.ts';
import { connectAwsSite, connectS3Stores } from '../functions-aws/adapters/site.ts';
import { azureModels } from '../functions-azure/adapters/models.ts';
import { connectAzureSite } from '../functions-azure/adapters/site.ts';
import { assembleCore } from '../runtime/core.ts';
import type { HoldfastConfig } from '../shared/config/index.ts';
import type { Core } from '../shared/core.ts';
import { localConfig, type View } from './config.ts';
import type { Identity } from './identity.ts';
import type { LocalPorts } from './ports.ts';

/** How processes of this machine reach models with a vendor's SDK. */
export const localModels = { ...awsModels, ...azureModels };

/**
 * The core of a tool on this machine.
 * @param view default `direct`: it calls the services themselves and not the routes to them
 */
export async function wireLocal(
  dataDir: string,
  ports: LocalPorts,
  identity: Identity,
  view: View = 'direct',
): Promise<{ core: Core; config: HoldfastConfig; close(): Promise<void> }> {
  const { source, environment } = localConfig(view, ports, identity);
  const file = join(dataDir, view === 'direct' ? 'holdfast.config.json' : `${view}.config.json`);
  writeFileSync(file, JSON.stringify(source, null, 2), { mode: 0o600 });
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(site: T): T => {
    opened.push(site);
    return site;
  };
  const { core, config } = await assembleCore(
    dataDir,
    { HOLDFAST_LOG: 'error', ...environment, HOLDFAST_CONFIG: file },
    {
      aws: (connection) => keep(connectAwsSite(connection)),
      azure: (connection) => keep(connectAzureSite(connection)) as never,
      witness: (connection) => keep(connectS3Stores(connection)),
      models: localModels,
    },
  );
  return { core, config, close: async () => void (await Promise.all(opened.map((site) => site.close()))) };
}
