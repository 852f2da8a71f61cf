import { awsModels } from '../functions-aws/adapters/models.ts';
import { type AwsSite, connectAwsSite, connectS3Stores } from '../functions-aws/adapters/site.ts';
import { assembleCore } from '../runtime/core.ts';
import type { DrillsWire } from '../runtime/drills.ts';
import { once } from '../runtime/lazy.ts';
import { version } from '../runtime/version.ts';
import type { Core } from '../shared/core.ts';
import { ConfigError } from '../shared/errors.ts';
import type { MonitorDeps } from '../shared/health/monitor.ts';
import { functionsBodyBytesMax } from '../shared/limits.ts';
import { azureModels } from './adapters/models.ts';
import { type AzureSite, connectAzureSite } from './adapters/site.ts';

const connect = {
  aws: connectAwsSite,
  azure: connectAzureSite,
  witness: connectS3Stores,
  models: { ...awsModels, ...azureModels },
};
const assembled = once(async () => {
  const { own, ...rest } = await assembleCore<AwsSite | AzureSite>(import.meta.dirname, process.env, connect);
  if (own.cloud === 'azure') return { own, ...rest };
  throw new ConfigError('HOLDFAST_SITE', `HOLDFAST_SITE: '${own.id}' must be a site of Azure: this is Azure Functions`);
});

/** The core of this process, made once; nothing is connected before it is used. */
export const wire = async (): Promise<Core> => (await assembled()).core;

/** With the own site, of which the worker's trigger needs more than the ports tell. */
export const wireSite = async (): Promise<{ core: Core; own: Pick<AzureSite, 'intake' | 'work'> }> => assembled();

/** A request in, a response out, both streamed. */
export type Fetch = (request: Request) => Response | Promise<Response>;

/** What the monitor looks with, and what it does about what it sees. */
export const wireMonitor = once(async (): Promise<MonitorDeps> => {
  const [{ config, core, own }, { observeDeps }, { tendSite }] = await Promise.all([
    assembled(),
    import('../runtime/health.ts'),
    import('../shared/control/tend.ts'),
  ]);
  return {
    ...observeDeps(config, core.self, core.self, connect.models),
    act: (all, seen) => tendSite(all, seen, own.consumers),
  };
});

/** What is needed to run drills, and those that have a schedule. */
export const wireDrills = once(async (): Promise<DrillsWire> => {
  const [{ config, core }, { drillsWire }] = await Promise.all([assembled(), import('../runtime/drills.ts')]);
  return drillsWire(config, core);
});

export const wireApi = once(async (): Promise<Fetch> => {
  const [{ config, core, own }, { createApi }] = await Promise.all([assembled(), import('../shared/api/index.ts')]);
  const checkModel = once(async () => (await import('../runtime/check-model.ts')).modelChecker(config, connect.models));
  const app = createApi(core, {
    bodyBytesMax: functionsBodyBytesMax,
    presign: own.presigners,
    cors: config.cors,
    version,
    checkModel: async (alias, endpoint) => (await checkModel())(alias, endpoint),
  });
  return (request) => app.fetch(request);
});
