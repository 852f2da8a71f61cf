import type { Backend } from '../backend.ts';
import { type Authorize, type OpenAiBackendOptions, openAiBackend } from '../openai.ts';
import { refusal } from '../refusal.ts';

export interface BedrockOpenAiOptions extends Pick<OpenAiBackendOptions, 'name' | 'fetch' | 'now'> {
  /** Up to and including `/v1`. */
  baseUrl: string;
  /** A Bedrock API key, sent as bearer token, or what signs with an AWS identity (SigV4). */
  credential: { apiKey: string } | { sign: Authorize };
}

/**
 * Bedrock's endpoint that speaks the OpenAI protocol: chat and responses. It has no embeddings, so those are refused
 * here, by name.
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html (2026-11)
 */
export function bedrockOpenAiBackend({ credential, ...options }: BedrockOpenAiOptions): Backend {
  const backend = openAiBackend({
    ...options,
    ...('apiKey' in credential ? { apiKey: credential.apiKey } : { authorize: credential.sign }),
  });
  return {
    name: options.name,
    async call(request) {
      if (request.endpoint === '/v1/embeddings')
        return refusal('unsupported_endpoint', null, `${options.name} serves chat and responses, no embeddings.`);
      return backend.call(request);
    },
  };
}
