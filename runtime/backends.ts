import type { AwsIdentity, BackendConfig, Cloud, HoldfastConfig } from '../shared/config/index.ts';
import { backendFor, limitsOf } from '../shared/config/index.ts';
import type { BackendLimits } from '../shared/core.ts';
import type { Backend } from '../shared/inference/backend.ts';
import { bedrockBaseUrl } from '../shared/inference/base-url.ts';
import type { BedrockTransport } from '../shared/inference/bedrock/backend.ts';
import type { Authorize } from '../shared/inference/openai.ts';
import type { TokenProvider } from '../shared/inference/token.ts';
import { once } from './lazy.ts';
import { systemClock } from './machine.ts';

/** How to reach models with a vendor's SDK: handed in by `wire.ts`, which alone knows adapters. Each loads when called. */
export interface ModelConnectors {
  bedrock(connection: BedrockConnection): Promise<BedrockTransport>;
  awsSigner(identity: Pick<BedrockConnection, 'region' | 'credentials'>): Promise<Authorize>;
  entraTokens(scope: string): Promise<TokenProvider>;
}

interface BedrockConnection {
  region: string;
  endpoint?: string;
  apiKey?: string;
  credentials?: { accessKeyId: string; secretAccessKey: string; sessionToken?: string };
}

/** What serves an alias in one cloud, ready to be called. */
export interface ServedModel {
  backend: Backend;
  /** The model as that backend knows it. */
  model: string;
  limits: BackendLimits;
  kind: BackendConfig['kind'];
}

/**
 * Who serves an alias in a cloud; `undefined` where nobody may. One backend for each server, however many aliases it has:
 * what is learned of its limits is learned once. Nothing is loaded before it is called.
 */
export function backendsOf(
  config: HoldfastConfig,
  connectors: ModelConnectors,
): (cloud: Cloud, alias: string) => ServedModel | undefined {
  const made = new Map<string, Backend>();
  return (cloud, alias) => {
    const served = backendFor(config, cloud, alias);
    if (served === undefined) return undefined;
    const key = serverOf(served);
    const backend = made.get(key) ?? lazyBackend(served, connectors);
    made.set(key, backend);
    return { backend, model: served.model, limits: limitsOf(served, alias), kind: served.kind };
  };
}

/** Everything that two aliases of one server have in common. Holds secrets: a key in memory and nothing else. */
function serverOf({ model: _, identity: _i, family: _f, limits: _l, price: _p, ...server }: BackendConfig): string {
  return JSON.stringify(server);
}

function lazyBackend(config: BackendConfig, connectors: ModelConnectors): Backend {
  const made = once(() => makeBackend(config, connectors));
  return {
    name: config.name,
    async call(request) {
      let backend: Backend;
      try {
        backend = await made();
      } catch (error) {
        return { kind: 'unreachable', detail: `not made: ${String((error as Error)?.message).slice(0, 200)}` };
      }
      return backend.call(request);
    },
  };
}

async function makeBackend(config: BackendConfig, connectors: ModelConnectors): Promise<Backend> {
  const { name, apiKey } = config;
  const http = { name, fetch, now: systemClock.now };
  switch (config.kind) {
    case 'openai': {
      const { openAiBackend } = await import('../shared/inference/openai.ts');
      return openAiBackend({ ...http, baseUrl: config.url, ...(apiKey !== null && { apiKey }) });
    }
    case 'azure-openai': {
      const { azureOpenAiBackend } = await import('../shared/inference/azure-openai.ts');
      const credential = apiKey === null ? { tokens: await connectors.entraTokens(config.scope) } : { apiKey };
      return azureOpenAiBackend({ ...http, url: config.url, credential });
    }
    case 'bedrock-openai': {
      const { bedrockOpenAiBackend } = await import('../shared/inference/bedrock/openai.ts');
      const credential = apiKey === null ? { sign: await connectors.awsSigner(identityOf(config)) } : { apiKey };
      return bedrockOpenAiBackend({ ...http, baseUrl: config.url ?? bedrockBaseUrl(config.region), credential });
    }
    case 'bedrock': {
      const { bedrockBackend } = await import('../shared/inference/bedrock/backend.ts');
      const transport = await connectors.bedrock({
        ...identityOf(config),
        ...(config.url !== null && { endpoint: config.url }),
        ...(apiKey !== null && { apiKey }),
      });
      const { embeddingFormat, inputType } = config;
      return bedrockBackend({ name, transport, now: systemClock.now, embeddingFormat, inputType });
    }
  }
}

function identityOf({ region, credentials }: AwsIdentity): Pick<BedrockConnection, 'region' | 'credentials'> {
  if (credentials === null) return { region };
  const { accessKeyId, secretAccessKey, sessionToken } = credentials;
  return { region, credentials: { accessKeyId, secretAccessKey, ...(sessionToken !== null && { sessionToken }) } };
}
