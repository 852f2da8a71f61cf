/** A queue whose head is the least by `isBefore`; of equal ones the first that came. */
export class Heap<T> {
  readonly #entries: Entry<T>[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;
  #pushed = 0;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#entries.length;
  }

  get head(): T | undefined {
    return this.#entries[0]?.item;
  }

  /** All of them, in no order. */
  *[Symbol.iterator](): Generator<T> {
    for (const { item } of this.#entries) yield item;
  }

  push(item: T): void {
    const entries = this.#entries;
    const entry = { item, order: this.#pushed++ };
    let at = entries.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#precedes(entry, entries[parent]!)) break;
      entries[at] = entries[parent]!;
      at = parent;
    }
    entries[at] = entry;
  }

  pop(): T | undefined {
    const entries = this.#entries;
    const first = entries[0];
    const last = entries.pop();
    if (first === undefined || last === undefined || entries.length === 0) return first?.item;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= entries.length) break;
      if (child + 1 < entries.length && this.#precedes(entries[child + 1]!, entries[child]!)) child += 1;
      if (!this.#precedes(entries[child]!, last)) break;
      entries[at] = entries[child]!;
      at = child;
    }
    entries[at] = last;
    return first.item;
  }

  #precedes(a: Entry<T>, b: Entry<T>): boolean {
    return this.#isBefore(a.item, b.item) || (!this.#isBefore(b.item, a.item) && a.order < b.order);
  }
}

interface Entry<T> {
  item: T;
  order: number;
}
