import type { Acceptance, FileMeta, Manifest, Publication } from '../../../shared/journal/facts.ts';
import { noUsage } from '../../../shared/journal/facts.ts';
import { canonicalBytes, sha256 } from '../../../shared/journal/json.ts';
import {
  acceptanceKey,
  apiKeyKey,
  apiKeyRevokedKey,
  cancelKey,
  controlKey,
  dispatchKey,
  fileContentKey,
  fileDeletedKey,
  fileMetaKey,
  idempotencyKey,
  manifestKey,
  openKey,
  outputKey,
  planKey,
  publicationKey,
  recentKey,
  resultKey,
} from '../../../shared/journal/keys.ts';
import { outputFileMeta } from '../../../shared/journal/outputs.ts';
import { resultBytes } from '../../../shared/journal/results.ts';
import type { StoreId, TwoSites } from './two-sites.ts';

const uuidOf = (seed: string) => sha256(seed).slice(0, 32);
const at = Date.UTC(2026, 0, 1);

/** A fact, or a hint of `state`, in an order in which nothing refers to what comes later. */
export interface Written {
  key: string;
  bytes: Uint8Array;
  /** In `state`. */
  isHint?: boolean;
  /** May lie at this site only. */
  boundTo?: string;
}

export interface BatchSpec {
  tenant?: string;
  name: string;
  boundTo?: 'aws' | 'azure';
  isPublished?: boolean;
}

export const batchId = (name: string) => `batch_${uuidOf(name)}`;
export const fileId = (name: string) => `file-${sha256(`file ${name}`).slice(0, 27)}`;

export function inputFile(name: string, tenant = 'acme', boundTo: string | null = null): Written[] {
  const content = Buffer.from(`input of ${name}\n`);
  const id = fileId(name);
  const meta: FileMeta = {
    v: 1,
    kind: 'file',
    id,
    tenant,
    contentKey: fileContentKey(tenant, id),
    bytes: content.length,
    sha256: sha256(content),
    filename: `${name}.jsonl`,
    purpose: 'batch',
    createdAt: at,
    expiresAt: null,
    boundTo,
  };
  return [
    { key: meta.contentKey, bytes: content, ...(boundTo !== null && { boundTo }) },
    { key: fileMetaKey(tenant, id), bytes: canonicalBytes(meta) },
  ];
}

export function tombstoneOf(name: string, tenant = 'acme'): Written {
  const id = fileId(name);
  return {
    key: fileDeletedKey(tenant, id),
    bytes: canonicalBytes({ v: 1, kind: 'fileDeleted', id, tenant, at, by: 'k' }),
  };
}

/** Everything that one batch leaves in the journal, its input and hint included. */
export function batchFacts({ tenant = 'acme', name, boundTo, isPublished = false }: BatchSpec): Written[] {
  const batch = batchId(name);
  const bound = boundTo === undefined ? {} : { boundTo };
  const input = inputFile(name, tenant, boundTo ?? null);
  const manifest: Manifest = {
    v: 1,
    kind: 'manifest',
    batch,
    tenant,
    endpoint: '/v1/embeddings',
    inputSha256: sha256(input[0]!.bytes),
    inputBytes: input[0]!.bytes.length,
    windowMs: 86_400_000,
    metadata: null,
    outputExpiresAfterMs: null,
    boundTo: boundTo ?? null,
  };
  const by = (seed: string) => ({ epoch: 1, site: 'aws', uuid: uuidOf(`${name} ${seed}`) });
  const acceptance: Acceptance = {
    v: 1,
    kind: 'acceptance',
    batch,
    tenant,
    at,
    ...by('acceptance'),
    home: boundTo ?? 'aws',
    fileId: fileId(name),
    receipt: 'dual',
    keyId: '0123456789abcdef',
  };
  const plan = canonicalBytes({
    v: 1,
    kind: 'plan',
    batch,
    inputSha256: manifest.inputSha256,
    settings: { chunkLinesMax: 1, chunkTokensMax: 1, chunkBytesMax: 1 },
    lines: 2,
    model: 'm',
    chunks: [
      { offset: 0, length: 1, firstLine: 0, lines: 1, tokens: 1 },
      { offset: 1, length: 1, firstLine: 1, lines: 1, tokens: 1 },
    ],
    errors: [],
  });
  const dispatch = {
    v: 1,
    kind: 'dispatch',
    batch,
    at,
    ...by('dispatch'),
    to: 'aws',
    leaseMs: 1,
    reason: 'plan',
    ranges: [],
  };
  const results = [0, 1].map((line): Written => {
    const made = resultBytes({ batch, ...by(`result ${line}`), firstLine: line, lines: 1, at, attempt: uuidOf('a') }, [
      { outcome: 'failed', line, customId: `id-${line}`, code: 'c', message: name },
    ]);
    return { key: resultKey(tenant, batch, made.name), bytes: made.bytes, ...bound };
  });
  const cancel = { v: 1, kind: 'cancel', batch, at, site: 'aws', uuid: uuidOf(`${name} cancel`), by: 'k' };
  const facts: Written[] = [
    ...input,
    ...results,
    { key: planKey(tenant, batch, sha256(plan)), bytes: plan },
    { key: dispatchKey(tenant, batch, by('dispatch')), bytes: canonicalBytes(dispatch) },
    { key: cancelKey(tenant, batch, cancel.uuid), bytes: canonicalBytes(cancel) },
    { key: openKey(tenant, batch), bytes: canonicalBytes({ at }), isHint: true },
    { key: manifestKey(tenant, batch), bytes: canonicalBytes(manifest) },
    { key: recentKey(tenant, at, batch), bytes: new Uint8Array() },
    { key: idempotencyKey(tenant, sha256(name), batch), bytes: new Uint8Array() },
    { key: acceptanceKey(tenant, batch, by('acceptance')), bytes: canonicalBytes(acceptance) },
  ];
  return isPublished ? [...facts, ...publicationFacts(manifest, tenant)] : facts;
}

function publicationFacts(manifest: Manifest, tenant: string): Written[] {
  const { batch } = manifest;
  const bound = manifest.boundTo === null ? {} : { boundTo: manifest.boundTo };
  const files = ['output', 'error', 'choice'].map((kind): Written => {
    const bytes = Buffer.from(`${kind} of ${batch}\n`);
    return { key: outputKey(tenant, sha256(bytes)), bytes, ...bound };
  });
  const named = (i: number) => ({ sha256: sha256(files[i]!.bytes), bytes: files[i]!.bytes.length });
  const publication: Publication = {
    v: 1,
    kind: 'publication',
    batch,
    tenant,
    status: 'completed',
    site: 'aws',
    epoch: 1,
    counts: { total: 2, completed: 0, failed: 2 },
    usage: noUsage,
    model: 'm',
    output: named(0),
    errorFile: named(1),
    choice: named(2),
    errors: [],
    repeats: 0,
    inProgressAt: at,
    finalizingAt: at,
    cancellingAt: null,
    endedAt: at,
    boundTo: manifest.boundTo,
  };
  const metas = (['output', 'error'] as const).map((kind) => outputFileMeta(publication, manifest, kind)!);
  return [
    ...files,
    { key: publicationKey(tenant, batch), bytes: canonicalBytes(publication) },
    ...metas.map((meta) => ({ key: fileMetaKey(tenant, meta.id), bytes: canonicalBytes(meta) })),
  ];
}

export function commonFacts(): Written[] {
  const keyId = '0123456789abcdef';
  const control = [1, 2, 3].map((epoch) => ({ key: controlKey(epoch), bytes: Buffer.from(`entry ${epoch}`) }));
  return [
    { key: apiKeyRevokedKey(keyId), bytes: Buffer.from('revoked') },
    { key: apiKeyKey(keyId), bytes: Buffer.from('key') },
    ...control,
    { key: 'drills/d1/plan.json', bytes: Buffer.from('drill') },
  ];
}

/** Writes facts behind the faults, in the order given. */
export async function seed(world: TwoSites, site: StoreId, facts: readonly Written[]): Promise<void> {
  for (const { key, bytes, isHint, boundTo } of facts) {
    if (boundTo !== undefined && boundTo !== site) continue;
    await (isHint ? world.state(site) : world.journal(site)).putIfAbsent(key, bytes);
  }
}

/** What refers, on one site, to something that is not there; `undefined` if nothing does. */
export async function dangling(
  world: TwoSites,
  site: 'aws' | 'azure',
  all: readonly Written[],
): Promise<string | undefined> {
  const has = async (key: string) => (await world.journal(site).head(key)) !== undefined;
  const mayHold = (key: string) => {
    const boundTo = all.find((one) => one.key === key)?.boundTo;
    return boundTo === undefined || boundTo === site;
  };
  const keys = (await world.journal(site).list('')).entries.map(({ key }) => key);
  for (const key of keys) {
    const text = Buffer.from((await world.journal(site).get(key))!.bytes).toString();
    const [, tenant = '', , id = ''] = key.split('/');
    const needs: string[] = [];
    if (key.endsWith('/meta.json')) needs.push((JSON.parse(text) as FileMeta).contentKey);
    if (key.includes('/acceptances/')) {
      const file = (JSON.parse(text) as Acceptance).fileId;
      needs.push(manifestKey(tenant, id), fileContentKey(tenant, file), fileMetaKey(tenant, file));
    }
    if (key.endsWith('/publication.json')) {
      const { output, errorFile, choice } = JSON.parse(text) as Publication;
      needs.push(
        manifestKey(tenant, id),
        ...[output, errorFile, choice].map((file) => outputKey(tenant, file!.sha256)),
      );
    }
    const marked = /\/(?:recent|idempotency)\/.*(batch_[0-9a-f]{32})$/.exec(key)?.[1];
    if (marked !== undefined) needs.push(manifestKey(tenant, marked));
    const epoch = Number(/^control\/(\d+)/.exec(key)?.[1] ?? 1);
    if (epoch > 1) needs.push(controlKey(epoch - 1));
    for (const needed of needs) if (mayHold(needed) && !(await has(needed))) return `${key} refers to ${needed}`;
    const isOpen = key.endsWith('/manifest.json') && !(await has(publicationKey(tenant, id)));
    if (isOpen && (await world.state(site).head(openKey(tenant, id))) === undefined) return `${key} has no hint`;
  }
  return undefined;
}
