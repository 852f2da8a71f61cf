import type { TokenCredential } from '@azure/identity';
import { once } from '../../runtime/lazy.ts';

/** Managed identity, workload identity or whatever else this process has; loaded when the first token is asked for. */
export function defaultCredential(): TokenCredential {
  const loaded = once(async () => {
    const { DefaultAzureCredential } = await import('@azure/identity');
    return new DefaultAzureCredential();
  });
  return { getToken: async (scopes, options) => await (await loaded()).getToken(scopes, options) };
}
