import * as z from 'zod';
import { section } from '../../../shared/config/fields.ts';
import { profiles } from '../../../shared/health/types.ts';
import { defaultSettings, type Settings } from '../../../shared/settings.ts';
import { durationRule, offsetRule, parseDuration, parseOffset } from '../scenario/time.ts';
import { parseYaml } from '../yaml-file.ts';

export const clouds = ['aws', 'azure'] as const;
export type Cloud = (typeof clouds)[number];
export const otherCloud = (cloud: Cloud): Cloud => (cloud === 'aws' ? 'azure' : 'aws');

const span = (fallback: string) =>
  z
    .string()
    .default(fallback)
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms === undefined) context.addIssue({ code: 'custom', message: durationRule });
      return ms ?? 0;
    });
const count = (fallback: number, max: number) => z.int().min(1).max(max).default(fallback);
const dollars = (fallback: number) => z.number().min(0).max(100_000).default(fallback);

/**
 * What one cloud serves the model with. The price is that of gpt-oss-120b, which both clouds sell: dollars for a million
 * tokens.
 * @source https://aws.amazon.com/bedrock/pricing/ 2026-11
 */
const cloudSchema = section({
  /** Quota of the model here: prompt and answer together. Default 1,000,000. */
  tokensPerMinute: count(1_000_000, 1e10),
  /** Default 1,000. */
  requestsPerMinute: count(1_000, 1e8),
  /** Calls at once over all workers. Default 128. */
  concurrency: count(128, 1_000_000),
  /** From the call to the first token. Default 700. */
  callMs: z.int().min(0).max(600_000).default(700),
  /** Of one call. Default 60. */
  outputTokensPerSecond: z.number().positive().max(1_000_000).default(60),
  price: section({ inputPerMillion: dollars(0.15), outputPerMillion: dollars(0.6) }).prefault({}),
}).prefault({});

/** Shape of a limits file; every key has a default. */
export const limitsSchema = section({
  clouds: section({ aws: cloudSchema, azure: cloudSchema }).prefault({}),
  /** Weights by which new batches are given a home. Default 50 and 50. */
  home: section({
    aws: z.int().min(0).max(100).default(50),
    azure: z.int().min(0).max(100).default(50),
  })
    .refine(({ aws, azure }) => aws + azure > 0, 'one of the weights must be above 0')
    .prefault({}),
  batch: section({
    /** A batch is sent when it has so many lines … Default 500. */
    lines: count(500, 50_000),
    /** … or when its first line has waited so long. Default 5m. */
    every: span('5m'),
    /** Completion window. Default 24h. */
    window: span('24h').refine((ms) => ms >= 60_000, 'must be at least 1m'),
    /** Of the input, for cutting chunks and for what crosses between the clouds. Default 4. */
    bytesPerToken: z.number().positive().max(100).default(4),
  }).prefault({}),
  chunk: section({
    linesMax: count(defaultSettings.chunks.text.linesMax, 50_000),
    tokensMax: count(defaultSettings.chunks.text.tokensMax, 10_000_000),
  }).prefault({}),
  /** Profile of the judges. */
  health: z.enum(['fast', 'balanced', 'careful']).default('balanced'),
  intake: z.enum(['strict', 'available']).default('strict'),
  /** `automatic`: monitors act. `by-hand`: a person does, `handAfter` after T+0. */
  failover: z.enum(['automatic', 'by-hand']).default('automatic'),
  handAfter: span('15m'),
  /** Whether a third observer runs, beside the witness. Default true. */
  observer: z.boolean().default(true),
  /** Where in the trace T+0 of the outage lies. Default: after a third of it. */
  outageAt: z
    .string()
    .transform((text, context) => {
      const ms = parseOffset(text);
      if (ms === undefined) context.addIssue({ code: 'custom', message: offsetRule });
      return ms ?? 0;
    })
    .optional(),
  /** The trace is played so often, one after the other. Default 1. */
  repeatTrace: count(1, 1_000),
  /** Of everything that is drawn. Default 1. */
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(1),
}).transform((limits) => ({
  ...limits,
  /** The settings of the product that the rules are given. */
  settings: {
    ...defaultSettings,
    health: limits.health,
    tickMs: profiles[limits.health].tickMs,
    intake: limits.intake,
    failover: limits.failover === 'automatic' ? ('automatic' as const) : ('recommend' as const),
    chunks: { ...defaultSettings.chunks, text: { ...defaultSettings.chunks.text, ...limits.chunk } },
  } satisfies Settings,
}));

export type PlanLimits = z.output<typeof limitsSchema>;

/** Reads a limits file. @throws InputFileError naming file, line, key, value and rule */
export function parseLimits(source: string, name: string): PlanLimits {
  return parseYaml(
    source,
    name,
    z.preprocess((value) => value ?? {}, limitsSchema),
  ).value;
}

/** What holds where there is no limits file. */
export const defaultLimits = (): PlanLimits => limitsSchema.parse({});
