import type { TokenProvider } from '../../shared/inference/token.ts';

/** Ways to reach models that need Azure's SDK, from either cloud; each loads its part of it when it is first called. */
export const azureModels = {
  entraTokens: async (scope: string): Promise<TokenProvider> => (await import('./tokens.ts')).entraTokens(scope),
};
