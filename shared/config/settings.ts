import * as z from 'zod';
import { profiles } from '../health/types.ts';
import { lineBytesMax } from '../limits.ts';
import { type ChunkLimits, defaultSettings, type Settings } from '../settings.ts';
import { section } from './fields.ts';

const second = 1000;
const minute = 60 * second;
const day = 24 * 60 * minute;

/**
 * Times a broker hands a message out before it dead-letters it; `serverless.yml` and `infra/` set it. Attempts are
 * counted in the journal, so this is only for what no worker could settle.
 */
export const brokerDeliveriesMax = 1000;

const int = (min: number, max: number) => z.int().min(min).max(max, `must be at most ${max}`);
const span = (min: number, max: number) => int(min, max).optional();

const chunkLimits = section({
  linesMax: span(1, 50_000),
  tokensMax: span(1, 10_000_000),
  bytesMax: span(lineBytesMax, 16 * 1024 * 1024),
} satisfies Record<keyof ChunkLimits, z.ZodType>).optional();

/** Overrides of the default settings; resolves to all of them. Ranges are in the units of `Settings`. */
export const settingsSchema = section({
  intake: z.enum(['strict', 'available']).optional(),
  chunks: section({ text: chunkLimits, embeddings: chunkLimits }).optional(),
  peerTimeoutMs: span(100, minute),
  controlCacheMs: span(0, minute),
  health: z.enum(['fast', 'balanced', 'careful']).optional(),
  failover: z.enum(['automatic', 'recommend']).optional(),
  tickMs: span(100, minute),
  leaseMs: span(second, 10 * minute),
  // Lambda ends a run after 15 minutes at most; the trigger's queue hides a message as long.
  runMs: span(second, 14 * minute),
  dispatchLeaseMs: span(second, day),
  shortDepthMs: span(0, day),
  attemptsMax: span(1, 100),
  crashesBeforeSplit: span(1, 100),
  deliveriesMax: span(2, brokerDeliveriesMax - 1),
  fileLifeMs: span(minute, 3650 * day),
} satisfies Record<keyof Settings, z.ZodType>)
  .transform(({ chunks, ...overrides }) => {
    const given = Object.fromEntries(Object.entries(overrides).filter(([, value]) => value !== undefined));
    return {
      ...defaultSettings,
      tickMs: profiles[overrides.health ?? defaultSettings.health].tickMs,
      ...(given as Partial<Settings>),
      chunks: {
        text: { ...defaultSettings.chunks.text, ...(chunks?.text as Partial<ChunkLimits>) },
        embeddings: { ...defaultSettings.chunks.embeddings, ...(chunks?.embeddings as Partial<ChunkLimits>) },
      },
    } satisfies Settings;
  })
  .superRefine((settings, context) => {
    for (const [key, rule, holds] of relations(settings))
      if (!holds) context.addIssue({ code: 'custom', path: [key], message: rule });
  });

/** What must hold between settings: the key at fault, the rule in words, and whether it holds. */
function relations(s: Settings): [keyof Settings, string, boolean][] {
  return [
    ['leaseMs', `must be less than runMs (${s.runMs}), or a lease outlives every run`, s.leaseMs < s.runMs],
    [
      'peerTimeoutMs',
      `must be less than leaseMs (${s.leaseMs}), or waiting for the peer loses the lease`,
      s.peerTimeoutMs < s.leaseMs,
    ],
    [
      'dispatchLeaseMs',
      `must be at least leaseMs (${s.leaseMs}), or work that is still leased counts as lost`,
      s.dispatchLeaseMs >= s.leaseMs,
    ],
    [
      'shortDepthMs',
      `must be at least tickMs (${s.tickMs}): one reading of the queue's depth proves nothing`,
      s.shortDepthMs >= s.tickMs,
    ],
    [
      'crashesBeforeSplit',
      `must be less than deliveriesMax (${s.deliveriesMax}), or a chunk that kills its worker is never split`,
      s.crashesBeforeSplit < s.deliveriesMax,
    ],
  ];
}
