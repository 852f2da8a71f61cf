import { fillFirst, spreadEvenly } from './pack-rules.ts';

/** What one call of an array endpoint may hold. @source https://platform.openai.com/docs/api-reference/embeddings/create 2026-08 */
export interface PackLimits {
  /** Array items of a call. Default 2,048. */
  itemsMax: number;
  /** Tokens of a call. Default 300,000. */
  tokensMax: number;
  /** Tokens of one item. Default 8,192. */
  itemTokensMax: number;
}

export const embeddingLimits: PackLimits = { itemsMax: 2048, tokensMax: 300_000, itemTokensMax: 8192 };

/** Something that stays together: the items of one line. */
export interface Packable {
  items: number;
  tokens: number;
  /** Tokens of its largest item. Default: as if all were alike. */
  largest?: number;
}

/**
 * Packs into few calls: as few as the lower bound in nearly all cases, and never more than next-fit would make. Order
 * within a call is the order given.
 *
 * A line that is over a limit by itself gets a call of its own: whether it is taken is the backend's word, and a refusal
 * then concerns nobody else.
 */
export function pack<T extends Packable>(lines: readonly T[], limits: PackLimits): T[][] {
  const alone = lines.filter((line) => !fits(line, limits));
  const rest = alone.length === 0 ? lines : lines.filter((line) => fits(line, limits));
  return [...alone.map((line) => [line]), ...packFitting(rest, limits)];
}

/** True if a line may share a call with others. */
function fits({ items, tokens, largest = tokens / Math.max(1, items) }: Packable, limits: PackLimits): boolean {
  return items <= limits.itemsMax && tokens <= limits.tokensMax && largest <= limits.itemTokensMax;
}

function packFitting<T extends Packable>(lines: readonly T[], limits: PackLimits): T[][] {
  if (lines.length === 0) return [];
  const bound = lowerBound(lines, limits);
  if (bound === 1) return [[...lines]];
  let best = nextFit(lines, limits);
  if (best.count > bound) best = fewer(best, fillFirst(lines, limits));
  // Where both limits bind, filling call after call leaves large lines in the first and small ones in the last.
  for (const excess of [0, 0.0025, 0.005, 0.01, 0.02]) {
    const count = Math.ceil(bound * (1 + excess));
    if (count >= best.count) break;
    const even = spreadEvenly(lines, limits, count);
    if (even !== undefined) best = even;
  }
  const calls: T[][] = Array.from({ length: best.count }, () => []);
  for (const [i, line] of lines.entries()) calls[best.callOf[i]!]!.push(line);
  return calls;
}

/** Which call each line goes to. */
export interface Assignment {
  count: number;
  callOf: Int32Array;
}

const fewer = (a: Assignment, b: Assignment) => (b.count < a.count ? b : a);

/** No packing can do with fewer calls: all tokens, all items. */
export function lowerBound(lines: readonly Packable[], { itemsMax, tokensMax }: PackLimits): number {
  let items = 0;
  let tokens = 0;
  for (const line of lines) {
    items += line.items;
    tokens += line.tokens;
  }
  return Math.max(Math.ceil(items / itemsMax), Math.ceil(tokens / tokensMax));
}

/** In the order given, a new call whenever the next line does not fit the last: what most batchers do. */
export function nextFit(lines: readonly Packable[], { itemsMax, tokensMax }: PackLimits): Assignment {
  const callOf = new Int32Array(lines.length);
  let last = 0;
  let [items, tokens] = [0, 0];
  for (const [i, line] of lines.entries()) {
    if (i > 0 && (items + line.items > itemsMax || tokens + line.tokens > tokensMax)) {
      last += 1;
      [items, tokens] = [0, 0];
    }
    items += line.items;
    tokens += line.tokens;
    callOf[i] = last;
  }
  return { count: lines.length === 0 ? 0 : last + 1, callOf };
}

/** Splits `total` in proportion to `weights` into whole numbers that add up to it: largest remainder. */
export function apportion(total: number, weights: readonly number[]): number[] {
  const sum = weights.reduce((a, b) => a + b, 0);
  if (sum === 0) return weights.map((_, i) => (i === 0 ? total : 0));
  const exact = weights.map((weight) => (total * weight) / sum);
  const shares = exact.map(Math.floor);
  const order = exact.map((value, i) => ({ i, rest: value - shares[i]! })).sort((a, b) => b.rest - a.rest || a.i - b.i);
  let left = total - shares.reduce((a, b) => a + b, 0);
  for (const { i } of order) {
    if (left-- <= 0) break;
    shares[i]! += 1;
  }
  return shares;
}
