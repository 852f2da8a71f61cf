import * as z from 'zod';
import { factBytesMax } from '../limits.ts';
import { canonicalBytes, type Json, parseBoundedJson } from './json.ts';
import { batchIdPattern, fileIdPattern, sitePattern, tenantPattern, uuidPattern } from './keys.ts';

/**
 * The facts of the journal (DESIGN.md section 4): every one carries `v` and `kind`, is written once, and is parsed here
 * at the border. A version above ours is *unknown*, not bad: it is left for a process that knows it (I15).
 */
export const factVersion = 1;

const fact = <K extends string, S extends z.ZodRawShape>(kind: K, shape: S) =>
  z.object({ v: z.literal(factVersion), kind: z.literal(kind), ...shape });

const tenant = z.string().regex(tenantPattern);
const site = z.string().regex(sitePattern);
const fileId = z.string().regex(fileIdPattern);
const batchId = z.string().regex(batchIdPattern);
const uuid = z.string().regex(uuidPattern);
const hash = z.string().regex(/^[0-9a-f]{64}$/);
const epoch = z.int().min(1).max(99_999_999);
/** EpochMs. */
const at = z.number().int().min(0).max(8.64e15);
const count = z.int().min(0);

export const endpoints = ['/v1/chat/completions', '/v1/responses', '/v1/embeddings'] as const;
export type Endpoint = (typeof endpoints)[number];
const endpoint = z.enum(endpoints);

/** Tokens, as the OpenAI batch object counts them. */
export const usageSchema = z.object({
  inputTokens: count,
  cachedTokens: count,
  outputTokens: count,
  reasoningTokens: count,
});
export type Usage = z.infer<typeof usageSchema>;
export const noUsage: Usage = { inputTokens: 0, cachedTokens: 0, outputTokens: 0, reasoningTokens: 0 };

/** An uploaded file, or an output file named by a publication (`contentKey` then lies under `outputs/`). */
export const fileMetaSchema = fact('file', {
  id: fileId,
  tenant,
  /** Key of the bytes in the same journal. */
  contentKey: z.string(),
  bytes: count,
  sha256: hash,
  filename: z.string().max(1024),
  purpose: z.enum(['batch', 'batch_output']),
  createdAt: at,
  expiresAt: at.nullable(),
  /** The one site that may hold the content; `null` where both do. */
  boundTo: site.nullable(),
});
export type FileMeta = z.infer<typeof fileMetaSchema>;

export const fileDeletedSchema = fact('fileDeleted', { id: fileId, tenant, at, by: z.string().max(200) });
export type FileDeleted = z.infer<typeof fileDeletedSchema>;

/** The request in canonical form and nothing else: the same bytes from whoever writes it. */
export const manifestSchema = fact('manifest', {
  batch: batchId,
  tenant,
  endpoint,
  inputSha256: hash,
  inputBytes: count,
  /** Completion window in ms; the front door takes `24h`. */
  windowMs: z.int().min(1000),
  metadata: z.record(z.string(), z.string()).nullable(),
  /** Lifetime of the output files from their creation, ms; `null` for the default. */
  outputExpiresAfterMs: count.nullable(),
  boundTo: site.nullable(),
});
export type Manifest = z.infer<typeof manifestSchema>;

export const receipts = ['dual', 'single', 'single-by-policy'] as const;
export type Receipt = (typeof receipts)[number];
/** One intake accepted the batch. The earliest (time, then uuid) counts. */
export const acceptanceSchema = fact('acceptance', {
  batch: batchId,
  tenant,
  at,
  site,
  epoch,
  uuid,
  /** Site that plans and works it first. */
  home: site,
  fileId,
  receipt: z.enum(receipts),
  /** Id of the API key that submitted it. */
  keyId: z.string().max(64),
});
export type Acceptance = z.infer<typeof acceptanceSchema>;

/** A byte range of the input that one pointer names. */
export const chunkSchema = z.object({
  offset: count,
  length: z.int().min(1),
  /** 0-based. */
  firstLine: count,
  lines: z.int().min(1),
  /** Estimated input tokens. */
  tokens: count,
});
export type Chunk = z.infer<typeof chunkSchema>;

/** A violation in the input file; `line` is 1-based, `null` where it concerns the file. */
export const validationErrorSchema = z.object({
  code: z.string(),
  message: z.string(),
  param: z.string().nullable(),
  line: z.int().min(1).nullable(),
});
export type ValidationError = z.infer<typeof validationErrorSchema>;

/** The input, validated and cut; or why it was refused (then `errors` is not empty and `chunks` is). */
export const planSchema = fact('plan', {
  batch: batchId,
  inputSha256: hash,
  /** Planner settings: another setting gives another plan, and any plan serves. */
  settings: z.object({ chunkLinesMax: count, chunkTokensMax: count, chunkBytesMax: count }),
  lines: count,
  model: z.string().nullable(),
  chunks: z.array(chunkSchema),
  errors: z.array(validationErrorSchema),
});
export type Plan = z.infer<typeof planSchema>;

/** One wave of pointers was sent. */
export const dispatchSchema = fact('dispatch', {
  batch: batchId,
  at,
  /** Who sent. */
  site,
  epoch,
  uuid,
  /** Whose work queue got them. */
  to: site,
  /** After this long without a result a pointer may be taken for lost, ms. */
  leaseMs: count,
  reason: z.enum(['plan', 'lost', 'split', 'redrive', 'spillover']),
  /** `[firstLine, lines]` of each pointer. */
  ranges: z.array(z.tuple([count, z.int().min(1)])),
});
export type Dispatch = z.infer<typeof dispatchSchema>;

export const servedBySchema = z.object({
  site,
  /** Cloud of the site; absent in results of before it was written down. */
  cloud: z.enum(['aws', 'azure']).optional(),
  /** Name of the backend in the model map. */
  backend: z.string(),
  /** Model as the backend named it in its answer. */
  model: z.string(),
});
export type ServedBy = z.infer<typeof servedBySchema>;

/** Header line of a result object; `rows` counts the lines after it, so that a torn object shows. */
export const resultHeaderSchema = fact('result', {
  batch: batchId,
  site,
  epoch,
  uuid,
  firstLine: count,
  lines: z.int().min(1),
  rows: count,
  at,
  /** Same in a start and in the result of one attempt. */
  attempt: uuid,
  /** True for what a worker writes before it works a line that was delivered before: a crash leaves only this. */
  start: z.boolean(),
});
export type ResultHeader = z.infer<typeof resultHeaderSchema>;

/** Outcome of one line in a result object. `answered` and `failed` are terminal; `retry` only counts or explains. */
export const resultRowSchema = z.discriminatedUnion('outcome', [
  z.object({
    outcome: z.literal('answered'),
    line: count,
    customId: z.string(),
    status: z.int().min(100).max(599),
    requestId: z.string(),
    body: z.custom<Json>((value) => value !== undefined),
    servedBy: servedBySchema,
    usage: usageSchema,
  }),
  z.object({
    outcome: z.literal('failed'),
    line: count,
    customId: z.string(),
    code: z.string(),
    message: z.string(),
  }),
  z.object({
    outcome: z.literal('retry'),
    line: count,
    customId: z.string(),
    cause: z.enum(['backend', 'site', 'deadline', 'line']),
    reason: z.string(),
    /** Spends one of the line's attempts. An outage never does. */
    counts: z.boolean(),
  }),
]);
export type ResultRow = z.infer<typeof resultRowSchema>;
export type TerminalRow = Exclude<ResultRow, { outcome: 'retry' }>;

export const cancelSchema = fact('cancel', { batch: batchId, at, site, uuid, by: z.string().max(200) });
export type Cancel = z.infer<typeof cancelSchema>;

export const terminalStatuses = ['completed', 'failed', 'expired', 'cancelled'] as const;
export type TerminalStatus = (typeof terminalStatuses)[number];

/** A file that a publication names. */
export const publishedFileSchema = z.object({ sha256: hash, bytes: count });
export type PublishedFile = z.infer<typeof publishedFileSchema>;

/** How a batch ended, byte for byte the decided register value. */
export const publicationSchema = fact('publication', {
  batch: batchId,
  tenant,
  status: z.enum(terminalStatuses),
  /** Site that proposed it. */
  site,
  epoch,
  counts: z.object({ total: count, completed: count, failed: count }),
  usage: usageSchema,
  model: z.string().nullable(),
  output: publishedFileSchema.nullable(),
  errorFile: publishedFileSchema.nullable(),
  /** The list of chosen results, under `outputs/<sha256>`; `null` where nothing was chosen from. */
  choice: publishedFileSchema.nullable(),
  /** Validation errors (`failed` only). */
  errors: z.array(validationErrorSchema),
  /** Lines whose terminal results were computed more than once. */
  repeats: count,
  inProgressAt: at.nullable(),
  finalizingAt: at,
  cancellingAt: at.nullable(),
  endedAt: at,
  boundTo: site.nullable(),
});
export type Publication = z.infer<typeof publicationSchema>;

/** Head line of a `choice` file, then one `ChosenRow` a line. */
export const chosenRowSchema = z.object({
  line: count,
  customId: z.string(),
  /** Key of the result object, or `null` for a line ended by expiry or cancellation. */
  from: z.string().nullable(),
});
export type ChosenRow = z.infer<typeof chosenRowSchema>;

export const siteStates = ['active', 'cordoned', 'fenced', 'recovering'] as const;
export type SiteState = (typeof siteStates)[number];

/** One entry of the control log: the whole desired state. */
export const controlSchema = fact('control', {
  epoch,
  /** SHA-256 of the previous entry's bytes; `null` only in entry 1. */
  previous: hash.nullable(),
  at,
  actor: z.string().min(1).max(200),
  reason: z.string().min(1).max(2000),
  /** Idempotency of commands: a replay finds its own id and does nothing. */
  operation: z.string().max(64),
  evidence: z.array(z.string().max(2000)).max(50),
  /** Safety rules that were overridden by `--force`. */
  forced: z.array(z.string()),
  sites: z.record(
    site,
    z.object({
      cloud: z.enum(['aws', 'azure']),
      region: z.string(),
      generation: z.int().min(1),
      state: z.enum(siteStates),
      /** Share of new batches, 0 … 100. */
      weight: z.int().min(0).max(100),
      /** Last epoch that fenced this site; 0 if none did. A pointer of an older epoch is stale there. */
      fencedEpoch: count,
    }),
  ),
  voters: z
    .array(
      z.object({
        store: z.string(),
        incarnation: z.string().regex(/^[a-z0-9-]{1,64}$/),
        /** Does not vote yet: a new incarnation whose registers are being completed. */
        joining: z.boolean().optional(),
      }),
    )
    .length(3),
  frozen: z.boolean(),
  /** A model or a batch that works elsewhere than its site would say. */
  moves: z.array(z.object({ scope: z.enum(['model', 'batch']), name: z.string(), from: site, to: site, since: epoch })),
});
export type ControlEntry = z.infer<typeof controlSchema>;

export const roles = ['submitter', 'viewer', 'operator'] as const;
export type Role = (typeof roles)[number];
export const apiKeySchema = fact('apiKey', {
  id: z.string().regex(/^[0-9a-f]{16}$/),
  /** SHA-256 of the whole secret. */
  secretSha256: hash,
  tenant,
  role: z.enum(roles),
  createdAt: at,
  expiresAt: at.nullable(),
  /** The only site that may hold this key's payloads; `null`: both. */
  boundTo: site.nullable(),
});
export type ApiKey = z.infer<typeof apiKeySchema>;
export const apiKeyRevokedSchema = fact('apiKeyRevoked', { id: z.string(), at, by: z.string().max(200) });

/** What a queue message says: look here. */
export const pointerSchema = z.discriminatedUnion('kind', [
  z.object({
    v: z.literal(factVersion),
    kind: z.literal('chunk'),
    tenant,
    batch: batchId,
    /** File id of the input. */
    input: fileId,
    ...chunkSchema.omit({ tokens: true }).shape,
    endpoint,
    model: z.string(),
    epoch,
    /** May have been worked before: look for results first. */
    repeat: z.boolean(),
  }),
  z.object({ v: z.literal(factVersion), kind: z.enum(['plan', 'publish']), tenant, batch: batchId, epoch }),
  z.object({
    v: z.literal(factVersion),
    kind: z.literal('split'),
    tenant,
    batch: batchId,
    firstLine: count,
    lines: z.int().min(1),
    epoch,
  }),
]);
export type Pointer = z.infer<typeof pointerSchema>;
export type ChunkPointer = Extract<Pointer, { kind: 'chunk' }>;

/** Why a fact or pointer was not taken. `unknown`: a version we do not know yet; leave it for one who does. */
export interface FactFault {
  fault: 'torn' | 'hostile' | 'oversized' | 'invalid' | 'unknown';
  detail: string;
}

/**
 * Parses one fact. Never throws.
 * @param bytesMax default 16 MiB
 */
export function parseFact<S extends z.ZodType>(
  schema: S,
  bytes: Uint8Array,
  bytesMax: number = factBytesMax,
): { fact: z.infer<S> } | FactFault {
  const json = parseBoundedJson(bytes, { bytesMax });
  if ('fault' in json) return json;
  return checkFact(schema, json.value);
}

/** As `parseFact` for a value that is parsed already. */
export function checkFact<S extends z.ZodType>(schema: S, value: Json): { fact: z.infer<S> } | FactFault {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    const version = value.v;
    if (typeof version === 'number' && version > factVersion)
      return { fault: 'unknown', detail: `version ${version}, this process knows up to ${factVersion}` };
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return { fact: parsed.data };
  const issue = parsed.error.issues[0];
  return {
    fault: 'invalid',
    detail: `${issue?.path.join('.') || '(whole)'}: ${issue?.message ?? 'invalid'}`.slice(0, 300),
  };
}

/** The bytes of a fact: canonical JSON, so that the same fact is the same bytes from whoever writes it. */
export function factBytes(fact: { v: number; kind: string }): Uint8Array {
  return canonicalBytes(fact);
}
