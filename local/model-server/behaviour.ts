import * as z from 'zod';
import { ConfigError } from '../../shared/errors.ts';
import type { DurationMs } from '../../shared/units.ts';

/** Faults that replace the work: the call costs nothing and counts as not computed. */
export const REFUSING_FAULTS = [
  'rate_limited',
  'server_error',
  'client_error',
  'unauthorized',
  'hang',
  'reset',
] as const;

/** Faults that spoil an answer after it was computed. */
export const SPOILING_FAULTS = [
  'not_json',
  'wrong_shape',
  'truncated',
  'fewer_embeddings',
  'reordered_embeddings',
  'other_model',
  'error_in_200',
  'endless_stream',
  'huge_body',
] as const;

/** A fault that replaces the work. */
export type RefusingFault = (typeof REFUSING_FAULTS)[number];
/** A fault that spoils the answer. */
export type SpoilingFault = (typeof SPOILING_FAULTS)[number];
/** Every way in which a call can be made to go wrong. */
export type FaultKind = RefusingFault | SpoilingFault;

/** How a model behaves. Every member can be set at start and changed while the server runs. */
export interface ModelBehaviour {
  /** Time before an answer: fixed, or lognormal by median and 99th percentile. Default 0 ms. */
  readonly latency: { readonly ms: DurationMs } | { readonly p50Ms: DurationMs; readonly p99Ms: DurationMs };
  /** Speed of generating; adds tokens ÷ speed to the latency. Null (default): instantly. */
  readonly tokensPerSecond: number | null;
  /** Speed of reading the input, for embeddings too. Null (default): instantly. */
  readonly inputTokensPerSecond: number | null;
  /** Calls worked on at once; the next one gets a 429. Null (default): no limit. */
  readonly concurrencyMax: number | null;
  /** Token bucket that holds one minute's worth and refills steadily. Null (default): no limit. */
  readonly requestsPerMinute: number | null;
  /** The same for tokens: those of the input, and as many as the call allows to be generated. Null (default): no limit. */
  readonly tokensPerMinute: number | null;
  /** Share of calls, 0 to 1, that meet each fault; together at most 1. Default none. */
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Status of `server_error`, 500 to 599. Default 500. */
  readonly serverErrorStatus: number;
  /** Status of `client_error`, 400 to 499: a provider fault that looks like the caller's. Default 400. */
  readonly clientErrorStatus: number;
  /**
   * What a 429 or 503 says about when to come back. `milliseconds` is the header `retry-after-ms`. `ms` null: the time
   * until the limit has room (one second where that is not known); else any time within a century, a year or the past
   * included. Default seconds and null.
   */
  readonly retryAfter: { readonly form: 'seconds' | 'milliseconds' | 'date' | 'none'; readonly ms: DurationMs | null };
  /** Length of the body that `huge_body` sends. Default 1 GiB. */
  readonly hugeBytes: number;
  /** Whether each answer ends in a mark of its own, so that no two answers to one line are equal. Default true. */
  readonly varyAnswers: boolean;
  /** Length of an embedding where the call does not ask for one, 1 to 4,096. Default 256. */
  readonly dimensions: number;
  /** Inputs an embedding call may have. Default 2,048. */
  readonly inputsMax: number;
  /** Tokens one embedding input may have. Default 8,192. */
  readonly inputTokensMax: number;
  /** Tokens all inputs of an embedding call may have together. Default 300,000. */
  readonly callTokensMax: number;
  /** Tokens of a prompt and its answer together. Default 128,000. */
  readonly contextTokensMax: number;
}

/** Behaviour by model name; `*` holds for every model that says nothing else. */
export type ModelServerBehaviour = Readonly<Record<string, Partial<ModelBehaviour>>>;

/** What a model does that nobody has configured: answer at once and without limits. */
export const DEFAULT_BEHAVIOUR: ModelBehaviour = Object.freeze<ModelBehaviour>({
  latency: { ms: 0 },
  tokensPerSecond: null,
  inputTokensPerSecond: null,
  concurrencyMax: null,
  requestsPerMinute: null,
  tokensPerMinute: null,
  faults: {},
  serverErrorStatus: 500,
  clientErrorStatus: 400,
  retryAfter: { form: 'seconds', ms: null },
  hugeBytes: 2 ** 30,
  varyAnswers: true,
  dimensions: 256,
  inputsMax: 2_048,
  inputTokensMax: 8_192,
  callTokensMax: 300_000,
  contextTokensMax: 128_000,
});

const DAY_MS = 86_400_000;
const CENTURY_MS = 36_525 * DAY_MS;
const share = z.number().min(0).max(1);
const spanMs = z.number().min(0).max(DAY_MS);
const count = z.int().min(1);
const speed = z.number().positive();

const faults = z
  .partialRecord(z.enum([...REFUSING_FAULTS, ...SPOILING_FAULTS]), share)
  .refine((shares) => Object.values(shares).reduce((sum, each) => sum + each, 0) <= 1 + 1e-9, {
    message: 'the shares of all faults together must not exceed 1',
  });

const patchSchema = z
  .strictObject({
    latency: z.union([
      z.strictObject({ ms: spanMs }),
      z
        .strictObject({ p50Ms: spanMs.positive(), p99Ms: spanMs.positive() })
        .refine(({ p50Ms, p99Ms }) => p99Ms >= p50Ms, { message: 'p99Ms must not be below p50Ms' }),
    ]),
    tokensPerSecond: speed.nullable(),
    inputTokensPerSecond: speed.nullable(),
    concurrencyMax: z.int().min(0).nullable(),
    requestsPerMinute: count.nullable(),
    tokensPerMinute: count.nullable(),
    faults,
    serverErrorStatus: z.int().min(500).max(599),
    clientErrorStatus: z.int().min(400).max(499),
    retryAfter: z.strictObject({
      form: z.enum(['seconds', 'milliseconds', 'date', 'none']),
      ms: z.number().min(-CENTURY_MS).max(CENTURY_MS).nullable(),
    }),
    hugeBytes: count,
    varyAnswers: z.boolean(),
    dimensions: count.max(4_096),
    inputsMax: count,
    inputTokensMax: count,
    callTokensMax: count,
    contextTokensMax: count,
  })
  .partial();

/**
 * Some members of a behaviour, checked.
 * @param key what to call the value in an error, say `behaviour.gpt-4o`
 * @throws ConfigError naming the member, its rule, and nothing of the rest
 */
export function parseBehaviour(value: unknown, key: string): Partial<ModelBehaviour> {
  const parsed = patchSchema.safeParse(value);
  if (parsed.success) return parsed.data as Partial<ModelBehaviour>;
  const issue = parsed.error.issues[0];
  const where = [key, ...(issue?.path ?? [])].join('.');
  throw new ConfigError(where, `${where}: ${issue?.message ?? 'is not a behaviour'}`);
}

/**
 * {@link parseBehaviour} for every model.
 * @throws ConfigError naming model and member
 */
export function parseServerBehaviour(value: unknown, key = 'behaviour'): ModelServerBehaviour {
  const parsed = z.record(z.string(), z.unknown()).safeParse(value);
  if (!parsed.success) throw new ConfigError(key, `${key}: must be an object of model names`);
  return Object.fromEntries(
    Object.entries(parsed.data).map(([model, patch]) => [model, parseBehaviour(patch, `${key}.${model}`)]),
  );
}
