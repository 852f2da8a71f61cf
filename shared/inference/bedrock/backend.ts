import type { Json, JsonObject } from '../../journal/json.ts';
import type { EpochMs } from '../../units.ts';
import type { Backend, BackendReply, BackendRequest } from '../backend.ts';
import { refusal, refusalOf } from '../refusal.ts';
import { chatAnswer } from './chat-answer.ts';
import { converseRequest } from './chat-request.ts';
import type { ConverseRequest } from './converse.ts';
import type { EmbeddingFormat, InputType } from './embedding-formats.ts';
import { type EmbeddingsPlan, embeddingsAnswer, embeddingsPlan, embeddingVectors } from './embeddings.ts';

/** A call of Bedrock Runtime that was answered well; anything else is a reply already. */
export type BedrockAnswer = { body: Json; requestId: string; inputTokens?: number } | { reply: BackendReply };

/** Bedrock Runtime as its SDK reaches it; neither method rejects. */
export interface BedrockTransport {
  converse(request: ConverseRequest, signal: AbortSignal): Promise<BedrockAnswer>;
  invokeModel(modelId: string, body: JsonObject, signal: AbortSignal): Promise<BedrockAnswer>;
}

export interface BedrockBackendOptions {
  name: string;
  transport: BedrockTransport;
  now: () => EpochMs;
  /** How the embedding model is spoken to. `null`: its id tells. */
  embeddingFormat: EmbeddingFormat | null;
  /** What Cohere's embeddings are for. */
  inputType: InputType;
}

/** Calls that one request of many texts has under way at once, where the model takes them one by one. */
const parallel = 4;

/** Bedrock's own API: Converse for chat, InvokeModel for embeddings. Responses are refused, by name. */
export function bedrockBackend(options: BedrockBackendOptions): Backend {
  return {
    name: options.name,
    async call(request) {
      try {
        if (request.endpoint === '/v1/chat/completions') return await chat(options, request);
        if (request.endpoint === '/v1/embeddings') return await embed(options, request);
        return refusal('unsupported_endpoint', null, `${options.name} serves chat and embeddings, no responses.`);
      } catch (error) {
        return refusalOf(error);
      }
    },
  };
}

async function chat({ transport, now }: BedrockBackendOptions, request: BackendRequest): Promise<BackendReply> {
  const asked = converseRequest(request.body);
  const answer = await transport.converse(asked, request.signal);
  return 'reply' in answer ? answer.reply : chatAnswer(answer.body, asked.modelId, answer.requestId, now());
}

async function embed(options: BedrockBackendOptions, request: BackendRequest): Promise<BackendReply> {
  const { embeddingFormat: format, inputType } = options;
  const plan = embeddingsPlan(request.body, { format, inputType });
  const stop = new AbortController();
  const signal = AbortSignal.any([request.signal, stop.signal]);
  const parts: EmbeddedPart[] = new Array(plan.calls.length);
  let failed: BackendReply | undefined;
  let next = 0;
  const walk = async () => {
    while (next < plan.calls.length && failed === undefined) {
      const index = next++;
      const part = await embedPart(options.transport, plan, plan.calls[index]!, signal);
      if (!('reply' in part)) parts[index] = part;
      else {
        // The first failure is the answer; those it cuts off would only say that they were cut off.
        failed ??= part.reply;
        stop.abort();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, plan.calls.length) }, walk));
  if (failed !== undefined) return failed;
  const counts = parts.map(({ tokens }) => tokens);
  const tokens = counts.every((count) => count !== undefined)
    ? counts.reduce((sum, count) => sum + count, 0)
    : undefined;
  const body = embeddingsAnswer(
    plan,
    parts.flatMap(({ vectors }) => vectors),
    tokens,
  );
  return { kind: 'answered', status: 200, requestId: parts[0]!.requestId, body };
}

interface EmbeddedPart {
  vectors: number[][];
  tokens: number | undefined;
  requestId: string;
}

async function embedPart(
  transport: BedrockTransport,
  { modelId, format }: EmbeddingsPlan,
  { body, inputs }: EmbeddingsPlan['calls'][number],
  signal: AbortSignal,
): Promise<EmbeddedPart | { reply: BackendReply }> {
  const answer = await transport.invokeModel(modelId, body, signal);
  if ('reply' in answer) return answer;
  const found = embeddingVectors(answer.body, format, inputs);
  if (found === undefined)
    return { reply: { kind: 'malformed', status: 200, detail: `not one embedding for each of ${inputs} texts` } };
  return { vectors: found.vectors, tokens: found.tokens ?? answer.inputTokens, requestId: answer.requestId };
}
