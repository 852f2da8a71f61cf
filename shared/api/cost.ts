import type { ModelEntry } from '../core.ts';
import { type AnsweredLine, type InferenceCost, inferenceCost, type Spent, sumSpent } from '../cost/inference.ts';
import { type PlumbingCost, plumbingCost } from '../cost/plumbing.ts';
import { type Cloud, notCounted, pricesAsOf, pricesRegion } from '../cost/prices.ts';
import { type BatchView, readDispatches, viewBatch } from '../journal/batch.ts';
import { chosenRowSchema } from '../journal/facts.ts';
import { parseBoundedJson } from '../journal/json.ts';
import { outputKey } from '../journal/keys.ts';
import { streamAnywhere, takeAnywhere } from '../journal/replicas.ts';
import { parseResult, type ResultObject } from '../journal/results.ts';
import { lineBytesMax } from '../limits.ts';
import type { SiteId } from '../ports/site.ts';
import { LineSplitter } from '../worker/input.ts';
import { listBatches } from './batch-list.ts';
import type { ApiCore } from './placement.ts';

/** What one batch has cost so far. */
export interface BatchCost {
  object: 'batch.cost';
  batch: string;
  model: string | null;
  status: 'open' | 'ended';
  /** By cloud, backend and served model. */
  inference: InferenceCost[];
  chosen: Spent;
  repeats: Spent;
  /** The least that carrying it has cost: calls that its facts prove. */
  plumbing: PlumbingCost[];
  plumbing_dollars: number;
  /** All of it; `null` where the price of a model is not known. */
  dollars: number | null;
  /** Sites that did not answer: what only they know is missing. */
  unseen: SiteId[];
  prices: { as_of: string; region: typeof pricesRegion; not_counted: readonly string[] };
}

/** Several batches, newest first. */
export interface CostPage {
  object: 'list';
  data: BatchCost[];
  has_more: boolean;
  /** Of what is shown. */
  chosen: Spent;
  repeats: Spent;
  plumbing_dollars: number;
  dollars: number | null;
}

/** Tells what a batch has cost, from its facts alone; `undefined` for one that was not accepted. */
export async function costOfBatch(core: ApiCore, tenant: string, batch: string): Promise<BatchCost | undefined> {
  const view = await viewBatch(core, tenant, batch);
  if (view === undefined) return undefined;
  const [dispatches, results, published] = await Promise.all([
    readDispatches(core, view),
    readResults(core, view),
    readChoice(core, view),
  ]);
  const { manifest, acceptance, publication } = view;
  const model = publication?.model ?? view.plan?.model ?? null;
  const entry: ModelEntry | undefined = model === null ? undefined : core.models.entryOf?.(model);
  const clouds = new Map<SiteId, Cloud>([...core.sites.values()].map(({ id, cloud }) => [id, cloud]));
  const inference = inferenceCost(answeredLines(results, published, clouds), entry);
  const plumbing = plumbingCost({
    clouds,
    objects: view.keys,
    home: acceptance.home,
    acceptedBy: acceptance.site,
    inputBytes: manifest.inputBytes,
    boundTo: manifest.boundTo,
    dispatches,
    results: results.map(({ object, bytes }) => ({ site: object.header.site, bytes })),
    publication,
  });
  const chosen = sumSpent(inference.map((one) => one.chosen));
  const repeats = sumSpent(inference.map((one) => one.repeats));
  const plumbingDollars = plumbing.reduce((sum, { dollars }) => sum + dollars, 0);
  return {
    object: 'batch.cost',
    batch,
    model,
    status: publication === undefined ? 'open' : 'ended',
    inference,
    chosen,
    repeats,
    plumbing,
    plumbing_dollars: plumbingDollars,
    dollars: total([chosen.dollars, repeats.dollars, plumbingDollars]),
    unseen: view.unseen,
    prices: { as_of: pricesAsOf, region: pricesRegion, not_counted: notCounted },
  };
}

/**
 * What a tenant's newest batches have cost. Reads every result of each, so the page is short.
 * @throws ApiError 404 where `after` is no batch of the tenant
 */
export async function costOfBatches(
  core: ApiCore,
  tenant: string,
  limit: number,
  after: string | undefined,
): Promise<CostPage> {
  const { batches, hasMore } = await listBatches(core, tenant, limit, after);
  const data: BatchCost[] = [];
  for (const { batch } of batches) {
    const cost = await costOfBatch(core, tenant, batch);
    if (cost !== undefined) data.push(cost);
  }
  const chosen = sumSpent(data.map((one) => one.chosen));
  const repeats = sumSpent(data.map((one) => one.repeats));
  const plumbingDollars = data.reduce((sum, one) => sum + one.plumbing_dollars, 0);
  return {
    object: 'list',
    data,
    has_more: hasMore,
    chosen,
    repeats,
    plumbing_dollars: plumbingDollars,
    dollars: total([chosen.dollars, repeats.dollars, plumbingDollars]),
  };
}

function total(parts: readonly (number | null)[]): number | null {
  return parts.reduce<number | null>((sum, part) => (sum === null || part === null ? null : sum + part), 0);
}

interface WeighedResult {
  key: string;
  bytes: number;
  /** Without the bodies: they may be large, and cost was counted when they were made. */
  object: ResultObject;
}

const readsAtOnce = 4;

/** Every result object of a batch, in the order in which results are chosen. */
async function readResults(core: ApiCore, view: BatchView): Promise<WeighedResult[]> {
  const found: (WeighedResult | undefined)[] = new Array(view.results.length);
  let next = 0;
  const walk = async () => {
    while (next < view.results.length) {
      const index = next++;
      const { key } = view.results[index]!;
      const taken = await takeAnywhere(core, key, (bytes) => {
        const parsed = parseResult(key, bytes);
        return 'fault' in parsed ? parsed : { key, bytes: bytes.byteLength, object: withoutBodies(parsed) };
      });
      if (taken !== undefined && !('fault' in taken)) found[index] = taken;
    }
  };
  await Promise.all(Array.from({ length: readsAtOnce }, walk));
  return found.filter((one) => one !== undefined);
}

function withoutBodies({ header, rows }: ResultObject): ResultObject {
  return { header, rows: rows.map((row) => (row.outcome === 'answered' ? { ...row, body: null } : row)) };
}

/** Where each line's published result lies; `undefined` while nothing is published, or nobody has the list. */
async function readChoice(core: ApiCore, view: BatchView): Promise<Map<number, string | null> | undefined> {
  const choice = view.publication?.choice;
  const stream = choice == null ? undefined : await streamAnywhere(core, outputKey(view.tenant, choice.sha256));
  if (stream === undefined) return undefined;
  const chosen = new Map<number, string | null>();
  const splitter = new LineSplitter(({ bytes }) => {
    const json = bytes === undefined ? undefined : parseBoundedJson(bytes, { bytesMax: lineBytesMax });
    const row = json === undefined || 'fault' in json ? undefined : chosenRowSchema.safeParse(json.value);
    if (row?.success) chosen.set(row.data.line, row.data.from);
  });
  for await (const piece of stream.body) splitter.push(piece);
  splitter.finish();
  return chosen;
}

/** Before the publication, the first terminal result of a line counts as chosen: it would be, if the batch ended now. */
function answeredLines(
  results: readonly WeighedResult[],
  published: ReadonlyMap<number, string | null> | undefined,
  clouds: ReadonlyMap<SiteId, Cloud>,
): AnsweredLine[] {
  const first = new Map<number, string>();
  for (const { key, object } of results)
    for (const row of object.rows) if (row.outcome !== 'retry' && !first.has(row.line)) first.set(row.line, key);
  return results.flatMap(({ key, object }) =>
    object.rows.flatMap((row) => {
      if (row.outcome !== 'answered') return [];
      const { site, cloud = clouds.get(site), backend, model } = row.servedBy;
      const isChosen = (published === undefined ? first.get(row.line) : published.get(row.line)) === key;
      return [{ line: row.line, site, cloud, backend, model, usage: row.usage, isChosen }];
    }),
  );
}
