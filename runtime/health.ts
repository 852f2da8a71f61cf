import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { backendFor, type HoldfastConfig } from '../shared/config/index.ts';
import { SiteUnavailableError, TransientError } from '../shared/errors.ts';
import type { ObserveDeps } from '../shared/health/observe.ts';
import type { ModelLook } from '../shared/health/probe.ts';
import type { SiteId } from '../shared/ports/site.ts';
import { backendsOf, type ModelConnectors, type ServedModel } from './backends.ts';
import { probeModel } from './probe-model.ts';

/**
 * Ways to look at what no port shows, over this machine's network.
 * @param observer name of the observer; `home`: its site, `null` for a third place
 */
export function observeDeps(
  config: HoldfastConfig,
  observer: string,
  home: SiteId | null,
  connectors: ModelConnectors,
): ObserveDeps {
  const servedBy = backendsOf(config, connectors);
  const canary = config.health.canaries ? canaryJob(config) : undefined;
  return {
    observer,
    home,
    ...(canary !== undefined && { canary }),
    references: config.health.references,
    reachReference: async (url, signal) => void (await freshGet(url, signal)),
    fetchHealth(site, signal) {
      const api = config.sites[site]?.api;
      return api == null ? undefined : answersWell(api.replace(/\/v1\/?$/, '/healthz'), signal);
    },
    probeModel: (site, look, signal) => askModel(servedBy(config.sites[site]!.cloud, look.alias), site, look, signal),
  };
}

/** What canaries and drills ask for: an alias that every cloud serves, one that is named, else any, where `*` serves all. */
export function canaryJob(config: HoldfastConfig): ObserveDeps['canary'] {
  if (config.health.canary !== null) return config.health.canary;
  const clouds = Object.values(config.sites).map(({ cloud }) => cloud);
  const isServed = (alias: string) => clouds.every((cloud) => backendFor(config, cloud, alias) !== undefined);
  const serving = Object.keys(config.models).filter(isServed);
  const [alias] = serving.sort((a, b) => Number(a === '*') - Number(b === '*'));
  return alias === undefined
    ? undefined
    : { model: alias === '*' ? 'canary' : alias, endpoint: '/v1/chat/completions' };
}

async function answersWell(url: string, signal: AbortSignal): Promise<void> {
  const status = await freshGet(url, signal);
  if (status === 200) return;
  const code = status >= 500 ? 'server_error' : 'rejected';
  throw new SiteUnavailableError(code, `${url} answered ${status}`, url);
}

const connectionCodes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused',
  EHOSTUNREACH: 'refused',
  ENETUNREACH: 'refused',
  ENOTFOUND: 'dns',
  EAI_AGAIN: 'dns',
  ETIMEDOUT: 'timeout',
};

/**
 * A GET over a connection of its own: an outage may leave standing connections alone and refuse new ones. Gives the
 * status; the body is thrown away.
 * @throws SiteUnavailableError where there is no answer
 */
export function freshGet(url: string, signal: AbortSignal): Promise<number> {
  const options: RequestOptions = { agent: false, signal, headers: { 'user-agent': 'holdfast-observer' } };
  return new Promise((resolve, reject) => {
    const request = (url.startsWith('https:') ? httpsRequest : httpRequest)(url, options, (response) => {
      resolve(response.statusCode ?? 0);
      response.destroy();
    });
    request.once('error', (cause: NodeJS.ErrnoException) => {
      const code = connectionCodes[cause.code ?? ''] ?? 'connection_lost';
      reject(new SiteUnavailableError(code, `${url}: ${cause.message}`, url, { cause }));
    });
    request.end();
  });
}

/** One word, or one short text to embed; any answer that says that it was served is well. */
async function askModel(
  served: ServedModel | undefined,
  site: SiteId,
  look: ModelLook,
  signal: AbortSignal,
): Promise<void> {
  if (served === undefined) throw new SiteUnavailableError('unserved', `${site} serves no ${look.alias}`, look.alias);
  const { name } = served.backend;
  const reply = await probeModel(served, look.endpoint, signal);
  const failed = (code: string) => new SiteUnavailableError(code, `${look.alias}: ${code}`, name);
  if (reply.kind !== 'answered') throw failed(reply.kind === 'unreachable' ? 'refused' : reply.kind);
  const { status } = reply;
  if (status === 429) throw new TransientError('throttled', `${look.alias}: 429`);
  if (status === 401 || status === 403) throw failed('credentials');
  if (status >= 300) throw failed(status >= 500 ? 'server_error' : 'rejected');
}
