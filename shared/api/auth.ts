import { timingSafeEqual } from 'node:crypto';
import { type ApiKey, apiKeySchema, type Role } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { apiKeyKey, apiKeyRevokedKey, keysPrefix } from '../journal/keys.ts';
import { bounded, type JournalCore, readFact } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId, Stores } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { ApiError } from './errors.ts';

/** Who is asking, as the key says. */
export interface Principal {
  keyId: string;
  tenant: string;
  role: Role;
  /** The only site that may hold this key's payloads. */
  boundTo: SiteId | null;
}

export interface Authenticator {
  /** @throws ApiError 401 for a missing, wrong, expired or revoked key; SiteUnavailableError where nobody can tell */
  authenticate(request: Request): Promise<Principal>;
}

/** A looked-up key is used this long before it is looked up again. */
const freshMs: DurationMs = 30_000;
/** … and this long at most where no store answers: a revocation is honoured within 60 s. */
const staleMsMax: DurationMs = 60_000;
/** The peers' word on a revocation is awaited this long at most. */
const peerWordMs: DurationMs = 1_000;
/** Unknown keys that may be looked up one by one, in a burst and per second; beyond it the list of keys decides. */
const lookupsPerSecond = 20;
/** The list of keys is read at most this often. */
const listMs: DurationMs = 1_000;
const cachedKeysMax = 10_000;

const rank: Record<Role, number> = { viewer: 0, submitter: 1, operator: 2 };

/** True if `role` may do what `needed` may: operator ⊇ submitter ⊇ viewer. */
export function roleAllows(role: Role, needed: Role): boolean {
  return rank[role] >= rank[needed];
}

/**
 * Bearer keys as facts, own store first, then the others, so that they work with either cloud dark. Wrong keys cannot
 * be used to load the stores: a known key is looked up twice a minute; unknown ones share a small allowance, and beyond
 * it are held against the list of keys, which is read at most once a second.
 */
export function createAuthenticator(core: JournalCore): Authenticator {
  const cache = new Map<string, { key: ApiKey; checkedAt: EpochMs }>();
  const underWay = new Map<string, Promise<ApiKey | undefined>>();
  const allowance = { left: lookupsPerSecond, at: core.clock.now() };
  let list: { ids: Promise<Set<string>>; at: EpochMs } | undefined;

  async function keyOf(id: string): Promise<ApiKey | undefined> {
    const cached = cache.get(id);
    const age = cached === undefined ? Number.POSITIVE_INFINITY : core.clock.now() - cached.checkedAt;
    if (cached !== undefined && age < freshMs) return cached.key;
    if (cached === undefined && !takeAllowance() && !(await listedIds()).has(id)) return undefined;
    try {
      return await lookUpOnce(id);
    } catch (error) {
      if (cached !== undefined && age < staleMsMax) return cached.key;
      throw error;
    }
  }

  function lookUpOnce(id: string): Promise<ApiKey | undefined> {
    const running = underWay.get(id);
    if (running !== undefined) return running;
    const lookup = lookUp(id).finally(() => underWay.delete(id));
    underWay.set(id, lookup);
    return lookup;
  }

  async function lookUp(id: string): Promise<ApiKey | undefined> {
    const [found, isRevoked] = await Promise.all([
      readFact(core, apiKeySchema, apiKeyKey(id)),
      revoked(core, apiKeyRevokedKey(id)),
    ]);
    cache.delete(id);
    if (isRevoked || found === undefined || 'fault' in found || found.fact.id !== id) return undefined;
    if (cache.size >= cachedKeysMax) cache.delete(cache.keys().next().value!);
    cache.set(id, { key: found.fact, checkedAt: core.clock.now() });
    return found.fact;
  }

  function takeAllowance(): boolean {
    const now = core.clock.now();
    allowance.left = Math.min(lookupsPerSecond, allowance.left + ((now - allowance.at) / 1000) * lookupsPerSecond);
    allowance.at = now;
    if (allowance.left < 1) return false;
    allowance.left -= 1;
    return true;
  }

  function listedIds(): Promise<Set<string>> {
    const now = core.clock.now();
    if (list === undefined || now - list.at >= listMs) {
      const ids = readIds(core);
      const reading = { ids, at: now };
      list = reading;
      ids.catch(() => {
        if (list === reading) list = undefined;
      });
    }
    return list.ids;
  }

  return {
    async authenticate(request) {
      refuseKeyInUrl(request.url);
      const secret = bearer(request.headers.get('authorization'));
      const hash = sha256(secret);
      const key = await keyOf(hash.slice(0, 16));
      if (key === undefined || !timingSafeEqual(Buffer.from(key.secretSha256), Buffer.from(hash)))
        throw unauthorized('Incorrect API key provided.');
      if (key.expiresAt !== null && key.expiresAt <= core.clock.now()) throw unauthorized('This API key has expired.');
      return { keyId: key.id, tenant: key.tenant, role: key.role, boundTo: key.boundTo };
    },
  };
}

/** True if any store says so; the peers' word is not waited for long, the own store's is, unless it fails and a peer's came. */
async function revoked(core: JournalCore, key: string): Promise<boolean> {
  const hurried = {
    ...core,
    settings: { ...core.settings, peerTimeoutMs: Math.min(peerWordMs, core.settings.peerTimeoutMs) },
  };
  const words = await Promise.allSettled(
    [...core.sites.values()].map((site) =>
      bounded(hurried, site.id, async (signal) => (await site.journal.head(key, { signal })) !== undefined),
    ),
  );
  const heard = words.filter((word) => word.status === 'fulfilled');
  if (heard.length === 0) throw words.find((word) => word.status === 'rejected')!.reason;
  return heard.some((word) => word.value);
}

/** Ids of all keys: from every site that answers. */
async function readIds(core: JournalCore): Promise<Set<string>> {
  const read = (site: Stores) =>
    bounded(core, site.id, (signal) => Array.fromAsync(listAll(site.journal, keysPrefix, { signal })));
  const lists = await Promise.allSettled([...core.sites.values()].map(read));
  const heard = lists.filter((one) => one.status === 'fulfilled');
  if (heard.length === 0) throw lists.find((one) => one.status === 'rejected')!.reason;
  return new Set(
    heard.flatMap((one) => one.value.map(({ key }) => key.slice(keysPrefix.length, keysPrefix.length + 16))),
  );
}

function bearer(header: string | null): string {
  if (header === null)
    throw unauthorized('You did not provide an API key: send it as "Authorization: Bearer KEY".', 'missing_api_key');
  const match = /^Bearer +([\x21-\x7e]{1,256})$/i.exec(header);
  if (match === null) throw unauthorized('The Authorization header must be "Bearer KEY".');
  return match[1]!;
}

/** A key in an address ends up in logs and histories, so it is refused even where a right one stands in the header. */
function refuseKeyInUrl(url: string): void {
  const { searchParams, pathname } = new URL(url);
  const names = /^(api[-_]?key|key|token|access[-_]?token|authorization|bearer)$/i;
  for (const [name, value] of searchParams)
    if (names.test(name) || value.startsWith('hf_'))
      throw unauthorized(
        'An API key must not stand in the address: send it in the Authorization header, and replace this one.',
        'key_in_url',
      );
  if (/\/hf_[^/]*/.test(pathname))
    throw unauthorized(
      'An API key must not stand in the address: send it in the Authorization header, and replace this one.',
      'key_in_url',
    );
}

function unauthorized(message: string, code = 'invalid_api_key'): ApiError {
  return new ApiError({ status: 401, code, message, headers: { 'www-authenticate': 'Bearer' } });
}
