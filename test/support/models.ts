import type { ModelConnectors } from '../../runtime/backends.ts';

/** For configurations that need no vendor's SDK. */
export const noConnectors: ModelConnectors = {
  bedrock: () => Promise.reject(new Error('no Bedrock here')),
  awsSigner: () => Promise.reject(new Error('no AWS identity here')),
  entraTokens: () => Promise.reject(new Error('no Entra identity here')),
};
