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

/** @source https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html (2026-11) */
export function bedrockBaseUrl(region: string): string {
  return `https://bedrock-runtime.${region}.amazonaws.com/openai/v1`;
}

/**
 * Service that a signature is scoped to: the older endpoint at `bedrock-mantle.REGION.api.aws` is one of its own.
 * @source https://docs.aws.amazon.com/bedrock/latest/userguide/bedrock-mantle.html (2026-11)
 */
export function signingService(url: string): 'bedrock' | 'bedrock-mantle' {
  return URL.parse(url)?.hostname.startsWith('bedrock-mantle.') ? 'bedrock-mantle' : 'bedrock';
}
