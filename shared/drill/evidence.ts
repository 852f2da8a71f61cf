import { type BatchView, readDispatches, viewBatch } from '../journal/batch.ts';
import { fileMetaSchema, type Publication, parseFact, publicationSchema } from '../journal/facts.ts';
import { sha256, utf8 } from '../journal/json.ts';
import { batchPrefix, fileMetaKey, outputKey, parseResultKey, publicationKey } from '../journal/keys.ts';
import { bounded, readFact } from '../journal/replicas.ts';
import { parseResult } from '../journal/results.ts';
import { listAll } from '../ports/object-store.ts';
import type { Site, SiteId } from '../ports/site.ts';
import type { TurnCore } from './turns.ts';
import type { BatchEvidence } from './verdict.ts';

/** What is read, and may be told of each object: a runner renews its lease meanwhile, and counts. */
export interface EvidenceOrder {
  tenant: string;
  batch: string;
  home: SiteId;
  /** Whether the survivors held it when the fault struck. */
  wasHeld: boolean | null;
  /** Called before each object that is read. @throws whatever ends the reading */
  onRead?: () => Promise<void> | void;
  /** Where it was just read. */
  view?: BatchView;
}

/**
 * What the stores of both clouds tell of a batch, each asked by itself; of a batch that is bound to one cloud that one.
 * @returns `undefined` where no journal shows it
 */
export async function readEvidence(core: TurnCore, order: EvidenceOrder): Promise<BatchEvidence | undefined> {
  const { tenant, batch, home, wasHeld, onRead = () => {} } = order;
  const view = order.view ?? (await viewBatch(core, tenant, batch));
  if (view === undefined) return undefined;
  const { acceptance } = view;
  const boundTo = view.publication?.boundTo ?? null;
  const sites = [...core.sites.values()].filter(({ id }) => boundTo === null || id === boundTo);
  const published: BatchEvidence['published'] = {};
  const files: BatchEvidence['files'] = {};
  const placed = new Map<string, SiteId[]>();
  for (const site of sites) {
    await onRead();
    const told = await publishedAt(core, site, tenant, batch);
    published[site.id] = told?.ids ?? null;
    files[site.id] = told?.sha256 ?? null;
    const keys = await bounded(core, site.id, (signal) =>
      Array.fromAsync(listAll(site.journal, batchPrefix(tenant, batch), { signal })),
    ).catch(() => []);
    for (const { key } of keys) placed.set(key, [...(placed.get(key) ?? []), site.id]);
  }
  const rows: BatchEvidence['rows'] = [];
  for (const [key, [site]] of placed) {
    if (parseResultKey(key) === undefined) continue;
    await onRead();
    const found = await bounded(core, site!, (signal) => core.sites.get(site!)!.journal.get(key, { signal }));
    const object = found === undefined ? undefined : parseResult(key, found.bytes);
    if (object === undefined || 'fault' in object) continue;
    const { header } = object;
    for (const row of object.rows)
      if (row.outcome !== 'retry')
        rows.push({
          customId: row.customId,
          site: header.site,
          epoch: header.epoch,
          at: header.at,
          tokens: row.outcome === 'answered' ? row.usage.inputTokens + row.usage.outputTokens : 0,
          isError: row.outcome === 'failed' || row.status >= 400,
          key,
        });
  }
  await onRead();
  const meta = await readFact(core, fileMetaSchema, fileMetaKey(tenant, acceptance.fileId));
  const accepted = meta !== undefined && 'fact' in meta ? await idsOf(core, meta.fact.contentKey) : undefined;
  return {
    batch,
    home,
    acceptedAt: acceptance.at,
    receipt: acceptance.receipt,
    wasHeld,
    accepted: accepted ?? [],
    isInputRead: accepted !== undefined,
    published,
    files,
    rows,
    dispatches: (await readDispatches(core, view)).map(({ at, to, reason, epoch }) => ({ at, to, reason, epoch })),
    unmirrored: [...placed]
      .filter(([, only]) => only.length < sites.length)
      .map(([key, only]) => ({ key: key.slice(batchPrefix(tenant, batch).length), only })),
  };
}

async function publishedAt(
  core: TurnCore,
  site: Site,
  tenant: string,
  batch: string,
): Promise<{ ids: string[]; sha256: string } | undefined> {
  const get = (key: string) => bounded(core, site.id, (signal) => site.journal.get(key, { signal }));
  const found = await get(publicationKey(tenant, batch)).catch(() => undefined);
  const parsed = found === undefined ? undefined : parseFact(publicationSchema, found.bytes);
  if (parsed === undefined || 'fault' in parsed) return undefined;
  const { output, errorFile }: Publication = parsed.fact;
  const ids: string[] = [];
  const hashes: string[] = [];
  for (const file of [output, errorFile]) {
    if (file === null) continue;
    const content = await get(outputKey(tenant, file.sha256)).catch(() => undefined);
    if (content === undefined) return undefined;
    hashes.push(sha256(content.bytes));
    ids.push(...customIds(content.bytes));
  }
  return { ids, sha256: sha256(hashes.join(' ')) };
}

/** From the first store that holds the input. */
async function idsOf(core: TurnCore, key: string): Promise<string[] | undefined> {
  for (const site of core.sites.values()) {
    const found = await bounded(core, site.id, (signal) => site.journal.get(key, { signal })).catch(() => undefined);
    if (found !== undefined) return customIds(found.bytes);
  }
  return undefined;
}

function customIds(bytes: Uint8Array): string[] {
  return utf8(bytes)
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as { custom_id: string }).custom_id]));
}
