import type { BackendReply } from '../shared/inference/backend.ts';
import type { Endpoint } from '../shared/journal/facts.ts';
import type { JsonObject } from '../shared/journal/json.ts';
import type { ServedModel } from './backends.ts';

/** Asks a model for as little as it can give: one token, or one short text to embed. */
export function probeModel(
  { backend, model }: ServedModel,
  endpoint: Endpoint,
  signal: AbortSignal,
): Promise<BackendReply> {
  return backend.call({ endpoint, body: { model, ...smallest[endpoint] }, signal });
}

const smallest: Readonly<Record<Endpoint, JsonObject>> = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 },
  // Fewer output tokens are refused. @source https://platform.openai.com/docs/api-reference/responses/create 2026-08
  '/v1/responses': { input: 'hi', max_output_tokens: 16 },
  '/v1/embeddings': { input: 'hi' },
};
