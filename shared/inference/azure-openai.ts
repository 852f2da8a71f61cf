import type { Backend } from './backend.ts';
import { azureBaseUrl } from './base-url.ts';
import { type OpenAiBackendOptions, openAiBackend } from './openai.ts';
import { cacheToken, type TokenProvider } from './token.ts';

export interface AzureOpenAiOptions extends Pick<OpenAiBackendOptions, 'name' | 'fetch' | 'now'> {
  /** Address of the resource, with or without `/openai/v1`. */
  url: string;
  /** A key of the resource, or what gives Entra tokens for it. */
  credential: { apiKey: string } | { tokens: TokenProvider };
}

/**
 * Azure OpenAI by its v1 API: no `api-version`, and the model is the name of a deployment. A key goes into a header of
 * its own, an Entra token is a bearer token; one that is refused is not sent again.
 * @source https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle (2026-11)
 */
export function azureOpenAiBackend({ url, credential, ...options }: AzureOpenAiOptions): Backend {
  const baseUrl = azureBaseUrl(url);
  if ('apiKey' in credential)
    return openAiBackend({ ...options, baseUrl, authorize: async () => ({ 'api-key': credential.apiKey }) });
  const tokens = cacheToken(credential.tokens, options.now);
  const backend = openAiBackend({
    ...options,
    baseUrl,
    authorize: async () => ({ authorization: `Bearer ${await tokens.get()}` }),
  });
  return {
    name: options.name,
    async call(request) {
      const reply = await backend.call(request);
      if ('status' in reply && reply.status === 401) tokens.drop();
      return reply;
    },
  };
}
