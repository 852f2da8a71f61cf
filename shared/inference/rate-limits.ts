import type { DurationMs, EpochMs } from '../units.ts';

/** What a server says is left of its quotas, as of the moment at which it took the request. */
export interface RateLimits {
  requests?: QuotaReading;
  tokens?: QuotaReading;
}

export interface QuotaReading {
  remaining: number;
  /** The whole quota; absent where the server does not say. */
  limit?: number;
  /** Until the whole quota is there again, 0 … 10 minutes; absent where the server does not say. */
  resetMs?: DurationMs;
}

/** No pause is obeyed beyond this: a server that asks for a year is not to be believed. */
export const pauseMsMax: DurationMs = 10 * 60_000;

/**
 * Reads `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`. OpenAI writes resets as `6m0s` or `20ms`, Azure as
 * seconds, others as an RFC 3339 moment; what makes no sense is left out.
 * @source https://platform.openai.com/docs/guides/rate-limits 2026-08
 * @source https://learn.microsoft.com/azure/ai-foundry/openai/how-to/quota 2026-08
 */
export function parseRateLimits(headers: Pick<Headers, 'get'>, now: EpochMs): RateLimits | undefined {
  const requests = parseQuota(headers, 'requests', now);
  const tokens = parseQuota(headers, 'tokens', now);
  if (requests === undefined && tokens === undefined) return undefined;
  return { ...(requests && { requests }), ...(tokens && { tokens }) };
}

function parseQuota(headers: Pick<Headers, 'get'>, of: 'requests' | 'tokens', now: EpochMs): QuotaReading | undefined {
  const remaining = parseCount(headers.get(`x-ratelimit-remaining-${of}`));
  if (remaining === undefined) return undefined;
  const limit = parseCount(headers.get(`x-ratelimit-limit-${of}`));
  const resetMs = parseReset(headers.get(`x-ratelimit-reset-${of}`), now);
  return { remaining, ...(limit !== undefined && { limit }), ...(resetMs !== undefined && { resetMs }) };
}

function parseCount(text: string | null): number | undefined {
  // Azure has answered -1 where it does not know.
  return text !== null && /^\d{1,15}(\.\d+)?$/.test(text.trim()) ? Math.floor(Number(text)) : undefined;
}

const unitMs: Readonly<Record<string, DurationMs>> = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 };

function parseReset(text: string | null, now: EpochMs): DurationMs | undefined {
  const given = text?.trim() ?? '';
  if (given === '') return undefined;
  if (/^\d+(\.\d+)?$/.test(given)) return bounded(Number(given) * 1000);
  if (/^(\d+(\.\d+)?(ms|[dhms]))+$/.test(given)) {
    const parts = [...given.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)];
    return bounded(parts.reduce((sum, [, count, unit]) => sum + Number(count) * unitMs[unit!]!, 0));
  }
  const at = /^\d{4}-\d{2}-\d{2}T/.test(given) ? Date.parse(given) : Number.NaN;
  return Number.isFinite(at) ? bounded(at - now) : undefined;
}

const monthNames = 'Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec';
/** The three forms that a recipient must take: IMF-fixdate, RFC 850, asctime. */
const httpDates = [
  new RegExp(`^[A-Z][a-z]{2}, \\d{2} (${monthNames}) \\d{4} \\d{2}:\\d{2}:\\d{2} GMT$`),
  new RegExp(`^[A-Z][a-z]+day, \\d{2}-(${monthNames})-\\d{2} \\d{2}:\\d{2}:\\d{2} GMT$`),
  new RegExp(`^[A-Z][a-z]{2} (${monthNames}) [ \\d]\\d \\d{2}:\\d{2}:\\d{2} \\d{4}$`),
];

/**
 * How long a server asks to be left alone, 0 … 10 minutes: `retry-after-ms` (Azure OpenAI), or `Retry-After` in seconds
 * or as an HTTP date. `undefined` where neither says anything sensible.
 * @source https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 2022-06
 */
export function retryAfterOf(headers: Pick<Headers, 'get'>, now: EpochMs): DurationMs | undefined {
  const inMs = headers.get('retry-after-ms')?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(inMs)) return bounded(Number(inMs));
  return parseRetryAfter(headers.get('retry-after'), now);
}

/** The value of `Retry-After`. */
export function parseRetryAfter(value: string | null, now: EpochMs): DurationMs | undefined {
  const text = value?.trim() ?? '';
  if (/^\d+(\.\d+)?$/.test(text)) return bounded(Number(text) * 1000);
  if (!httpDates.some((form) => form.test(text))) return undefined;
  const at = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`);
  return Number.isFinite(at) ? bounded(at - now) : undefined;
}

function bounded(ms: DurationMs): DurationMs {
  return Math.min(Math.max(Math.ceil(ms), 0), pauseMsMax);
}
