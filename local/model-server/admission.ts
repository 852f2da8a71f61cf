import type { Random } from '../../shared/ports/random.ts';
import type { DurationMs, EpochMs } from '../../shared/units.ts';
import type { FaultKind, ModelBehaviour } from './behaviour.ts';
import { drawLognormal } from './random.ts';

const MINUTE_MS = 60_000;

/** What is left of a model's limits per minute, as of a moment. Without a limit the rest is infinite. */
export interface Budget {
  readonly requests: number;
  readonly tokens: number;
  readonly at: EpochMs;
}

/** A call may run, or which limit it ran into and how long until there is room. */
export type Admission =
  | { readonly admitted: true; readonly budget: Budget }
  | {
      readonly admitted: false;
      readonly budget: Budget;
      readonly limit: 'concurrency' | 'requests' | 'tokens';
      readonly waitMs: DurationMs | null;
    };

/** What nobody has used yet. */
export const FULL_BUDGET: Budget = {
  requests: Number.POSITIVE_INFINITY,
  tokens: Number.POSITIVE_INFINITY,
  at: 0,
};

/** The budget at `now`: limits refill steadily and never hold more than one minute's worth. */
export function refillBudget(budget: Budget, behaviour: ModelBehaviour, now: EpochMs): Budget {
  const minutes = Math.max(0, now - budget.at) / MINUTE_MS;
  const refill = (left: number, limit: number | null) =>
    limit === null ? Number.POSITIVE_INFINITY : Math.min(limit, left + limit * minutes);
  return {
    requests: refill(budget.requests, behaviour.requestsPerMinute),
    tokens: refill(budget.tokens, behaviour.tokensPerMinute),
    at: now,
  };
}

/**
 * Whether one more call may start. A refused call uses nothing up.
 * @param tokens what the call may cost: its input and the most it may generate
 */
export function decideAdmission(
  use: { readonly budget: Budget; readonly inFlight: number },
  behaviour: ModelBehaviour,
  tokens: number,
  now: EpochMs,
): Admission {
  const budget = refillBudget(use.budget, behaviour, now);
  const { concurrencyMax, requestsPerMinute, tokensPerMinute } = behaviour;
  if (concurrencyMax !== null && use.inFlight >= concurrencyMax) {
    return { admitted: false, budget, limit: 'concurrency', waitMs: null };
  }
  if (requestsPerMinute !== null && budget.requests < 1) {
    const waitMs = ((1 - budget.requests) / requestsPerMinute) * MINUTE_MS;
    return { admitted: false, budget, limit: 'requests', waitMs };
  }
  if (tokensPerMinute !== null && budget.tokens < tokens) {
    // A call larger than the limit itself never fits: no time to name.
    const waitMs = tokens > tokensPerMinute ? null : ((tokens - budget.tokens) / tokensPerMinute) * MINUTE_MS;
    return { admitted: false, budget, limit: 'tokens', waitMs };
  }
  return { admitted: true, budget: { ...budget, requests: budget.requests - 1, tokens: budget.tokens - tokens } };
}

/** The fault a call meets, if any. One draw per call decides, so shares are exact and never overlap. */
export function drawFault(behaviour: ModelBehaviour, random: Random): FaultKind | null {
  let draw = random();
  for (const [kind, share] of Object.entries(behaviour.faults)) {
    if (draw < share) return kind as FaultKind;
    draw -= share;
  }
  return null;
}

/** How long an answer takes: latency, and the time to read and to generate. */
export function drawDelayMs(
  behaviour: ModelBehaviour,
  tokens: { readonly input: number; readonly output: number },
  random: Random,
): DurationMs {
  const { latency, tokensPerSecond, inputTokensPerSecond } = behaviour;
  const base = 'ms' in latency ? latency.ms : drawLognormal(random, latency.p50Ms, latency.p99Ms);
  const reading = inputTokensPerSecond === null ? 0 : (tokens.input / inputTokensPerSecond) * 1000;
  const writing = tokensPerSecond === null ? 0 : (tokens.output / tokensPerSecond) * 1000;
  return base + reading + writing;
}

/** The `x-ratelimit-*` headers of a model's limits; none where it has no limit. */
export function rateLimitHeaders(behaviour: ModelBehaviour, budget: Budget): Record<string, string> {
  const headers: Record<string, string> = {};
  const add = (name: string, limit: number | null, left: number) => {
    if (limit === null) return;
    headers[`x-ratelimit-limit-${name}`] = String(limit);
    headers[`x-ratelimit-remaining-${name}`] = String(Math.max(0, Math.floor(left)));
    headers[`x-ratelimit-reset-${name}`] = formatSpan(((limit - left) / limit) * MINUTE_MS);
  };
  add('requests', behaviour.requestsPerMinute, budget.requests);
  add('tokens', behaviour.tokensPerMinute, budget.tokens);
  return headers;
}

/**
 * When to come back, in the form the behaviour asks for.
 * @param waitMs time until there is room, null if not known (then one second)
 */
export function retryAfterHeaders(
  { retryAfter }: ModelBehaviour,
  waitMs: DurationMs | null,
  now: EpochMs,
): Record<string, string> {
  const ms = retryAfter.ms ?? waitMs ?? 1000;
  switch (retryAfter.form) {
    case 'none':
      return {};
    case 'milliseconds':
      return { 'retry-after-ms': String(Math.ceil(ms)) };
    case 'seconds':
      return { 'retry-after': String(Math.ceil(ms / 1000)) };
    case 'date':
      // An HTTP date has whole seconds: round up, so that nobody comes back too early.
      return { 'retry-after': new Date(Math.ceil((now + ms) / 1000) * 1000).toUTCString() };
  }
}

/** A span as OpenAI writes it: `120ms`, `1.5s`, `6m0s`. */
function formatSpan(ms: DurationMs): string {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  const seconds = Math.ceil(ms / 100) / 10;
  if (seconds < 60) return `${seconds}s`;
  return `${Math.floor(seconds / 60)}m${Math.ceil(seconds % 60)}s`;
}
