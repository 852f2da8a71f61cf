import type { Core } from '../core.ts';
import type { ControlEntry, Receipt } from '../journal/facts.ts';
import { bounded } from '../journal/replicas.ts';
import type { Site, SiteId } from '../ports/site.ts';
import { ApiError, unavailable } from './errors.ts';

/** The part of `Core` that the front door needs. */
export type ApiCore = Omit<Core, 'batching' | 'callbacks'>;

/**
 * Where something that is taken in now must stand: every site that is not fenced, as the last learned control entry
 * says. Writing goes through `each`, which keeps the policy: `strict` gives up as soon as one of them does not answer,
 * `available` goes on without it and remembers.
 */
export class Placement {
  readonly control: ControlEntry;
  readonly #core: ApiCore;
  readonly #boundTo: SiteId | null;
  /** What the control entry wants written … */
  readonly #wanted: ReadonlySet<SiteId>;
  /** … and what of it was not given up by policy. */
  readonly #answering: Set<SiteId>;

  constructor(core: ApiCore, control: ControlEntry, boundTo: SiteId | null) {
    this.control = control;
    this.#core = core;
    this.#boundTo = boundTo;
    this.#wanted = new Set(writableSites(core, control));
    this.#answering = new Set(this.#wanted);
  }

  /** Sites that have taken everything so far, the own one first. */
  get sites(): SiteId[] {
    return [...this.#answering].sort((a, b) => Number(b === this.#core.self) - Number(a === this.#core.self));
  }

  /** Those of them that may hold payload. */
  get payloadSites(): SiteId[] {
    return this.sites.filter((id) => this.#boundTo === null || id === this.#boundTo);
  }

  /** What may be promised once everything stands in all of `sites`. */
  get receipt(): Receipt {
    if (this.#boundTo !== null) return 'single-by-policy';
    return this.#answering.size > 1 ? 'dual' : 'single';
  }

  /** True if `control`, read later, wants no site written that this placement left out. */
  covers(control: ControlEntry): boolean {
    return writableSites(this.#core, control).every((id) => this.#wanted.has(id));
  }

  /**
   * Does `call` at all of `sites` (default: every site of this placement) at once, each peer bounded by `peerTimeoutMs`.
   * @throws ApiError 503 under `strict`, or for the only site that may hold the payload, where a peer does not answer
   * @throws what the own store throws
   */
  async each<T>(
    call: (site: Site, signal: AbortSignal | undefined) => Promise<T>,
    sites: readonly SiteId[] = this.sites,
  ): Promise<Map<SiteId, T>> {
    const results = new Map<SiteId, T>();
    const failures: { id: SiteId; error: unknown }[] = [];
    await Promise.all(
      sites.map(async (id) => {
        try {
          results.set(id, await bounded(this.#core, id, (signal) => call(this.#core.sites.get(id)!, signal)));
        } catch (error) {
          failures.push({ id, error });
        }
      }),
    );
    for (const { id, error } of failures) this.lost(id, error);
    return results;
  }

  /** Takes note that a site did not take something. @throws as `each` */
  lost(id: SiteId, error: unknown): void {
    if (id === this.#core.self || (error as { name?: unknown } | null)?.name === 'ApiError') throw error;
    this.#core.log.warn('peer.unanswered', { site: id, error: String((error as Error)?.message).slice(0, 200) });
    if (this.#core.settings.intake === 'strict' || id === this.#boundTo) throw peerUnavailable(id);
    this.#answering.delete(id);
  }
}

/**
 * Reads the control log and says where to write.
 * @throws ApiError 503 where the own site is fenced, or the only site that may hold the payload is
 */
export async function placeNow(core: ApiCore, boundTo: SiteId | null): Promise<Placement> {
  const control = await core.control.current();
  const state = control.sites[core.self]?.state;
  if (state === undefined || state === 'fenced')
    throw unavailable('site_fenced', `This site (${core.self}) is fenced off and takes nothing; use the other cloud.`);
  if (boundTo !== null && (control.sites[boundTo]?.state ?? 'fenced') === 'fenced')
    throw unavailable('bound_site_fenced', `The only site that may hold this payload (${boundTo}) is fenced off.`);
  return new Placement(core, control, boundTo);
}

/**
 * A payload bound to one cloud is neither taken nor shown by the other's front door: it would leave its cloud on the way.
 * @throws ApiError 403
 */
export function refuseElsewhere(core: Pick<ApiCore, 'self'>, boundTo: SiteId | null): void {
  if (boundTo === null || boundTo === core.self) return;
  throw new ApiError({
    status: 403,
    code: 'bound_elsewhere',
    message: `This payload may not leave the site ${boundTo}: use the address of that site.`,
  });
}

function writableSites(core: ApiCore, control: ControlEntry): SiteId[] {
  return [...core.sites.keys()].filter((id) => (control.sites[id]?.state ?? 'fenced') !== 'fenced');
}

function peerUnavailable(id: SiteId): ApiError {
  return unavailable(
    'peer_unavailable',
    `The other cloud (${id}) does not answer, and nothing is accepted in one cloud alone.`,
    10_000,
  );
}
