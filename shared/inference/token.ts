import type { DurationMs, EpochMs } from '../units.ts';

/** A bearer token, and until when it is good. */
export interface AccessToken {
  token: string;
  expiresAt: EpochMs;
}

/** Asks whoever gives out tokens; the shell brings it (`@azure/identity` behind it). */
export type TokenProvider = () => Promise<AccessToken>;

export interface TokenCache {
  /** A token that is good for a while yet. @throws what the provider throws, where none is left that still holds */
  get(): Promise<string>;
  /** Forgets the token at hand: somebody refused it. */
  drop(): void;
}

/**
 * Refreshed so long before its end: an Entra token lives 60 to 90 minutes, and a giver that is down for a while (Azure,
 * March 2021) must not be missed before that.
 * @source https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes (2026-11)
 */
const refreshMs: DurationMs = 10 * 60_000;
/** A token that ends within this is not sent any more: it would end on the way. */
const marginMs: DurationMs = 30_000;
/** After a failed refresh the giver is left alone for so long, while the old token holds. */
const refusedMs: DurationMs = 30_000;

/**
 * Keeps one token for all calls of a process. Many callers at once ask the giver once; a refresh that fails is not
 * noticed while the old token holds.
 */
export function cacheToken(provider: TokenProvider, now: () => EpochMs): TokenCache {
  let known: AccessToken | undefined;
  let asking: Promise<AccessToken> | undefined;
  let askAgainAt = Number.NEGATIVE_INFINITY;
  const ask = () => {
    asking ??= provider()
      .then((token) => {
        known = token;
        return token;
      })
      .catch((error) => {
        askAgainAt = now() + refusedMs;
        throw error;
      })
      .finally(() => {
        asking = undefined;
      });
    return asking;
  };
  return {
    async get() {
      const left = known === undefined ? 0 : known.expiresAt - now();
      if (known === undefined || left <= marginMs) return (await ask()).token;
      if (left <= refreshMs && now() >= askAgainAt) ask().catch(() => {});
      return known.token;
    },
    drop() {
      known = undefined;
    },
  };
}
