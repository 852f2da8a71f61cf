import { createHash } from 'node:crypto';
import { canaryTenant } from '../health/canary-batch.ts';
import { syncJournals } from '../journal/anti-entropy.ts';
import { fileMetaSchema, manifestSchema, type Publication, publicationSchema } from '../journal/facts.ts';
import { batchOfKey, fileMetaKey, manifestKey, outputKey, resultsPrefix } from '../journal/keys.ts';
import { bounded, type JournalCore, readFact } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';

/** What two lists of the journals say of each other. */
export interface Comparison {
  /** Nothing differs but what may. */
  isConverged: boolean;
  /** Keys that every site holds in the same size. */
  same: number;
  /** Keys that may be in one site alone: bound payloads, and outputs that no publication names. */
  excused: number;
  /** Keys that some site lacks or holds in another size; the first twenty. */
  differing: string[];
  /** SHA-256 over the keys that all hold and their sizes, in order: equal digests, equal journals. */
  digest: string;
}

/** What anti-entropy carries. */
const prefixes = ['keys/', 't/', 'control/', 'drills/'] as const;
const differingMax = 20;
const canaryPrefix = `t/${canaryTenant}/`;

/**
 * Lists every journal and compares key sets and sizes. A fact that was being written meanwhile is looked at once more;
 * bytes need no comparing, since facts are written once and `copyFact` reports those that differ.
 * @throws what a list throws: a site that does not answer has not converged
 */
export async function compareJournals(core: JournalCore): Promise<Comparison> {
  const hash = createHash('sha256');
  const result: Comparison = { isConverged: false, same: 0, excused: 0, differing: [], digest: '' };
  const excuses = new Excuses(core);
  for (const prefix of prefixes) {
    for await (const { key, sizes } of merged(core, prefix)) {
      // Canaries belong to one site each, and are tidied away while they are compared.
      if (key.startsWith(canaryPrefix)) continue;
      const isSame = sizes.size === core.sites.size && new Set(sizes.values()).size === 1;
      if (isSame || (await excuses.isThereByNow(key))) {
        result.same += 1;
        hash.update(`${key} ${[...sizes.values()][0]}\n`);
      } else if (await excuses.mayDiffer(key, [...sizes.keys()])) result.excused += 1;
      else if (result.differing.push(key) === differingMax) return result;
    }
  }
  return { ...result, isConverged: result.differing.length === 0, digest: hash.digest('hex') };
}

async function* merged(
  core: JournalCore,
  prefix: string,
): AsyncGenerator<{ key: string; sizes: Map<SiteId, number> }, void> {
  const walks = [...core.sites.values()].map(({ id, journal }) => ({ id, walk: listAll(journal, prefix) }));
  const heads = await Promise.all(
    walks.map(async (one) => ({ ...one, head: await bounded(core, one.id, () => one.walk.next()) })),
  );
  for (;;) {
    const keys = heads.flatMap(({ head }) => (head.done ? [] : [head.value.key]));
    const key = keys.reduce<string | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
    if (key === undefined) return;
    const sizes = new Map<SiteId, number>();
    for (const one of heads) {
      if (one.head.done || one.head.value.key !== key) continue;
      sizes.set(one.id, one.head.value.bytes);
      one.head = await bounded(core, one.id, () => one.walk.next());
    }
    yield { key, sizes };
  }
}

/** Which keys may be in one site alone, looked up only where one is. */
class Excuses {
  readonly #core: JournalCore;
  /** By tenant, the files that publications name, and where they may be. */
  readonly #named = new Map<string, Promise<Map<string, SiteId | null>>>();

  constructor(core: JournalCore) {
    this.#core = core;
  }

  async isThereByNow(key: string): Promise<boolean> {
    const heads = await Promise.all(
      [...this.#core.sites.values()].map(({ id, journal }) =>
        bounded(this.#core, id, (signal) => journal.head(key, { signal })),
      ),
    );
    return heads.every((head) => head !== undefined && head.bytes === heads[0]!.bytes);
  }

  async mayDiffer(key: string, holders: readonly SiteId[]): Promise<boolean> {
    const boundTo = await this.#boundTo(key);
    if (boundTo === 'unnamed') return true;
    return boundTo !== null && holders.length === 1 && holders[0] === boundTo;
  }

  /** The site that a payload is bound to; `null` if it belongs everywhere. */
  async #boundTo(key: string): Promise<SiteId | 'unnamed' | null> {
    const [, tenant, part, id] = key.split('/');
    if (!key.startsWith('t/')) return null;
    if (part === 'outputs') {
      const named = await this.#namedBy(tenant!);
      return named.has(key) ? named.get(key)! : 'unnamed';
    }
    if (part === 'files' && key.endsWith('/content')) {
      const meta = await readFact(this.#core, fileMetaSchema, fileMetaKey(tenant!, id!));
      // An upload that is under way, or was given up.
      if (meta === undefined) return 'unnamed';
      return 'fact' in meta ? meta.fact.boundTo : null;
    }
    const at = batchOfKey(key);
    if (at === undefined || !key.startsWith(resultsPrefix(at.tenant, at.batch))) return null;
    const manifest = await readFact(this.#core, manifestSchema, manifestKey(at.tenant, at.batch));
    return manifest !== undefined && 'fact' in manifest ? manifest.fact.boundTo : null;
  }

  #namedBy(tenant: string): Promise<Map<string, SiteId | null>> {
    const known = this.#named.get(tenant) ?? this.#readNamed(tenant);
    this.#named.set(tenant, known);
    return known;
  }

  async #readNamed(tenant: string): Promise<Map<string, SiteId | null>> {
    const named = new Map<string, SiteId | null>();
    for (const { journal } of this.#core.sites.values())
      for await (const { key } of listAll(journal, `t/${tenant}/batches/`)) {
        if (!/\/publication(\.solo-[^/]+)?\.json$/.test(key)) continue;
        const found = await readFact(this.#core, publicationSchema, key);
        if (found === undefined || 'fault' in found) continue;
        for (const file of filesOf(found.fact)) named.set(outputKey(tenant, file.sha256), found.fact.boundTo);
      }
    return named;
  }
}

const filesOf = ({ output, errorFile, choice }: Publication) =>
  [output, errorFile, choice].filter((file) => file !== null);

/** Where a process is with its synchronising, and its last proof. */
interface Syncing {
  cursor?: string;
  provedAt?: EpochMs;
}

const syncings = new WeakMap<JournalCore['sites'], Syncing>();
const pagesAtOnce = 2_000;
const proofHoldsMs = 60_000;

/**
 * Brings the journals together, some of the way with each call, and tells whether both are proved to hold the same: a
 * whole pass of anti-entropy, then equal lists. A proof is taken for good for 60 s; later facts are mirrored as they are
 * written.
 */
export async function convergeJournals(core: JournalCore): Promise<boolean> {
  const syncing = syncings.get(core.sites) ?? {};
  syncings.set(core.sites, syncing);
  const now = core.clock.now();
  if (syncing.provedAt !== undefined && now - syncing.provedAt < proofHoldsMs) return true;
  const { cursor, copied, failed } = await syncJournals(core, { budget: pagesAtOnce, cursor: syncing.cursor });
  syncing.cursor = cursor;
  if (cursor !== undefined) return false;
  const comparison = await compareJournals(core);
  const { isConverged, same, excused, differing, digest } = comparison;
  core.log.info('journals.compared', {
    isConverged,
    copied,
    failed,
    same,
    excused,
    digest,
    differing: differing.join(' '),
  });
  syncing.provedAt = isConverged ? now : undefined;
  return isConverged;
}
