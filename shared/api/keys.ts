import { type ApiKey, factBytes, factVersion, type Role } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { apiKeyKey, apiKeyRevokedKey } from '../journal/keys.ts';
import { type JournalCore, putEverywhere } from '../journal/replicas.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';

/** What an operator says of a new key. */
export interface NewApiKey {
  tenant: string;
  role: Role;
  /** Default: never. */
  expiresAt?: EpochMs | null;
  /** The only site that may hold the payloads of this key; default both. */
  boundTo?: SiteId | null;
  /** The whole bearer secret, where it must be a known one (local clouds). Default: `hf_` and 128 random bits. */
  secret?: string;
}

/** A key and the one moment at which its secret is known. */
export interface CreatedApiKey {
  secret: string;
  key: ApiKey;
  /** Sites that hold the key now; the sweeper brings it to the others. */
  sites: SiteId[];
}

/** Id of a key: the first 16 hex digits of the SHA-256 of its whole secret. */
export function apiKeyId(secret: string): string {
  return sha256(secret).slice(0, 16);
}

/**
 * Writes a key to every site that answers; only its hash is kept. A known secret gives the same fact from whoever
 * creates it, whenever: its time of creation is 1970.
 * @throws SiteUnavailableError where no site took it
 */
export async function createApiKey(core: JournalCore, wanted: NewApiKey): Promise<CreatedApiKey> {
  const secret = wanted.secret ?? `hf_${core.ids.uuid()}`;
  const key: ApiKey = {
    v: factVersion,
    kind: 'apiKey',
    id: apiKeyId(secret),
    secretSha256: sha256(secret),
    tenant: wanted.tenant,
    role: wanted.role,
    createdAt: wanted.secret === undefined ? core.clock.now() : 0,
    expiresAt: wanted.expiresAt ?? null,
    boundTo: wanted.boundTo ?? null,
  };
  return { secret, key, sites: await putWhereverItCan(core, apiKeyKey(key.id), key) };
}

/**
 * Revokes a key in every site that answers; front doors honour it within 60 s. Revoking twice is harmless.
 * @returns the sites that hold the revocation now; the sweeper brings it to the others
 * @throws SiteUnavailableError where no site took it
 */
export function revokeApiKey(core: JournalCore, id: string, by: string): Promise<SiteId[]> {
  const revoked = { v: factVersion, kind: 'apiKeyRevoked', id, at: core.clock.now(), by };
  return putWhereverItCan(core, apiKeyRevokedKey(id), revoked);
}

async function putWhereverItCan(core: JournalCore, key: string, fact: { v: number; kind: string }): Promise<SiteId[]> {
  const { written, failed } = await putEverywhere(core, key, factBytes(fact));
  if (written.length === 0) throw failed[0]?.error;
  for (const { site } of failed) core.log.warn('key.unmirrored', { key, site });
  return written.sort();
}
