import { InvariantError } from '../errors.ts';
import type { SiteId } from '../ports/site.ts';
import type { BatchView } from './batch.ts';
import { copyFact, diverged, type Tally } from './copy.ts';
import { acceptanceSchema, type Manifest, manifestSchema, type Publication, publicationSchema } from './facts.ts';
import {
  acceptancesPrefix,
  cancelsPrefix,
  dispatchesPrefix,
  manifestKey,
  openKey,
  plansPrefix,
  publicationKey,
  publicationSolosPrefix,
  resultsPrefix,
} from './keys.ts';
import { holdFile, holdOutputs } from './mirror-files.ts';
import { bounded, type JournalCore, type PlacedKey, readFact } from './replicas.ts';

/** Facts of one class that are copied side by side. */
const parallel = 8;

/**
 * Copies what is missing of one batch to every site that answers, what is referred to before what refers to it: the
 * results, plans, dispatches and cancels; the input file; the hint, and then the manifest; the acceptances; and last the
 * publication, after the files that it names. Results, input and outputs of a bound batch stay where they are. A fact
 * that cannot be copied holds back what refers to it, until the next call.
 */
export function mirrorBatch(
  core: JournalCore,
  view: Pick<BatchView, 'tenant' | 'batch' | 'keys' | 'unseen'>,
): Promise<Tally> {
  return mirrorBatchKeys(core, view, view.keys, view.unseen);
}

/** As `mirrorBatch`, for keys that were listed. */
export async function mirrorBatchKeys(
  core: JournalCore,
  { tenant, batch }: { tenant: string; batch: string },
  keys: readonly PlacedKey[],
  unseen: readonly SiteId[] = [],
): Promise<Tally> {
  const tally: Tally = { copied: 0, failed: 0 };
  const sites = [...core.sites.keys()].filter((site) => !unseen.includes(site));
  await reportDiverged(core, keys, tally);
  if (keys.every((key) => sites.every((site) => key.sites.includes(site)))) return tally;
  let manifest: Awaited<ReturnType<typeof readFact<typeof manifestSchema>>>;
  try {
    manifest = await readFact(core, manifestSchema, manifestKey(tenant, batch));
  } catch (error) {
    tally.failed += 1;
    noteFailure(core, core.self, manifestKey(tenant, batch), error);
    return tally;
  }
  if (manifest === undefined || 'fault' in manifest) {
    // Nobody can tell to which site it is bound.
    core.log.warn('mirror.waiting', { batch, for: 'manifest' });
    return tally;
  }
  for (const site of sites) {
    const copy = new BatchCopy(core, site, manifest.fact, keys, tally);
    await copy.run();
  }
  return tally;
}

/** One batch on its way to one site. */
class BatchCopy {
  readonly #core: JournalCore;
  readonly #site: SiteId;
  readonly #manifest: Manifest;
  readonly #keys: readonly PlacedKey[];
  readonly #tally: Tally;

  constructor(core: JournalCore, site: SiteId, manifest: Manifest, keys: readonly PlacedKey[], tally: Tally) {
    this.#core = core;
    this.#site = site;
    this.#manifest = manifest;
    this.#keys = keys;
    this.#tally = tally;
  }

  async run(): Promise<void> {
    const { tenant, batch, boundTo } = this.#manifest;
    const mayHold = boundTo === null || boundTo === this.#site;
    const manifest = this.#missing(manifestKey(tenant, batch));
    const acceptances = this.#missing(acceptancesPrefix(tenant, batch));
    const publication = this.#missing(publicationKey(tenant, batch));
    const hasResults = !mayHold || (await this.#copyAll(this.#missing(resultsPrefix(tenant, batch))));
    for (const prefix of [plansPrefix, dispatchesPrefix, cancelsPrefix])
      await this.#copyAll(this.#missing(prefix(tenant, batch)));
    const isNew = manifest.length + acceptances.length > 0;
    if (isNew && !(await this.#step('input', () => this.#holdInput()))) return;
    if (manifest.length > 0 && !(await this.#step('hint', () => this.#writeHint()))) return;
    if (!(await this.#copyAll(manifest)) || !(await this.#copyAll(acceptances))) return;
    if (!hasResults) return;
    for (const solo of this.#missing(publicationSolosPrefix(tenant, batch)))
      if (await this.#step('solo outputs', () => this.#holdOutputs(solo.key))) await this.#copyAll([solo]);
    if (publication.length === 0) return;
    if (await this.#step('outputs', () => this.#holdOutputs())) await this.#copyAll(publication);
  }

  #missing(prefix: string): PlacedKey[] {
    return this.#keys.filter(({ key, sites }) => key.startsWith(prefix) && !sites.includes(this.#site));
  }

  async #copyAll(facts: readonly PlacedKey[]): Promise<boolean> {
    const next = facts.values();
    let ok = true;
    const walk = async () => {
      for (const { key, sites, bytes } of next)
        ok =
          (await this.#step(key, async () => {
            this.#tally.copied += Number(
              await copyFact(this.#core, ownFirst(this.#core, sites), this.#site, key, bytes),
            );
          })) && ok;
    };
    await Promise.all(Array.from({ length: parallel }, walk));
    return ok;
  }

  /** The input of every acceptance, since whoever reads the acceptance will look for it. */
  async #holdInput(): Promise<void> {
    const { tenant, batch } = this.#manifest;
    const prefix = acceptancesPrefix(tenant, batch);
    for (const { key } of this.#keys.filter((one) => one.key.startsWith(prefix))) {
      const acceptance = await readFact(this.#core, acceptanceSchema, key);
      if (acceptance === undefined || 'fault' in acceptance) continue;
      this.#tally.copied += await holdFile(this.#core, this.#site, tenant, acceptance.fact.fileId);
    }
  }

  /**
   * A batch that may be open has its hint here before its manifest, or nobody would find it once the others are gone.
   * One is closed if it is published and no other site keeps a hint: hints are deleted last.
   */
  async #writeHint(): Promise<void> {
    const { tenant, batch } = this.#manifest;
    const key = openKey(tenant, batch);
    const others = [...this.#core.sites.values()].filter(({ id }) => id !== this.#site);
    const hints = await Promise.all(
      others.map(({ id, state }) => bounded(this.#core, id, (signal) => state.get(key, { signal }))),
    );
    const hint = hints.find((one) => one !== undefined);
    if (hint === undefined && this.#keys.some((one) => one.key === publicationKey(tenant, batch))) return;
    const { state } = this.#core.sites.get(this.#site)!;
    // A hint of ours carries no time, since we do not know when the batch came.
    const bytes = hint?.bytes ?? new Uint8Array([1]);
    await bounded(this.#core, this.#site, (signal) => state.putIfAbsent(key, bytes, { signal }));
  }

  async #holdOutputs(key?: string): Promise<void> {
    const { tenant, batch } = this.#manifest;
    const publication = await readPublication(this.#core, tenant, batch, key);
    this.#tally.copied += await holdOutputs(this.#core, this.#site, publication);
  }

  async #step(what: string, task: () => Promise<void>): Promise<boolean> {
    try {
      await task();
      return true;
    } catch (error) {
      this.#tally.failed += 1;
      noteFailure(this.#core, this.#site, what.startsWith('t/') ? what : `${this.#manifest.batch} ${what}`, error);
      return false;
    }
  }
}

/** @throws InvariantError where it is no publication that this process can read */
export async function readPublication(
  core: JournalCore,
  tenant: string,
  batch: string,
  key = publicationKey(tenant, batch),
): Promise<Publication> {
  const found = await readFact(core, publicationSchema, key);
  if (found === undefined || 'fault' in found)
    throw new InvariantError('publication_unreadable', `the publication of ${batch} cannot be read`);
  return found.fact;
}

/** Sizes that differ between two lists are bytes that differ. */
export async function reportDiverged(core: JournalCore, keys: readonly PlacedKey[], tally: Tally): Promise<void> {
  for (const { key, differsIn } of keys)
    if (differsIn !== undefined) {
      tally.failed += 1;
      await diverged(core, key, differsIn).catch(() => {});
    }
}

export function noteFailure(core: JournalCore, site: SiteId, key: string, error: unknown): void {
  core.log.warn('mirror.failed', { site, key, error: String((error as Error)?.message).slice(0, 200) });
}

export const ownFirst = (core: JournalCore, sites: readonly SiteId[]): SiteId[] =>
  sites.toSorted((a, b) => Number(b === core.self) - Number(a === core.self));
