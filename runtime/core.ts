import { type Environment, type HoldfastConfig, modelCatalog } from '../shared/config/index.ts';
import { controlView } from '../shared/control/log.ts';
import type { Core } from '../shared/core.ts';
import type { BreakerCore } from '../shared/health/breakers.ts';
import type { Log } from '../shared/ports/log.ts';
import type { Site, SiteId, Stores } from '../shared/ports/site.ts';
import type { ModelConnectors } from './backends.ts';
import { readConfig } from './config-file.ts';
import { awsConnection, azureConnection, witnessConnection } from './connections.ts';
import { lazyPort } from './lazy.ts';
import { jsonLog, logLevel } from './log.ts';
import { systemClock, systemIds, systemRandom } from './machine.ts';

/** The adapters, handed in by `wire.ts`. Connecting loads and reaches nothing; the first call of a port does. */
export interface Connectors<S extends Site> {
  aws(connection: ReturnType<typeof awsConnection>): S;
  azure(connection: ReturnType<typeof azureConnection>): S;
  witness(connection: ReturnType<typeof witnessConnection>): Stores;
  models: ModelConnectors;
}

export interface Assembled<S extends Site> {
  config: HoldfastConfig;
  core: Core;
  /** The site of this process, as its adapter made it. */
  own: S;
}

/**
 * The core of this process: the machine's clock and randomness, every site, the witness, and what serves models.
 * @param besides folder of the bundle, where the configuration is looked for
 * @throws ConfigError if it does not hold
 */
export async function assembleCore<S extends Site>(
  besides: string,
  env: Environment,
  connect: Connectors<S>,
): Promise<Assembled<S>> {
  const config = await readConfig(besides, env);
  const log = jsonLog(logLevel(env.HOLDFAST_LOG), { site: config.self });
  const sites = new Map(
    Object.entries(config.sites).map(([id, site]): [SiteId, S] => [
      id,
      site.cloud === 'aws'
        ? connect.aws(awsConnection(id, site, config))
        : connect.azure(azureConnection(id, site, config)),
    ]),
  );
  const base = {
    self: config.self,
    sites,
    ...(config.witness !== null && { witness: connect.witness(witnessConnection(config.witness)) }),
    ...(config.witness?.contentKey && { witnessKey: Buffer.from(config.witness.contentKey, 'base64') }),
    clock: systemClock,
    random: systemRandom,
    ids: systemIds,
    log,
    settings: config.settings,
    models: modelCatalog(config),
  };
  return {
    config,
    core: {
      ...base,
      control: controlView(base),
      batching: lazyPort({}, () => batchingCore(config, connect.models, base)),
      callbacks: lazyPort({}, () => callbacks(config, log)),
    },
    own: sites.get(config.self)!,
  };
}

/** Loaded by the first chunk: the front door and the monitor call no model. */
async function batchingCore(config: HoldfastConfig, connectors: ModelConnectors, core: BreakerCore) {
  const [{ createBatchingCore }, { breakerBoard }, { backendsOf }] = await Promise.all([
    import('../shared/batching/engine.ts'),
    import('../shared/health/breakers.ts'),
    import('./backends.ts'),
  ]);
  const { cloud } = config.sites[config.self]!;
  const servedBy = backendsOf(config, connectors);
  return createBatchingCore({
    site: config.self,
    cloud,
    route: (alias) => servedBy(cloud, alias),
    clock: systemClock,
    random: systemRandom,
    ids: systemIds,
    log: core.log,
    breakers: breakerBoard(core),
  });
}

/** Loaded by the first batch that ends. */
async function callbacks({ network, webhooks }: HoldfastConfig, log: Log) {
  const [{ createCallbacks }, { systemLookup, systemPost }] = await Promise.all([
    import('../shared/api/webhooks.ts'),
    import('./post.ts'),
  ]);
  const rules = { allowPrivate: network.allowPrivate, lookup: systemLookup };
  return createCallbacks({ webhooks, rules, post: systemPost, clock: systemClock, log });
}
