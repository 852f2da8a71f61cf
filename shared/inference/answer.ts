import { type Endpoint, noUsage, type Usage } from '../journal/facts.ts';
import type { Json, JsonObject } from '../journal/json.ts';

/** Tokens as the endpoint reports them; zero where it says nothing sensible. */
export function usageOf(body: Json): Usage {
  const usage = objectOf(objectOf(body)?.usage);
  if (usage === undefined) return { ...noUsage };
  const inputDetails = objectOf(usage.prompt_tokens_details) ?? objectOf(usage.input_tokens_details);
  const outputDetails = objectOf(usage.completion_tokens_details) ?? objectOf(usage.output_tokens_details);
  return {
    inputTokens: count(usage.prompt_tokens ?? usage.input_tokens),
    cachedTokens: count(inputDetails?.cached_tokens),
    outputTokens: count(usage.completion_tokens ?? usage.output_tokens),
    reasoningTokens: count(outputDetails?.reasoning_tokens),
  };
}

/** The model that says it answered, else the one that was asked. */
export function modelOf(body: Json, asked: string): string {
  const model = objectOf(body)?.model;
  return typeof model === 'string' && model !== '' ? model.slice(0, 256) : asked;
}

/** What is wrong with the shape of a good answer; `undefined` if nothing. Embeddings are checked where they are packed. */
export function shapeFault(endpoint: Endpoint, body: Json): string | undefined {
  const answer = objectOf(body);
  if (answer === undefined) return 'not an object';
  if (endpoint === '/v1/chat/completions')
    return Array.isArray(answer.choices) && answer.choices.length > 0 ? undefined : 'no choices';
  if (endpoint === '/v1/responses') return Array.isArray(answer.output) ? undefined : 'no output';
  return Array.isArray(answer.data) ? undefined : 'no data';
}

export function objectOf(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
}

function count(value: Json | undefined): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
