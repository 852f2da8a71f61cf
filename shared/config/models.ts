import type { ModelCatalog } from '../core.ts';
import type { BackendConfig, HoldfastConfig, ModelConfig } from './schema.ts';

type Models = Pick<HoldfastConfig, 'models' | 'sites'>;

/** What the front door and the planner ask of the model map: an alias is served where its cloud has a backend for it. */
export function modelCatalog(config: Models): ModelCatalog {
  return {
    sitesFor(alias) {
      const model = modelOf(config, alias);
      return Object.entries(config.sites)
        .filter(([, { cloud }]) => model?.[cloud] !== undefined)
        .map(([id]) => id);
    },
  };
}

/** The backend of one cloud for an alias, with the model's name there; `undefined` where that cloud does not serve it. */
export function backendFor(
  config: Models,
  cloud: 'aws' | 'azure',
  alias: string,
): (BackendConfig & { model: string }) | undefined {
  const backend = modelOf(config, alias)?.[cloud];
  return backend === undefined ? undefined : { ...backend, model: backend.model ?? alias };
}

/** An alias that is named is served as it says and nowhere else; `*` stands for those that are not. */
function modelOf({ models }: Models, alias: string): ModelConfig | undefined {
  return Object.hasOwn(models, alias) ? models[alias] : models['*'];
}
