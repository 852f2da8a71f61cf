import type { Endpoint } from '../journal/facts.ts';
import type { JsonObject } from '../journal/json.ts';

/**
 * The least that can be asked of a model, without its name: whoever refuses this refuses no line for what it says. A chat
 * is held short by its words, since no name of a limit is known to all models: newer ones refuse `max_tokens`, others
 * know nothing else. Responses take no fewer tokens than these.
 * @source https://platform.openai.com/docs/api-reference/chat/create 2026-11 (`max_tokens`)
 * @source https://platform.openai.com/docs/api-reference/responses/create 2026-08 (`max_output_tokens`)
 */
export const smallestRequest: Readonly<Record<Endpoint, JsonObject>> = {
  '/v1/chat/completions': { messages: [{ role: 'user', content: 'Say yes.' }] },
  '/v1/responses': { input: 'Say yes.', max_output_tokens: 16 },
  '/v1/embeddings': { input: 'canary' },
};
