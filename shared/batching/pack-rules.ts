import type { Assignment, Packable, PackLimits } from './pack.ts';

/** Largest first: indexes of lines by the share of a call that they take. */
function largestFirst(lines: readonly Packable[], { itemsMax, tokensMax }: PackLimits): Uint32Array {
  const share = Float64Array.from(lines, ({ items, tokens }) => items / itemsMax + tokens / tokensMax);
  return Uint32Array.from(lines.keys()).sort((a, b) => share[b]! - share[a]! || a - b);
}

/**
 * First fit, largest first: each line into the first call with room, found in a tree whose nodes hold the most room of
 * either kind below them. Best where single lines are large for a call.
 */
export function fillFirst(lines: readonly Packable[], limits: PackLimits): Assignment {
  const callOf = new Int32Array(lines.length);
  let rooms = new RoomTree(64, limits);
  let count = 0;
  for (const i of largestFirst(lines, limits)) {
    const { items, tokens } = lines[i]!;
    let call = rooms.take(items, tokens);
    while (call === -1) {
      rooms = rooms.doubled();
      call = rooms.take(items, tokens);
    }
    callOf[i] = call;
    count = Math.max(count, call + 1);
  }
  return { count, callOf };
}

/**
 * Each line, largest first, into the call with the fewest tokens so far that has items left: all calls stay alike in
 * both kinds. Best where many lines share a call. `undefined` if `count` calls do not do.
 */
export function spreadEvenly(lines: readonly Packable[], limits: PackLimits, count: number): Assignment | undefined {
  const callOf = new Int32Array(lines.length);
  const items = new Float64Array(count);
  const tokens = new Float64Array(count);
  // A binary heap of calls, the one with the fewest tokens on top.
  const heap = Uint32Array.from({ length: count }, (_, i) => i);
  let size = count;
  const sink = (from: number) => {
    const moved = heap[from]!;
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && tokens[heap[child + 1]!]! < tokens[heap[child]!]!) child += 1;
      if (tokens[heap[child]!]! >= tokens[moved]!) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = moved;
  };
  for (const i of largestFirst(lines, limits)) {
    const line = lines[i]!;
    // A call without room for these items is done with: what little is left of it, a smaller line may miss.
    while (size > 0 && items[heap[0]!]! + line.items > limits.itemsMax) {
      size -= 1;
      heap[0] = heap[size]!;
      if (size > 0) sink(0);
    }
    const call = heap[0]!;
    if (size === 0 || tokens[call]! + line.tokens > limits.tokensMax) return undefined;
    items[call]! += line.items;
    tokens[call]! += line.tokens;
    callOf[i] = call;
    sink(0);
  }
  return { count, callOf };
}

/** Room of the calls, first to last; all are empty at first. */
class RoomTree {
  readonly #leaves: number;
  readonly #limits: PackLimits;
  /** Node 1 is the root, the children of n are 2n and 2n + 1, the calls are the last `#leaves` nodes. */
  readonly #items: Float64Array;
  readonly #tokens: Float64Array;

  constructor(leaves: number, limits: PackLimits) {
    this.#leaves = leaves;
    this.#limits = limits;
    this.#items = new Float64Array(2 * leaves).fill(limits.itemsMax);
    this.#tokens = new Float64Array(2 * leaves).fill(limits.tokensMax);
  }

  /** Takes room in the first call that has it; -1 if none has. */
  take(items: number, tokens: number): number {
    const leaf = this.#find(1, items, tokens);
    if (leaf === -1) return -1;
    this.#items[leaf]! -= items;
    this.#tokens[leaf]! -= tokens;
    this.#update(leaf >> 1);
    return leaf - this.#leaves;
  }

  /** The same calls, and as many empty ones after them. */
  doubled(): RoomTree {
    const wider = new RoomTree(2 * this.#leaves, this.#limits);
    wider.#items.set(this.#items.subarray(this.#leaves), 2 * this.#leaves);
    wider.#tokens.set(this.#tokens.subarray(this.#leaves), 2 * this.#leaves);
    for (let node = 2 * this.#leaves - 1; node > 0; node--) wider.#updateOne(node);
    return wider;
  }

  /** A node may show room of both kinds that no one call below it has, so the search may have to turn back. */
  #find(node: number, items: number, tokens: number): number {
    if (this.#items[node]! < items || this.#tokens[node]! < tokens) return -1;
    if (node >= this.#leaves) return node;
    const left = this.#find(2 * node, items, tokens);
    return left !== -1 ? left : this.#find(2 * node + 1, items, tokens);
  }

  #update(from: number): void {
    for (let node = from; node > 0; node >>= 1) this.#updateOne(node);
  }

  #updateOne(node: number): void {
    this.#items[node] = Math.max(this.#items[2 * node]!, this.#items[2 * node + 1]!);
    this.#tokens[node] = Math.max(this.#tokens[2 * node]!, this.#tokens[2 * node + 1]!);
  }
}
