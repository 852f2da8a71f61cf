/** What one call of an array endpoint may hold. @source https://platform.openai.com/docs/api-reference/embeddings/create 2026-08 */
export interface PackLimits {
  /** Array items of a call. Default 2,048. */
  itemsMax: number;
  /** Tokens of a call. Default 300,000. */
  tokensMax: number;
}

export const embeddingLimits: PackLimits = { itemsMax: 2048, tokensMax: 300_000 };

/** Something that stays together: the items of one line. */
export interface Packable {
  items: number;
  tokens: number;
}

/**
 * Packs into few calls: best fit, largest first, so that small lines fill what large ones leave. One that is too large by
 * itself gets a call of its own: whether it is taken is the backend's word. Order within a call is the order given.
 */
export function pack<T extends Packable>(lines: readonly T[], limits: PackLimits): T[][] {
  const order = lines.map((line, index) => ({ line, index })).sort((a, b) => b.line.tokens - a.line.tokens);
  const calls: { room: Packable; members: typeof order }[] = [];
  for (const one of order) {
    const { items, tokens } = one.line;
    let best: (typeof calls)[number] | undefined;
    for (const call of calls)
      if (
        call.room.items >= items &&
        call.room.tokens >= tokens &&
        (best === undefined || call.room.tokens < best.room.tokens)
      )
        best = call;
    if (best === undefined) {
      best = { room: { items: limits.itemsMax, tokens: limits.tokensMax }, members: [] };
      calls.push(best);
    }
    best.room.items -= items;
    best.room.tokens -= tokens;
    best.members.push(one);
  }
  return calls.map(({ members }) => members.sort((a, b) => a.index - b.index).map(({ line }) => line));
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
