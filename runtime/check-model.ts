import type { ModelCheck } from '../shared/api/ops-models.ts';
import { type HoldfastConfig, servesEndpoint } from '../shared/config/index.ts';
import { modelOf } from '../shared/inference/answer.ts';
import type { BackendReply } from '../shared/inference/backend.ts';
import { sortFault } from '../shared/inference/sort-fault.ts';
import { type Endpoint, endpoints } from '../shared/journal/facts.ts';
import type { DurationMs } from '../shared/units.ts';
import { backendsOf, type ModelConnectors } from './backends.ts';
import { probeModel } from './probe-model.ts';

/** One answer of one model must come within this. */
const answerMs: DurationMs = 15_000;

/**
 * Asks this site's backend of an alias for as little as it can give. Without an endpoint, the first that the backend does
 * not refuse: a chat model refuses embeddings, and the other way round.
 */
export function modelChecker(
  config: HoldfastConfig,
  connectors: ModelConnectors,
): (alias: string, endpoint: Endpoint | undefined) => Promise<ModelCheck | undefined> {
  const servedBy = backendsOf(config, connectors);
  const { cloud } = config.sites[config.self]!;
  return async (alias, endpoint) => {
    const served = servedBy(cloud, alias);
    if (served === undefined) return undefined;
    const wanted = endpoint === undefined ? endpoints.filter((one) => servesEndpoint(served.kind, one)) : [endpoint];
    let last: ModelCheck | undefined;
    for (const one of wanted) {
      const startedAt = performance.now();
      const reply = await probeModel(served, one, AbortSignal.timeout(answerMs));
      const sort = sortFault(reply);
      last = {
        alias,
        site: config.self,
        backend: served.backend.name,
        endpoint: one,
        answers: sort === 'good',
        ms: Math.round(performance.now() - startedAt),
        detail: detailOf(reply, served.model),
      };
      if (!mayServeAnother(reply)) return last;
    }
    return last;
  };
}

/** A refusal of this endpoint says nothing about the next; anything else does. */
function mayServeAnother(reply: BackendReply): boolean {
  return reply.kind === 'answered' && [400, 404, 405, 422].includes(reply.status);
}

function detailOf(reply: BackendReply, asked: string): string {
  if (reply.kind === 'timeout') return `no answer within ${answerMs} ms`;
  if (reply.kind === 'unreachable') return `unreachable: ${reply.detail}`;
  if (reply.kind === 'malformed') return `status ${reply.status}: ${reply.detail}`;
  if (sortFault(reply) === 'good') return modelOf(reply.body, asked);
  const error = (reply.body as { error?: { message?: unknown } } | null)?.error;
  return `status ${reply.status}: ${String(error?.message ?? 'no reason given').slice(0, 300)}`;
}
