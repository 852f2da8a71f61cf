import { inputFileMeta, newFile, putMeta } from '../api/file-facts.ts';
import { acceptBatch } from '../api/intake.ts';
import { placeNow } from '../api/placement.ts';
import type { Core } from '../core.ts';
import type { CanaryJob } from '../health/canary-batch.ts';
import { type BatchView, viewBatch } from '../journal/batch.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { canonicalJson, sha256, utf8 } from '../journal/json.ts';
import {
  acceptancesPrefix,
  batchPrefix,
  controlKey,
  fileContentKey,
  fileMetaKey,
  manifestKey,
  outputKey,
} from '../journal/keys.ts';
import { outputFileId } from '../journal/outputs.ts';
import { bounded } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { Queue } from '../ports/queue.ts';
import type { Site, SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { planBatch } from '../worker/planner.ts';
import { drillTenant } from './tenant.ts';
import type { TurnCore } from './turns.ts';

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
  // No limit that a model may not know: `smallestRequest` says more.
  const words = `Say yes to line ${id} of a drill.`;
  const content =
    endpoint === '/v1/embeddings'
      ? { input: words }
      : endpoint === '/v1/responses'
        ? { input: words, max_output_tokens: 16 }
        : { messages: [{ role: 'user', content: words }] };
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
export async function isHeldElsewhere(
  core: TurnCore,
  batch: string,
  lost: SiteId,
  tenant = drillTenant,
): Promise<boolean> {
  const others = [...core.sites.values()].filter(({ id }) => id !== lost);
  const held = await Promise.all(
    others.map(async (site) => {
      const head = (key: string) => bounded(core, site.id, (signal) => site.journal.head(key, { signal }));
      const list = (prefix: string) =>
        bounded(core, site.id, (signal) => site.journal.list(prefix, { signal, limit: 5 }));
      const acceptances = await list(acceptancesPrefix(tenant, batch));
      const first = acceptances.entries[0];
      if (first === undefined || (await head(manifestKey(tenant, batch))) === undefined) return false;
      const found = await bounded(core, site.id, (signal) => site.journal.get(first.key, { signal }));
      const fileId = found === undefined ? undefined : (JSON.parse(utf8(found.bytes)) as { fileId?: string }).fileId;
      return fileId !== undefined && (await head(fileContentKey(tenant, fileId))) !== undefined;
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
