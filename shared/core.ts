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

/** Which model aliases this deployment knows (`holdfast.config.yaml`), and what it says of them. */
export interface ModelCatalog {
  /** Sites that may serve `alias` on `endpoint`, none if it is not known. One alone: the batch is `unprotected`. */
  sitesFor(alias: string, endpoint: Endpoint): readonly SiteId[];
  /** Aliases that are named; `*` stands for every other. Absent: none is. */
  aliases?(): readonly string[];
  /**
   * What the map says of an alias. Absent or `undefined`: nothing beside who serves it; new work then goes where the
   * control log's weights say, and prices are not known.
   */
  entryOf?(alias: string): ModelEntry | undefined;
}

/** One alias in the model map, without its secrets. */
export interface ModelEntry {
  alias: string;
  /** What may stand in for what. */
  policy: 'same_model' | 'same_family' | 'any';
  /** Clouds that may serve it at all. */
  clouds: readonly ('aws' | 'azure')[];
  /** Where new work goes. */
  placement: 'weights' | 'cheapest';
  /** Shares of new work, 0 … 100; `null`: those of the control log. */
  weights: { readonly aws?: number; readonly azure?: number } | null;
  /** What becomes of new work while no site that may serve it is active. */
  unplaced: 'wait' | 'fail';
  backends: readonly ModelBackend[];
}

/** What serves an alias in one cloud. */
export interface ModelBackend {
  cloud: 'aws' | 'azure';
  kind: string;
  /** As results name it. */
  name: string;
  address: string;
  /** As the backend calls it. */
  model: string;
  /** Which model that is, and its family; `null` where the map does not say. */
  identity: string | null;
  family: string | null;
  limits: BackendLimits;
  /** US dollars per million tokens; `null` where it is not known. */
  price: ModelPrice | null;
  /** False where residency or the policy keeps it from serving. */
  isPermitted: boolean;
}

/** US dollars per million tokens. */
export interface ModelPrice {
  readonly input: number;
  /** `null`: not known. */
  readonly output: number | null;
  readonly cachedInput: number;
}

/** Budgets and bounds of a backend; an absent one is not known. */
export interface BackendLimits {
  readonly requestsPerMinute?: number;
  /** Input and output together. */
  readonly tokensPerMinute?: number;
  /** Calls at once. */
  readonly concurrencyMax?: number;
  /** Inputs of one embeddings call. */
  readonly inputsMax?: number;
  /** Tokens of one input. */
  readonly inputTokensMax?: number;
  /** Tokens of one call. */
  readonly callTokensMax?: number;
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
