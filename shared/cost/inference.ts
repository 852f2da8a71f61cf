import type { ModelEntry, ModelPrice } from '../core.ts';
import type { Usage } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { Cloud } from './prices.ts';

/** One answered line, as a result fact tells it, without its body. */
export interface AnsweredLine {
  line: number;
  site: SiteId;
  /** `undefined` in facts of before the cloud was written down, where the site is not known any more. */
  cloud: Cloud | undefined;
  backend: string;
  /** Model as the backend named it. */
  model: string;
  usage: Usage;
  /** False where another answer to the line was, or would be, published. */
  isChosen: boolean;
}

/** What some answers took. */
export interface Spent {
  lines: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  /** `null`: the price is not known. Nothing costs 0 unless the map says that it does. */
  dollars: number | null;
}

/** Answers of one model by one backend in one cloud. */
export interface InferenceCost {
  cloud: Cloud | null;
  site: SiteId;
  backend: string;
  model: string;
  /** What was, or would be, published. */
  chosen: Spent;
  /** Answers to lines that had another answer chosen: the price of a failover. */
  repeats: Spent;
}

/**
 * Tokens and dollars by cloud, backend and served model; repeats apart. A price is that of the model map as it is now, for
 * the backend of that name in that cloud: one that the map does not know any more has no price.
 */
export function inferenceCost(lines: Iterable<AnsweredLine>, entry: ModelEntry | undefined): InferenceCost[] {
  const costs = new Map<string, InferenceCost>();
  for (const { site, cloud, backend, model, usage, isChosen } of lines) {
    const key = JSON.stringify([cloud ?? null, site, backend, model]);
    const isPriced = priceOf(entry, cloud, backend) !== null;
    const cost = costs.get(key) ?? {
      cloud: cloud ?? null,
      site,
      backend,
      model,
      chosen: nothing(isPriced),
      repeats: nothing(isPriced),
    };
    costs.set(key, cost);
    add(isChosen ? cost.chosen : cost.repeats, usage, priceOf(entry, cloud, backend));
  }
  return [...costs.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, cost]) => cost);
}

/** Adds up; dollars that are not known for any part are not known for the whole. */
export function sumSpent(parts: readonly Spent[]): Spent {
  const sum = nothing(true);
  for (const part of parts) {
    if (part.lines === 0) continue;
    for (const name of counted) sum[name] += part[name];
    sum.dollars = sum.dollars === null || part.dollars === null ? null : sum.dollars + part.dollars;
  }
  return sum;
}

const counted = ['lines', 'input_tokens', 'cached_tokens', 'output_tokens', 'reasoning_tokens'] as const;

function priceOf(entry: ModelEntry | undefined, cloud: Cloud | undefined, backend: string): ModelPrice | null {
  return entry?.backends.find((one) => one.cloud === cloud && one.name === backend)?.price ?? null;
}

/** Nothing spent costs nothing, where a price is known; else nobody can say of what nothing was spent. */
function nothing(isPriced: boolean): Spent {
  return {
    lines: 0,
    input_tokens: 0,
    cached_tokens: 0,
    output_tokens: 0,
    reasoning_tokens: 0,
    dollars: isPriced ? 0 : null,
  };
}

function add(spent: Spent, usage: Usage, price: ModelPrice | null): void {
  spent.lines += 1;
  spent.input_tokens += usage.inputTokens;
  spent.cached_tokens += usage.cachedTokens;
  spent.output_tokens += usage.outputTokens;
  spent.reasoning_tokens += usage.reasoningTokens;
  if (price === null || spent.dollars === null) return;
  // Cached tokens are among those of the input, reasoning tokens among those of the output.
  const cached = Math.min(usage.cachedTokens, usage.inputTokens);
  const input = (usage.inputTokens - cached) * price.input + cached * price.cachedInput;
  const output = usage.outputTokens === 0 ? 0 : price.output === null ? null : usage.outputTokens * price.output;
  spent.dollars = output === null ? null : spent.dollars + (input + output) / 1e6;
}
