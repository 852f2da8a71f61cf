import type { BatchingCore } from './batching/core.ts';
import type { ControlEntry, Endpoint, Publication } from './journal/facts.ts';
import type { Clock } from './ports/clock.ts';
import type { Log } from './ports/log.ts';
import type { Ids, Random } from './ports/random.ts';
import type { Site, SiteId, Stores } from './ports/site.ts';
import type { Settings } from './settings.ts';

/** Everything the core is given, by `wire.ts` of a cloud, by the CLI, by a test, or by the simulator. */
export interface Core {
  /** The site this process runs in; for a laptop, the site it talks to first. */
  readonly self: SiteId;
  /** Every configured site, `self` included. */
  readonly sites: ReadonlyMap<SiteId, Site>;
  /** The third voter; absent where none is configured (then nothing fails over by itself). */
  readonly witness?: Stores;
  /** AES-256 key (32 bytes) known to both clouds, under which content lies at the witness; absent: none lies there. */
  readonly witnessKey?: Uint8Array;
  readonly clock: Clock;
  readonly random: Random;
  readonly ids: Ids;
  readonly log: Log;
  readonly settings: Settings;
  readonly control: ControlView;
  readonly batching: BatchingCore;
  readonly models: ModelCatalog;
  readonly callbacks: Callbacks;
}

/** The last *learned* control entry; it may be stale, which costs repeats, never correctness. */
export interface ControlView {
  /** @throws SiteUnavailableError where no store answers and nothing was learned before */
  current(): Promise<ControlEntry>;
}

/** Which model aliases this deployment knows (`holdfast.config.yaml`). */
export interface ModelCatalog {
  /** Sites that may serve `alias` on `endpoint`, none if it is not known. One alone: the batch is `unprotected`. */
  sitesFor(alias: string, endpoint: Endpoint): readonly SiteId[];
}

/** Tells the tenant that a batch ended. */
export interface Callbacks {
  /** True when everybody who asked for it has answered 2xx (or nobody asked): the caller need not come again. */
  batchEnded(publication: Publication): Promise<boolean>;
}

/** The site of this process. */
export function ownSite(core: Pick<Core, 'self' | 'sites'>): Site {
  return core.sites.get(core.self)!;
}

/** Every other configured site. */
export function peersOf(core: Pick<Core, 'self' | 'sites'>): Site[] {
  return [...core.sites.values()].filter((site) => site.id !== core.self);
}
