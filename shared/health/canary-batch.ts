import type { Core } from '../core.ts';
import { smallestRequest } from '../inference/smallest.ts';
import {
  type Acceptance,
  type Endpoint,
  type FileMeta,
  factBytes,
  factVersion,
  type Manifest,
  type Publication,
  parseFact,
  publicationSchema,
} from '../journal/facts.ts';
import { canonicalJson, sha256 } from '../journal/json.ts';
import {
  acceptanceKey,
  batchesPrefix,
  batchOfKey,
  batchPrefix,
  fileContentKey,
  fileMetaKey,
  invertedTime,
  manifestKey,
  openKey,
  outputKey,
  parseResultKey,
  publicationKey,
  resultsPrefix,
} from '../journal/keys.ts';
import { outputFileId } from '../journal/outputs.ts';
import { withDeadline } from '../ports/deadline.ts';
import { listAll } from '../ports/object-store.ts';
import type { Site, SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';

/** The facts of a canary's batch: how they come, and how they go. */

/** What canaries need of `Core`. */
export type CanaryCore = Pick<Core, 'sites' | 'clock' | 'ids' | 'log' | 'settings' | 'control'>;

/** What a canary asks for. */
export interface CanaryJob {
  endpoint: Endpoint;
  /** Alias; it must be served at every site. */
  model: string;
}

/** Whose batches canaries are: in nobody's lists, and in no count of production. */
export const canaryTenant = 'holdfast-canary';
export const isCanary = (tenant: string): boolean => tenant === canaryTenant;

/** After this long a canary ends as expired, whatever holds it up. */
export const canaryLifeMs: DurationMs = 10 * 60_000;
/** What is older than this and still there was left by a crash. */
const leftoverMs: DurationMs = 3_600_000;

/** As intake accepts a batch, at one site; its input is the same for ever, so it is written once. */
export async function acceptCanary(
  core: CanaryCore,
  site: Site,
  batch: string,
  epoch: number,
  { endpoint, model }: CanaryJob,
  isInputThere: boolean,
): Promise<void> {
  const body = { model, ...smallestRequest[endpoint] };
  const line = { custom_id: 'canary', method: 'POST', url: endpoint, body };
  const input = Buffer.from(`${canonicalJson(line)}\n`);
  const hash = sha256(input);
  // Bound to its site, so its meta names the site, and under one key no two sites may hold different bytes (I5).
  const fileId = `file-${invertedTime(0)}${sha256(`${site.id} ${hash}`).slice(0, 16)}`;
  const common = { v: factVersion, tenant: canaryTenant } as const;
  const meta: FileMeta = {
    ...common,
    kind: 'file',
    id: fileId,
    contentKey: fileContentKey(canaryTenant, fileId),
    bytes: input.length,
    sha256: hash,
    filename: 'canary.jsonl',
    purpose: 'batch',
    createdAt: 0,
    expiresAt: null,
    boundTo: site.id,
  };
  const manifest: Manifest = {
    ...common,
    kind: 'manifest',
    batch,
    endpoint,
    inputSha256: hash,
    inputBytes: input.length,
    windowMs: canaryLifeMs,
    metadata: null,
    outputExpiresAfterMs: null,
    boundTo: site.id,
  };
  const id = { epoch, site: site.id, uuid: core.ids.uuid() };
  const acceptance: Acceptance = {
    ...common,
    kind: 'acceptance',
    batch,
    at: core.clock.now(),
    ...id,
    home: site.id,
    fileId,
    receipt: 'single-by-policy',
    keyId: 'canary',
  };
  const put = (key: string, body: Uint8Array) =>
    bounded(core, site.id, (signal) => site.journal.putIfAbsent(key, body, { signal }));
  if (!isInputThere) {
    await put(meta.contentKey, input);
    await put(fileMetaKey(canaryTenant, fileId), factBytes(meta));
  }
  await bounded(core, site.id, (signal) =>
    site.state.putIfAbsent(openKey(canaryTenant, batch), new Uint8Array([1]), { signal }),
  );
  await put(manifestKey(canaryTenant, batch), factBytes(manifest));
  await put(acceptanceKey(canaryTenant, batch, id), factBytes(acceptance));
}

/** How a canary ended, as its own site shows it; `undefined` while it has not. */
export async function canaryPublication(core: CanaryCore, site: Site, batch: string): Promise<Publication | undefined> {
  const key = publicationKey(canaryTenant, batch);
  const found = await bounded(core, site.id, (signal) => site.journal.get(key, { signal }));
  const parsed = found === undefined ? undefined : parseFact(publicationSchema, found.bytes);
  return parsed !== undefined && 'fact' in parsed ? parsed.fact : undefined;
}

/** True if its one line was answered, as its own site shows: everything of the site has done its part. */
export async function canaryIsWorked(core: CanaryCore, site: Site, batch: string): Promise<boolean> {
  const prefix = resultsPrefix(canaryTenant, batch);
  const { entries } = await bounded(core, site.id, (signal) => site.journal.list(prefix, { signal }));
  return entries.some(({ key }) => (parseResultKey(key)?.answered ?? 0) > 0);
}

/**
 * Removes what a canary left, wherever it was mirrored, its publication last: what would be found without one would be
 * worked again. Its two votes stay, as every vote does.
 */
export async function tidyCanary(core: CanaryCore, home: Site, batch: string): Promise<void> {
  const publication = await canaryPublication(core, home, batch).catch(() => undefined);
  await Promise.all(
    [...core.sites.values()].map(async (site) => {
      try {
        const remove = (key: string) => bounded(core, site.id, (signal) => site.journal.delete(key, { signal }));
        await bounded(core, site.id, (signal) => site.state.delete(openKey(canaryTenant, batch), { signal }));
        const keys = await bounded(core, site.id, (signal) =>
          Array.fromAsync(listAll(site.journal, batchPrefix(canaryTenant, batch), { signal })),
        );
        const last = publicationKey(canaryTenant, batch);
        const others = keys.map(({ key }) => key).filter((key) => key !== last);
        for (const key of [...others, ...leftByPublication(site.id, publication)]) await remove(key);
        if (others.length < keys.length) await remove(last);
      } catch (error) {
        core.log.debug('canary.untidied', {
          site: site.id,
          batch,
          error: String((error as Error)?.message).slice(0, 200),
        });
      }
    }),
  );
}

/** Output files: only the site that the canary was bound to has their bytes. */
function leftByPublication(site: SiteId, publication: Publication | undefined): string[] {
  if (publication === undefined) return [];
  const { output, errorFile, choice, boundTo, tenant } = publication;
  const metas = (['output', 'error'] as const).map((kind) => fileMetaKey(tenant, outputFileId(publication, kind)));
  const files = boundTo === null || boundTo === site ? [output, errorFile, choice] : [];
  return [...metas, ...files.flatMap((file) => (file === null ? [] : [outputKey(tenant, file.sha256)]))];
}

/** What crashes, and mirrors under way, left behind of the canaries of one site. */
export async function tidyCanaries(core: CanaryCore, site: Site): Promise<void> {
  const now = core.clock.now();
  const keys = await bounded(core, site.id, (signal) =>
    Array.fromAsync(listAll(site.journal, batchesPrefix(canaryTenant), { signal })),
  );
  const batches = new Set(keys.flatMap(({ key }) => batchOfKey(key)?.batch ?? []));
  for (const batch of batches) {
    const publication = await canaryPublication(core, site, batch);
    if (publication !== undefined && now - publication.endedAt > leftoverMs) await tidyCanary(core, site, batch);
  }
}

/** One bounded call: a canary must never hang on what it is to test. */
export function bounded<T>(
  core: Pick<Core, 'clock' | 'settings'>,
  site: SiteId,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withDeadline(core.clock, core.settings.peerTimeoutMs, site, call);
}
