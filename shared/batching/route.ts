import type { Backend } from '../inference/backend.ts';
import type { LimiterOptions } from './limiter.ts';
import { embeddingLimits, type PackLimits } from './pack.ts';

/** Who serves an alias on this site. */
export interface Route {
  backend: Backend;
  /** The model as that backend knows it. */
  model: string;
  /** What the model map says of it. */
  limits?: RouteLimits;
}

/**
 * Budgets and limits of one model at one backend. A budget is that of one process: whoever runs many divides it, or
 * leaves it to the server's own headers and refusals, which all of them obey.
 */
export interface RouteLimits {
  /** Default: none. */
  requestsPerMinute?: number;
  /** In and out. Default: none. */
  tokensPerMinute?: number;
  /** Calls at once. Default 256. */
  concurrencyMax?: number;
  /** Array items of a call. Default 2,048. */
  inputsMax?: number;
  /** Tokens of an array item. Default 8,192. */
  inputTokensMax?: number;
  /** Tokens of a call. Default 300,000. */
  callTokensMax?: number;
}

export function packLimitsOf({ inputsMax, inputTokensMax, callTokensMax }: RouteLimits = {}): PackLimits {
  return {
    itemsMax: inputsMax ?? embeddingLimits.itemsMax,
    tokensMax: callTokensMax ?? embeddingLimits.tokensMax,
    itemTokensMax: inputTokensMax ?? embeddingLimits.itemTokensMax,
  };
}

export function limiterOptionsOf(limits: RouteLimits = {}, base: LimiterOptions = {}): LimiterOptions {
  const { requestsPerMinute, tokensPerMinute, concurrencyMax: max } = limits;
  return {
    ...base,
    ...(max !== undefined && { max, start: Math.min(max, base.start ?? 16) }),
    ...(requestsPerMinute !== undefined && { requestsPerMinute }),
    ...(tokensPerMinute !== undefined && { tokensPerMinute }),
  };
}
