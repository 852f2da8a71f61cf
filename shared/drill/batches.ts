import { inputFileMeta, newFile, putMeta } from '../api/file-facts.ts';
import { acceptBatch } from '../api/intake.ts';
import { placeNow } from '../api/placement.ts';
import type { Core } from '../core.ts';
import type { CanaryJob } from '../health/canary-batch.ts';
import { type BatchView, readDispatches, viewBatch } from '../journal/batch.ts';
import { type ControlEntry, fileMetaSchema, type Publication, parseFact, publicationSchema } from '../journal/facts.ts';
import { canonicalJson, sha256, utf8 } from '../journal/json.ts';
import {
  acceptancesPrefix,
  batchPrefix,
  controlKey,
  fileContentKey,
  fileMetaKey,
  manifestKey,
  outputKey,
  parseResultKey,
  publicationKey,
} from '../journal/keys.ts';
import { outputFileId } from '../journal/outputs.ts';
import { bounded, readFact } from '../journal/replicas.ts';
import { parseResult } from '../journal/results.ts';
import { listAll } from '../ports/object-store.ts';
import type { Queue } from '../ports/queue.ts';
import type { Site, SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { planBatch } from '../worker/planner.ts';
import { drillTenant } from './tenant.ts';
import type { TurnCore } from './turns.ts';
import type { BatchEvidence } from './verdict.ts';

/** The batches of a drill: how they come, how far they are, and what the stores tell of them in the end. */

/** They end as expired after this long, whatever holds them up: nothing of a drill stays in work. */
const batchLifeMs: DurationMs = 3_600_000;

/**
 * Submits one batch of the drill tenant through the real intake, at a home of our choice.
 * @param held its pointer goes nowhere, as if it lay in a queue that nobody can read
 * @throws what intake throws: nothing is accepted in one cloud alone
 */
export async function submitBatch(
  core: TurnCore,
  job: CanaryJob,
  { drill, number, lines, home, held }: { drill: string; number: number; lines: number; home: SiteId; held: boolean },
): Promise<string> {
  const bytes = Buffer.from(Array.from({ length: lines }, (_, i) => lineOf(job, `${drill}-${number}-${i}`)).join(''));
  const placing = homeIs(core, home, held);
  const placement = await placeNow(placing, null);
  const file = newFile(placing, drillTenant);
  await placement.each((site, signal) => site.journal.putIfAbsent(file.contentKey, bytes, { signal }));
  const draft = { tenant: drillTenant, filename: `${drill}-${number}.jsonl`, expiresAfterMs: null, boundTo: null };
  await putMeta(placement, inputFileMeta(placing, file, draft, { bytes: bytes.length, sha256: sha256(bytes) }));
  const principal = { keyId: 'drill', tenant: drillTenant, role: 'submitter', boundTo: null } as const;
  const request = {
    endpoint: job.endpoint,
    inputFileId: file.id,
    windowMs: batchLifeMs,
    metadata: { drill },
    outputExpiresAfterMs: null,
  };
  const { batch } = await acceptBatch(placing, principal, request);
  // Planned in the name of its home, so that its pointers are on record, as those in a dark queue are.
  if (held) await planBatch({ ...placing, self: home } as Core, drillTenant, batch);
  return batch;
}

function lineOf({ endpoint, model }: CanaryJob, id: string): string {
  const words = `Line ${id} of a drill speaks of harbours and of ships.`;
  const content =
    endpoint === '/v1/embeddings'
      ? { input: words }
      : endpoint === '/v1/responses'
        ? { input: words, max_output_tokens: 16 }
        : { messages: [{ role: 'user', content: words }], max_tokens: 16 };
  return `${canonicalJson({ custom_id: id, method: 'POST', url: endpoint, body: { model, ...content } })}\n`;
}

/** The same core, to which one site alone has weight; `held`: what it sends to queues goes nowhere. */
function homeIs(core: TurnCore, home: SiteId, held: boolean): TurnCore {
  const weigh = (entry: ControlEntry): ControlEntry => ({
    ...entry,
    sites: Object.fromEntries(
      Object.entries(entry.sites).map(([id, site]) => [id, { ...site, weight: id === home ? 100 : 0 }]),
    ),
  });
  const withoutQueues = (site: Site): Site => ({ ...site, intake: unsent(site.intake), work: unsent(site.work) });
  return {
    ...core,
    control: { current: async () => weigh(await core.control.current()) },
    models: { sitesFor: (alias, endpoint) => core.models.sitesFor(alias, endpoint) },
    ...(held && { sites: new Map([...core.sites].map(([id, site]) => [id, withoutQueues(site)])) }),
  };
}

/** The same queue, whose messages are lost on the way in. */
function unsent(queue: Queue): Queue {
  return new Proxy(queue, {
    get: (target, name) => {
      if (name === 'send') return async () => {};
      const member = Reflect.get(target, name);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}

/** How far a batch is, by the names of its facts. */
export interface BatchProgress {
  lines: number;
  open: number;
  /** Lines that a site answered. */
  answered: Record<SiteId, number>;
  hasEnded: boolean;
  failed: number;
}

/** @throws what reading throws; a batch that cannot be seen counts as open with all of its lines */
export async function progressOf(core: TurnCore, batch: string, lines: number): Promise<BatchProgress> {
  const view = await viewBatch(core, drillTenant, batch);
  if (view === undefined) return { lines, open: lines, answered: {}, hasEnded: false, failed: 0 };
  const best = new Map<string, number>();
  const answered: Record<SiteId, number> = {};
  for (const { firstLine, lines: covered, answered: count, site } of view.results) {
    const range = `${firstLine}-${covered}`;
    best.set(range, Math.max(best.get(range) ?? 0, count));
    answered[site] = (answered[site] ?? 0) + count;
  }
  const done = [...best.values()].reduce((sum, count) => sum + count, 0);
  const { publication } = view;
  return {
    lines,
    open: publication === undefined ? Math.max(0, lines - done) : 0,
    answered,
    hasEnded: publication !== undefined,
    failed: publication?.counts.failed ?? 0,
  };
}

/** True if every site but `lost` holds hint-independent facts of a batch: what a takeover needs. */
export async function isHeldElsewhere(core: TurnCore, batch: string, lost: SiteId): Promise<boolean> {
  const others = [...core.sites.values()].filter(({ id }) => id !== lost);
  const held = await Promise.all(
    others.map(async (site) => {
      const head = (key: string) => bounded(core, site.id, (signal) => site.journal.head(key, { signal }));
      const list = (prefix: string) =>
        bounded(core, site.id, (signal) => site.journal.list(prefix, { signal, limit: 5 }));
      const acceptances = await list(acceptancesPrefix(drillTenant, batch));
      const first = acceptances.entries[0];
      if (first === undefined || (await head(manifestKey(drillTenant, batch))) === undefined) return false;
      const found = await bounded(core, site.id, (signal) => site.journal.get(first.key, { signal }));
      const fileId = found === undefined ? undefined : (JSON.parse(utf8(found.bytes)) as { fileId?: string }).fileId;
      return fileId !== undefined && (await head(fileContentKey(drillTenant, fileId))) !== undefined;
    }),
  ).catch(() => [false]);
  return held.every(Boolean);
}

/** When the entry of `epoch` stands in the journals of all sites but `lost`. */
export async function isLearnedElsewhere(core: TurnCore, epoch: number, lost: SiteId | undefined): Promise<boolean> {
  const others = [...core.sites.values()].filter(({ id }) => id !== lost);
  const heads = await Promise.all(
    others.map((site) =>
      bounded(core, site.id, (signal) => site.journal.head(controlKey(epoch), { signal })).catch(() => undefined),
    ),
  );
  return heads.every((head) => head !== undefined);
}

/** Everything of these batches in one journal: what a backup made before them would lack. @returns keys taken out */
export async function forgetBatches(core: TurnCore, siteId: SiteId, batches: readonly string[]): Promise<number> {
  const site = core.sites.get(siteId)!;
  let count = 0;
  for (const batch of batches) {
    const view = await viewBatch(core, drillTenant, batch);
    const keys = await bounded(core, siteId, (signal) =>
      Array.fromAsync(listAll(site.journal, batchPrefix(drillTenant, batch), { signal })),
    );
    const files = view === undefined ? [] : filesOfBatch(view);
    for (const key of [...keys.map(({ key }) => key), ...files]) {
      await bounded(core, siteId, (signal) => site.journal.delete(key, { signal }));
      count += 1;
    }
  }
  return count;
}

function filesOfBatch({ acceptance, publication }: BatchView): string[] {
  const input = [fileContentKey(drillTenant, acceptance.fileId), fileMetaKey(drillTenant, acceptance.fileId)];
  if (publication === undefined) return input;
  const { output, errorFile, choice } = publication;
  const metas = [
    ...(output === null ? [] : [fileMetaKey(drillTenant, outputFileId(publication, 'output'))]),
    ...(errorFile === null ? [] : [fileMetaKey(drillTenant, outputFileId(publication, 'error'))]),
  ];
  const contents = [output, errorFile, choice].flatMap((file) =>
    file === null ? [] : [outputKey(drillTenant, file.sha256)],
  );
  return [...input, ...metas, ...contents];
}

/** What both stores tell of a batch, each asked by itself. */
export async function readEvidence(
  core: TurnCore,
  batch: string,
  home: SiteId,
  wasHeld: boolean | null,
): Promise<BatchEvidence | undefined> {
  const view = await viewBatch(core, drillTenant, batch);
  if (view === undefined) return undefined;
  const { acceptance } = view;
  const published: BatchEvidence['published'] = {};
  const files: BatchEvidence['files'] = {};
  const placed = new Map<string, SiteId[]>();
  for (const site of core.sites.values()) {
    const told = await publishedAt(core, site, batch);
    published[site.id] = told?.ids ?? null;
    files[site.id] = told?.sha256 ?? null;
    const keys = await bounded(core, site.id, (signal) =>
      Array.fromAsync(listAll(site.journal, batchPrefix(drillTenant, batch), { signal })),
    ).catch(() => []);
    for (const { key } of keys) placed.set(key, [...(placed.get(key) ?? []), site.id]);
  }
  const rows: BatchEvidence['rows'] = [];
  for (const [key, [site]] of placed) {
    if (parseResultKey(key) === undefined) continue;
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
  const meta = await readFact(core, fileMetaSchema, fileMetaKey(drillTenant, acceptance.fileId));
  return {
    batch,
    home,
    acceptedAt: acceptance.at,
    receipt: acceptance.receipt,
    wasHeld,
    accepted: meta !== undefined && 'fact' in meta ? await idsOf(core, meta.fact.contentKey) : [],
    published,
    files,
    rows,
    dispatches: (await readDispatches(core, view)).map(({ at, to, reason, epoch }) => ({ at, to, reason, epoch })),
    unmirrored: [...placed]
      .filter(([, sites]) => sites.length < core.sites.size)
      .map(([key, only]) => ({ key: key.slice(batchPrefix(drillTenant, batch).length), only })),
  };
}

async function publishedAt(
  core: TurnCore,
  site: Site,
  batch: string,
): Promise<{ ids: string[]; sha256: string } | undefined> {
  const get = (key: string) => bounded(core, site.id, (signal) => site.journal.get(key, { signal }));
  const found = await get(publicationKey(drillTenant, batch)).catch(() => undefined);
  const parsed = found === undefined ? undefined : parseFact(publicationSchema, found.bytes);
  if (parsed === undefined || 'fault' in parsed) return undefined;
  const { output, errorFile }: Publication = parsed.fact;
  const ids: string[] = [];
  const hashes: string[] = [];
  for (const file of [output, errorFile]) {
    if (file === null) continue;
    const content = await get(outputKey(drillTenant, file.sha256)).catch(() => undefined);
    if (content === undefined) return undefined;
    hashes.push(sha256(content.bytes));
    ids.push(...customIds(content.bytes));
  }
  return { ids, sha256: sha256(hashes.join(' ')) };
}

/** From the first store that holds the input. */
async function idsOf(core: TurnCore, key: string): Promise<string[]> {
  for (const site of core.sites.values()) {
    const found = await bounded(core, site.id, (signal) => site.journal.get(key, { signal })).catch(() => undefined);
    if (found !== undefined) return customIds(found.bytes);
  }
  return [];
}

function customIds(bytes: Uint8Array): string[] {
  return utf8(bytes)
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as { custom_id: string }).custom_id]));
}
