import type { z } from 'zod';
import { SiteUnavailableError, TransientError } from '../errors.ts';
import {
  type Acceptance,
  acceptanceSchema,
  type Dispatch,
  dispatchSchema,
  type FactFault,
  factBytes,
  type Manifest,
  manifestSchema,
  type Plan,
  type Publication,
  parseFact,
  planSchema,
  publicationSchema,
} from './facts.ts';
import { equalBytes } from './json.ts';
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
  publicationSolosPrefix,
  type ResultName,
  resultsPrefix,
} from './keys.ts';
import { type JournalCore, listEverywhere, type PlacedKey, readFact, takeAnywhere } from './replicas.ts';

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
  /** How it ended: as jointly decided, else as the solo decision that stands. */
  publication: Publication | undefined;
  /** `publication` is a solo one: no register has decided it yet. */
  isSolo: boolean;
  /** Solo publications, in the order in which they beat each other. Those that do not stand are superseded. */
  soloKeys: string[];
}

/**
 * Reads one batch from everywhere. `undefined` if it was never accepted (a manifest without an acceptance is what a
 * crashed intake leaves, and is never planned).
 * @throws TransientError `fact_unknown` where what decides is of a version that this process does not know (I15)
 */
export async function viewBatch(core: JournalCore, tenant: string, batch: string): Promise<BatchView | undefined> {
  return (await lookAtBatch(core, tenant, batch)).view;
}

/**
 * As `viewBatch`, for whoever forgets what is no batch: where a store did not answer, nobody can say that it never was
 * accepted. A batch that one cloud alone holds is unknown to the other one while the link is bad.
 * @throws SiteUnavailableError `batch_unseen`: look again later
 */
export async function viewBatchOrWait(
  core: JournalCore,
  tenant: string,
  batch: string,
): Promise<BatchView | undefined> {
  const { view, unseen } = await lookAtBatch(core, tenant, batch);
  if (view === undefined && unseen.length > 0)
    throw new SiteUnavailableError(
      'batch_unseen',
      `${batch} is not here, and ${unseen.join(' and ')} did not answer`,
      'journal',
    );
  return view;
}

async function lookAtBatch(
  core: JournalCore,
  tenant: string,
  batch: string,
): Promise<{ view: BatchView | undefined; unseen: string[] }> {
  const { keys, unseen } = await listEverywhere(core, batchPrefix(tenant, batch));
  const under = (prefix: string) => keys.filter(({ key }) => key.startsWith(prefix)).map(({ key }) => key);
  const at = { tenant, batch };
  const soloKeys = under(publicationSolosPrefix(tenant, batch));
  const hasPublication = keys.some(({ key }) => key === publicationKey(tenant, batch));
  const [acceptance, manifest, plan, publication] = await Promise.all([
    earliestAcceptance(core, at, under(acceptancesPrefix(tenant, batch))),
    readOf(core, at, manifestSchema, manifestKey(tenant, batch)),
    anyPlan(core, under(plansPrefix(tenant, batch))),
    hasPublication
      ? readOf(core, at, publicationSchema, publicationKey(tenant, batch))
      : soloKeys.length > 0
        ? readOf(core, at, publicationSchema, soloKeys[0]!)
        : undefined,
  ]);
  if (acceptance === undefined || manifest === undefined) return { view: undefined, unseen };
  const view = {
    tenant,
    batch,
    keys,
    unseen,
    manifest,
    acceptance,
    plan,
    results: placedResults(keys, resultsPrefix(tenant, batch)),
    dispatchKeys: under(dispatchesPrefix(tenant, batch)),
    cancelKeys: under(cancelsPrefix(tenant, batch)),
    publication,
    isSolo: !hasPublication && publication !== undefined,
    soloKeys,
  };
  return { view, unseen };
}

/** The moment after which unfinished lines expire. */
export function deadlineOf(view: Pick<BatchView, 'acceptance' | 'manifest'>): number {
  return view.acceptance.at + view.manifest.windowMs;
}

/** Solo publications of a batch that `standing`, the joint one, has beaten: each was readable at its site for a while. */
export async function supersededBy(
  core: JournalCore,
  view: Pick<BatchView, 'soloKeys'>,
  standing: Publication,
): Promise<{ key: string; publication: Publication }[]> {
  const bytes = factBytes(standing);
  const solos = await Promise.all(
    view.soloKeys.map(async (key) => {
      const found = await readFact(core, publicationSchema, key);
      if (found === undefined || 'fault' in found || equalBytes(found.bytes, bytes)) return [];
      return [{ key, publication: found.fact }];
    }),
  );
  return solos.flat();
}

/** The dispatch records of a batch, oldest first. */
export async function readDispatches(core: JournalCore, view: BatchView): Promise<Dispatch[]> {
  const found = await Promise.all(
    view.dispatchKeys.map((key) => remember(core, key, () => factOf(core, dispatchSchema, key))),
  );
  return found.flatMap((one) => one ?? []).sort((a, b) => a.at - b.at || compareWrites(a, b));
}

/** Facts that a process has read: they never change, and an open batch is looked at in every tick. */
const remembered = new WeakMap<JournalCore['sites'], Map<string, object>>();
/** A plan of a thousand chunks is about 100 KB. */
const rememberedMax = 500;

async function remember<T extends object>(
  { sites }: JournalCore,
  key: string,
  read: () => Promise<T | undefined>,
): Promise<T | undefined> {
  const known = remembered.get(sites) ?? new Map<string, object>();
  remembered.set(sites, known);
  const fact = (known.get(key) as T | undefined) ?? (await read());
  if (fact === undefined) return undefined;
  // The latest used last, so that the first is the one to forget.
  known.delete(key);
  known.set(key, fact);
  if (known.size > rememberedMax) known.delete(known.keys().next().value!);
  return fact;
}

/**
 * A fact of this very batch: one that names another is foreign, and reported. A later version is not taken for absent,
 * or an old process would work, end or forget what it does not understand.
 */
async function readOf<S extends z.ZodType<{ tenant: string; batch: string }>>(
  core: JournalCore,
  { tenant, batch }: { tenant: string; batch: string },
  schema: S,
  key: string,
): Promise<z.infer<S> | undefined> {
  return remember(core, key, async () => {
    const taken = await takeAnywhere(core, key, (bytes): { fact: z.infer<S> } | FactFault => {
      const parsed = parseFact(schema, bytes);
      if ('fault' in parsed || (parsed.fact.batch === batch && parsed.fact.tenant === tenant)) return parsed;
      return { fault: 'invalid', detail: `it names ${parsed.fact.tenant} ${parsed.fact.batch}` };
    });
    if (taken === undefined || 'fact' in taken) return taken?.fact;
    if (taken.fault === 'unknown') throw new TransientError('fact_unknown', `${key}: ${taken.detail}`);
    return undefined;
  });
}

async function earliestAcceptance(
  core: JournalCore,
  at: { tenant: string; batch: string },
  keys: string[],
): Promise<Acceptance | undefined> {
  const found = await Promise.all(keys.map((key) => readOf(core, at, acceptanceSchema, key)));
  const facts = found.filter((fact) => fact !== undefined);
  return facts.sort((a, b) => a.at - b.at || compareText(a.uuid, b.uuid))[0];
}

/** Any plan serves; the first by name that can be read, so that all take the same one while it is there. */
async function anyPlan(core: JournalCore, keys: string[]): Promise<Plan | undefined> {
  for (const key of keys) {
    const plan = await remember(core, key, () => factOf(core, planSchema, key));
    if (plan !== undefined) return plan;
  }
  return undefined;
}

async function factOf<S extends z.ZodType>(core: JournalCore, schema: S, key: string): Promise<z.infer<S> | undefined> {
  const found = await readFact(core, schema, key);
  return found !== undefined && 'fact' in found ? found.fact : undefined;
}

function placedResults(keys: PlacedKey[], prefix: string): PlacedResult[] {
  return keys
    .flatMap(({ key, sites }) => {
      const name = key.startsWith(prefix) ? parseResultKey(key) : undefined;
      return name === undefined ? [] : [{ ...name, key, sites }];
    })
    .sort(compareWrites);
}
