import type { TokenProvider } from '../../shared/inference/token.ts';
import { defaultCredential } from './credential.ts';

/**
 * Entra tokens for one scope, from the identity of this process.
 * @param scope `https://…/.default`
 * @throws what the SDK throws where no identity is found
 */
export function entraTokens(scope: string): TokenProvider {
  const credential = defaultCredential();
  return async () => {
    const found = await credential.getToken(scope);
    if (found === null) throw new Error('no Entra identity gives a token');
    return { token: found.token, expiresAt: found.expiresOnTimestamp };
  };
}
