import type { BackendReply } from '../shared/inference/backend.ts';
import { smallestRequest } from '../shared/inference/smallest.ts';
import type { Endpoint } from '../shared/journal/facts.ts';
import type { ServedModel } from './backends.ts';

/** Asks a model for as little as it can give: a word, or one short text to embed. */
export function probeModel(
  { backend, model }: ServedModel,
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<BackendReply> {
  return backend.call({ endpoint, body: { model, ...smallestRequest[endpoint] }, signal });
}
