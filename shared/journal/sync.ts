import type { ListEntry } from '../ports/object-store.ts';
import type { Site, SiteId } from '../ports/site.ts';
import { copyFact, type Tally } from './copy.ts';
import { batchOfKey, batchPrefix, compareText, manifestKey, publicationKey } from './keys.ts';
import { mirrorBatchKeys, noteFailure, ownFirst, readPublication, reportDiverged } from './mirror-batch.ts';
import { holdOutputs, mirrorFileUnit } from './mirror-files.ts';
import { bounded, type JournalCore, type PlacedKey, seenIn } from './replicas.ts';

export interface SyncReport extends Tally {
  /** Where to go on; absent when the whole journal was walked. */
  cursor?: string;
  /** True where it ended because a site did not answer. */
  isStopped?: boolean;
}

export interface SyncOptions {
  /** About how many calls of stores to spend, default 20,000; a batch or file that was begun is finished. */
  budget?: number;
  /** From the report of an earlier call, of any process. */
  cursor?: string;
}

const budgetDefault = 20_000;
const callsPerCopy = 3;
const phases = ['keys/', 't/', 'control/', 'drills/'] as const;
/** Batches bring their input along; their output files are listed after them, and so are the files of no batch. */
const parts = ['outputs/', 'batches/', 'files/', 'idempotency/', 'recent/'] as const;

/** One prefix, and the key after which to walk it. */
interface Section {
  phase: (typeof phases)[number];
  /** Below `t/` only. */
  tenant?: string;
  part?: (typeof parts)[number];
  after?: string;
}

/**
 * The full pass over the journals: their lists are merged, and what a site lacks is copied there: API keys (revocations
 * first); tenant by tenant the batches with their inputs and the outputs that they name, the files (tombstones first) and
 * the markers; then the control log, and the drills. Ends early, with a cursor, when the budget is spent or a site stops answering.
 *
 * An output that no publication names is not copied: nothing tells whether it may leave its site. One that is lost where
 * its publication stands is brought back by a call that walks outputs and batches of its tenant in one go.
 */
export async function syncJournals(core: JournalCore, options: SyncOptions = {}): Promise<SyncReport> {
  const from: Section = options.cursor === undefined ? { phase: 'keys/' } : JSON.parse(options.cursor);
  return new Pass(core, options.budget ?? budgetDefault).run(from);
}

/**
 * What a process found to lack somewhere and to be right so (bound, or named by nobody), as units with their number of
 * copies: while that stays the same nothing is read again.
 */
const settledUnits = new WeakMap<ReadonlyMap<SiteId, Site>, Set<string>>();
const settledUnitsMax = 200_000;

class Pass {
  readonly #core: JournalCore;
  readonly #tally: Tally = { copied: 0, failed: 0 };
  readonly #budget: number;
  #pages = 0;
  /** Outputs of this tenant that a site lacks: whether a publication names them is seen when its batch is met. */
  readonly #lostOutputs = new Set<string>();
  #isChainBroken = false;

  constructor(core: JournalCore, budget: number) {
    this.#core = core;
    this.#budget = budget;
  }

  async run(from: Section): Promise<SyncReport> {
    let at = from;
    try {
      for await (const section of this.#sections(from)) {
        at = section;
        for await (const keys of this.#units(prefixOf(section), section.after)) {
          await this.#serve(section, keys);
          at = { ...section, after: keys.at(-1)!.key };
          if (this.#pages + callsPerCopy * this.#tally.copied >= this.#budget) return this.#report(at);
        }
        if (section.part === 'batches/') this.#settleOutputs();
      }
      return this.#report(undefined);
    } catch (error) {
      this.#tally.failed += 1;
      this.#core.log.warn('sync.stopped', { at: prefixOf(at), error: String((error as Error)?.message).slice(0, 200) });
      return { ...this.#report(at), isStopped: true };
    }
  }

  #report(at: Section | undefined): SyncReport {
    return { ...this.#tally, ...(at !== undefined && { cursor: JSON.stringify(at) }) };
  }

  async *#sections(from: Section): AsyncGenerator<Section> {
    for (const phase of phases.slice(phases.indexOf(from.phase))) {
      const resumed = phase === from.phase ? from : { phase };
      if (phase !== 't/') {
        yield resumed;
        continue;
      }
      let tenant = resumed.tenant ?? (await this.#tenantAfter(undefined));
      for (; tenant !== undefined; tenant = await this.#tenantAfter(tenant)) {
        const isResumed = tenant === resumed.tenant && resumed.part !== undefined;
        for (const part of parts.slice(isResumed ? parts.indexOf(resumed.part!) : 0))
          yield isResumed && part === resumed.part ? resumed : { phase, tenant, part };
      }
    }
  }

  /** Keys of one tenant are skipped in one call: `0` follows `/` in byte order. */
  async #tenantAfter(tenant: string | undefined): Promise<string | undefined> {
    const after = tenant === undefined ? undefined : `t/${tenant}0`;
    const pages = await Promise.all([...this.#core.sites.values()].map((site) => this.#list(site, 't/', after, 1)));
    const keys = pages.flatMap(({ entries }) => entries.map(({ key }) => key)).sort(compareText);
    return keys[0]?.split('/')[1];
  }

  #list(site: Site, prefix: string, after: string | undefined, limit?: number) {
    this.#pages += 1;
    return bounded(this.#core, site.id, (signal) => site.journal.list(prefix, { after, limit, signal }));
  }

  /** The merged lists, cut into what belongs together: a batch, a file, an API key with its revocation, one fact. */
  async *#units(prefix: string, after: string | undefined): AsyncGenerator<PlacedKey[]> {
    let unit: PlacedKey[] = [];
    for await (const key of this.#merged(prefix, after)) {
      if (unit.length > 0 && unitOf(unit[0]!.key) !== unitOf(key.key)) {
        yield unit;
        unit = [];
      }
      unit.push(key);
    }
    if (unit.length > 0) yield unit;
  }

  async *#merged(prefix: string, after: string | undefined): AsyncGenerator<PlacedKey> {
    const walks = [...this.#core.sites.values()].map((site) => ({ site, walk: this.#entries(site, prefix, after) }));
    const heads = await Promise.all(walks.map(async (one) => ({ ...one, head: await one.walk.next() })));
    for (;;) {
      const keys = heads.flatMap(({ head }) => (head.done ? [] : [head.value.key]));
      const next = keys.reduce<string | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
      if (next === undefined) return;
      let placed: PlacedKey | undefined;
      for (const one of heads) {
        if (one.head.done || one.head.value.key !== next) continue;
        if (placed === undefined) placed = { key: next, bytes: one.head.value.bytes, sites: [one.site.id] };
        else seenIn(placed, one.site.id, one.head.value.bytes);
        one.head = await one.walk.next();
      }
      yield placed!;
    }
  }

  async *#entries(site: Site, prefix: string, from: string | undefined): AsyncGenerator<ListEntry, undefined> {
    for (let after = from; ; ) {
      const page = await this.#list(site, prefix, after);
      yield* page.entries;
      after = page.entries.at(-1)?.key;
      if (!page.more || after === undefined) return undefined;
    }
  }

  /** A unit that fails does not stop the pass; the next one meets it again. */
  async #serve(section: Section, keys: PlacedKey[]): Promise<void> {
    const { copied, failed } = this.#tally;
    const isTombstoned = keys.length > 1 && keys.some(({ key }) => key.endsWith('/deleted.json'));
    const isLacking = keys.some((key) => this.#lacking(key).length > 0);
    const name = `${unitOf(keys[0]!.key)} ${keys.reduce((sum, { sites }) => sum + sites.length, keys.length)}`;
    try {
      await reportDiverged(this.#core, keys, this.#tally);
      if ((isLacking || isTombstoned) && !this.#settled.has(name)) await this.#serveUnit(section, keys);
      if (section.part === 'batches/') await this.#serveOutputs(section.tenant!, keys);
    } catch (error) {
      this.#tally.failed += 1;
      noteFailure(this.#core, this.#core.self, keys[0]!.key, error);
    }
    const isUnchanged = copied === this.#tally.copied && failed === this.#tally.failed;
    if (section.phase === 'control/') this.#isChainBroken ||= failed !== this.#tally.failed;
    const maySettle = section.part === 'batches/' || (section.part === 'files/' && !isTombstoned);
    if (maySettle && isLacking && isUnchanged) this.#settle(name);
  }

  #settle(name: string): void {
    if (this.#settled.size > settledUnitsMax) this.#settled.clear();
    this.#settled.add(name);
  }

  async #serveUnit({ phase, tenant, part }: Section, keys: PlacedKey[]): Promise<void> {
    if (part === 'files/') return this.#serveFile(tenant!, keys);
    if (part === 'outputs/') return void this.#lostOutputs.add(keys[0]!.key);
    if (part === 'batches/') return this.#serveBatch(keys);
    if (part !== undefined) return this.#serveMarker(tenant!, keys[0]!);
    // Each control entry names the one before it.
    if (phase === 'control/' && this.#isChainBroken) return;
    // Of an API key its revocation first: a revoked key must work nowhere, not even for a moment.
    for (const key of keys.toReversed()) for (const site of this.#lacking(key)) await this.#copyTo(site, key);
  }

  async #serveFile(tenant: string, keys: PlacedKey[]): Promise<void> {
    const fileId = keys[0]!.key.split('/')[3]!;
    const hasPublication = async (site: SiteId, batch: string) => {
      const { journal } = this.#core.sites.get(site)!;
      const key = publicationKey(tenant, batch);
      return (await bounded(this.#core, site, (signal) => journal.head(key, { signal }))) !== undefined;
    };
    await mirrorFileUnit(this.#core, tenant, fileId, keys, hasPublication, this.#tally);
  }

  async #serveBatch(keys: PlacedKey[]): Promise<void> {
    const { copied, failed } = await mirrorBatchKeys(this.#core, batchOfKey(keys[0]!.key)!, keys);
    this.#tally.copied += copied;
    this.#tally.failed += failed;
  }

  /** Outputs that some site lacks are looked for in every publication of the tenant: nothing else names them. */
  async #serveOutputs(tenant: string, keys: PlacedKey[]): Promise<void> {
    const published = keys.find(({ key }) => key.endsWith('/publication.json'));
    if (this.#lostOutputs.size === 0 || published === undefined) return;
    const publication = await readPublication(this.#core, tenant, batchOfKey(published.key)!.batch);
    for (const site of published.sites) this.#tally.copied += await holdOutputs(this.#core, site, publication);
  }

  /** A marker names a batch, so it goes only where that is. */
  async #serveMarker(tenant: string, key: PlacedKey): Promise<void> {
    const batch = /batch_[0-9a-f]{32}$/.exec(key.key)?.[0];
    if (batch === undefined) return;
    for (const site of this.#lacking(key)) {
      const { journal } = this.#core.sites.get(site)!;
      const manifest = await bounded(this.#core, site, (signal) =>
        journal.head(manifestKey(tenant, batch), { signal }),
      );
      if (manifest !== undefined) await this.#copyTo(site, key);
    }
  }

  /** What was lost is found by now, or named by nobody, or bound: one copy of one key, as `#serve` would name it. */
  #settleOutputs(): void {
    for (const key of this.#lostOutputs) this.#settle(`${key} 2`);
    this.#lostOutputs.clear();
  }

  get #settled(): Set<string> {
    const settled = settledUnits.get(this.#core.sites) ?? new Set();
    settledUnits.set(this.#core.sites, settled);
    return settled;
  }

  #lacking(key: PlacedKey): SiteId[] {
    return [...this.#core.sites.keys()].filter((site) => !key.sites.includes(site));
  }

  async #copyTo(site: SiteId, { key, sites, bytes }: PlacedKey): Promise<void> {
    this.#tally.copied += Number(await copyFact(this.#core, ownFirst(this.#core, sites), site, key, bytes));
  }
}

const prefixOf = ({ phase, tenant, part }: Section): string =>
  tenant === undefined || part === undefined ? phase : `t/${tenant}/${part}`;

/** What belongs together; it lies side by side in every list. */
function unitOf(key: string): string {
  const at = batchOfKey(key);
  if (at !== undefined) return batchPrefix(at.tenant, at.batch);
  return /^(?:t\/[^/]+\/files\/[^/]+|keys\/[0-9a-f]+)/.exec(key)?.[0] ?? key;
}
