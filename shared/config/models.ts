import type { ModelBackend, ModelCatalog, ModelEntry } from '../core.ts';
import { azureBaseUrl, bedrockBaseUrl } from '../inference/base-url.ts';
import { embeddingFormatOf, embeddingRules } from '../inference/bedrock/embedding-formats.ts';
import type { Endpoint } from '../journal/facts.ts';
import type { BackendConfig, BackendKind, BackendLimits, Cloud, ModelConfig } from './models-schema.ts';
import type { HoldfastConfig } from './schema.ts';

type Models = Pick<HoldfastConfig, 'models' | 'sites'>;

/** What the front door, the planner and the operators ask of the model map. */
export function modelCatalog(config: Models): ModelCatalog {
  return {
    sitesFor(alias, endpoint) {
      const serving = permittedClouds(modelOf(config, alias)).filter((cloud) =>
        servesEndpoint(modelOf(config, alias)![cloud]!.kind, endpoint),
      );
      return Object.entries(config.sites)
        .filter(([, { cloud }]) => serving.includes(cloud))
        .map(([id]) => id);
    },
    aliases: () => Object.keys(config.models),
    entryOf: (alias) => {
      const model = modelOf(config, alias);
      return model === undefined ? undefined : entryOf(alias, model);
    },
  };
}

/** The backend of one cloud for an alias, with the model's name there; `undefined` where that cloud may not serve it. */
export function backendFor(
  config: Models,
  cloud: Cloud,
  alias: string,
): (BackendConfig & { model: string }) | undefined {
  const model = modelOf(config, alias);
  const backend = permittedClouds(model).includes(cloud) ? model?.[cloud] : undefined;
  return backend === undefined ? undefined : { ...backend, model: backend.model ?? alias };
}

/**
 * Clouds whose backend may serve an alias: those that the entry permits, and whose backend is equivalent, by the entry's
 * policy, to that of the first of them. Two batches of one alias are so never served by models that may not stand in for
 * each other, and work can move between all that are given here.
 */
export function permittedClouds(model: ModelConfig | undefined): Cloud[] {
  if (model === undefined) return [];
  const serving = model.clouds.filter((cloud) => model[cloud] !== undefined);
  const [first] = serving;
  return first === undefined ? [] : serving.filter((cloud) => isEquivalent(model.policy, model[first]!, model[cloud]!));
}

/**
 * Whether one backend may stand in for the other. What neither says of itself is vouched for by whoever wrote both under
 * one alias; what only one says is not known of the other, and does not count as equal.
 */
function isEquivalent(policy: ModelConfig['policy'], a: BackendConfig, b: BackendConfig): boolean {
  if (policy === 'any' || a === b) return true;
  if (policy === 'same_model') return a.identity === b.identity;
  return a.identity !== null && a.identity === b.identity ? true : a.family === b.family;
}

/** Endpoints that a kind of backend has at all. */
export function servesEndpoint(kind: BackendKind, endpoint: Endpoint): boolean {
  if (kind === 'bedrock') return endpoint !== '/v1/responses';
  return kind !== 'bedrock-openai' || endpoint !== '/v1/embeddings';
}

/** The limits of a backend: what the map says, and what is known of the model's own API. */
export function limitsOf(backend: BackendConfig, alias: string): BackendLimits {
  if (backend.kind !== 'bedrock') return backend.limits;
  const format = backend.embeddingFormat ?? embeddingFormatOf(backend.model ?? alias);
  return format === undefined ? backend.limits : { inputsMax: embeddingRules[format].inputsMax, ...backend.limits };
}

/** Where a backend is reached. */
export function addressOf(backend: BackendConfig): string {
  switch (backend.kind) {
    case 'openai':
      return backend.url;
    case 'azure-openai':
      return azureBaseUrl(backend.url);
    case 'bedrock-openai':
      return backend.url ?? bedrockBaseUrl(backend.region);
    case 'bedrock':
      return backend.url ?? `https://bedrock-runtime.${backend.region}.amazonaws.com`;
  }
}

/** An alias that is named is served as it says and nowhere else; `*` stands for those that are not. */
function modelOf({ models }: Models, alias: string): ModelConfig | undefined {
  return Object.hasOwn(models, alias) ? models[alias] : models['*'];
}

function entryOf(alias: string, model: ModelConfig): ModelEntry {
  const permitted = permittedClouds(model);
  const { policy, clouds, placement, weights, unplaced } = model;
  const backends = (['aws', 'azure'] as const).flatMap((cloud): ModelBackend[] => {
    const backend = model[cloud];
    if (backend === undefined) return [];
    const { kind, name, identity, family, price } = backend;
    return [
      {
        cloud,
        kind,
        name,
        address: addressOf(backend),
        model: backend.model ?? alias,
        identity,
        family,
        limits: limitsOf(backend, alias),
        price,
        isPermitted: permitted.includes(cloud),
      },
    ];
  });
  return { alias, policy, clouds, placement, weights, unplaced, backends };
}
