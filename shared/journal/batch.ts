import {
  type Acceptance,
  acceptanceSchema,
  type Dispatch,
  dispatchSchema,
  type Manifest,
  manifestSchema,
  type Plan,
  type Publication,
  planSchema,
  publicationSchema,
} from './facts.ts';
import {
  acceptancesPrefix,
  batchPrefix,
  cancelsPrefix,
  compareText,
  compareWrites,
  dispatchesPrefix,
  manifestKey,
  parseResultKey,
  plansPrefix,
  publicationKey,
  type ResultName,
  resultsPrefix,
} from './keys.ts';
import { type JournalCore, listEverywhere, type PlacedKey, readFact } from './replicas.ts';

/** A result object that exists somewhere, as its key tells. */
export interface PlacedResult extends ResultName {
  key: string;
  /** Sites whose journal was seen to hold it. */
  sites: string[];
}

/** What the journal says of one batch: names from one LIST a store, contents read when asked for. */
export interface BatchView {
  tenant: string;
  batch: string;
  keys: PlacedKey[];
  /** Sites that did not answer the LIST. */
  unseen: string[];
  manifest: Manifest;
  /** The one that counts: earliest time, then uuid. */
  acceptance: Acceptance;
  plan: Plan | undefined;
  /** In the order in which candidates are chosen. */
  results: PlacedResult[];
  dispatchKeys: string[];
  cancelKeys: string[];
  publication: Publication | undefined;
}

/**
 * Reads one batch from everywhere. `undefined` if it was never accepted (a manifest without an acceptance is what a
 * crashed intake leaves, and is never planned).
 */
export async function viewBatch(core: JournalCore, tenant: string, batch: string): Promise<BatchView | undefined> {
  const { keys, unseen } = await listEverywhere(core, batchPrefix(tenant, batch));
  const under = (prefix: string) => keys.filter(({ key }) => key.startsWith(prefix)).map(({ key }) => key);
  const acceptance = await earliestAcceptance(core, under(acceptancesPrefix(tenant, batch)));
  if (acceptance === undefined) return undefined;
  const manifest = await readFact(core, manifestSchema, manifestKey(tenant, batch));
  if (manifest === undefined || 'fault' in manifest) return undefined;
  const publication = keys.some(({ key }) => key === publicationKey(tenant, batch))
    ? await readFact(core, publicationSchema, publicationKey(tenant, batch))
    : undefined;
  return {
    tenant,
    batch,
    keys,
    unseen,
    manifest: manifest.fact,
    acceptance,
    plan: await anyPlan(core, under(plansPrefix(tenant, batch))),
    results: placedResults(keys, resultsPrefix(tenant, batch)),
    dispatchKeys: under(dispatchesPrefix(tenant, batch)),
    cancelKeys: under(cancelsPrefix(tenant, batch)),
    publication: publication !== undefined && 'fact' in publication ? publication.fact : undefined,
  };
}

/** The moment after which unfinished lines expire. */
export function deadlineOf(view: Pick<BatchView, 'acceptance' | 'manifest'>): number {
  return view.acceptance.at + view.manifest.windowMs;
}

/** The dispatch records of a batch, oldest first. */
export async function readDispatches(core: JournalCore, view: BatchView): Promise<Dispatch[]> {
  const found = await Promise.all(view.dispatchKeys.map((key) => readFact(core, dispatchSchema, key)));
  return found
    .flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact] : []))
    .sort((a, b) => a.at - b.at || compareWrites(a, b));
}

async function earliestAcceptance(core: JournalCore, keys: string[]): Promise<Acceptance | undefined> {
  const found = await Promise.all(keys.map((key) => readFact(core, acceptanceSchema, key)));
  const facts = found.flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact] : []));
  return facts.sort((a, b) => a.at - b.at || compareText(a.uuid, b.uuid))[0];
}

/** Any plan serves; the first by name that can be read, so that all take the same one while it is there. */
async function anyPlan(core: JournalCore, keys: string[]): Promise<Plan | undefined> {
  for (const key of keys) {
    const plan = await readFact(core, planSchema, key);
    if (plan !== undefined && 'fact' in plan) return plan.fact;
  }
  return undefined;
}

function placedResults(keys: PlacedKey[], prefix: string): PlacedResult[] {
  return keys
    .flatMap(({ key, sites }) => {
      const name = key.startsWith(prefix) ? parseResultKey(key) : undefined;
      return name === undefined ? [] : [{ ...name, key, sites }];
    })
    .sort(compareWrites);
}
