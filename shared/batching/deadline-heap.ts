import type { EpochMs } from '../units.ts';

/** A queue whose head is the one with the earliest deadline; equal ones leave in the order in which they came. */
export class DeadlineHeap<T extends { deadline: EpochMs }> {
  readonly #heap: { item: T; order: number }[] = [];
  #pushed = 0;

  get size(): number {
    return this.#heap.length;
  }

  get head(): T | undefined {
    return this.#heap[0]?.item;
  }

  push(item: T): void {
    const heap = this.#heap;
    const entry = { item, order: this.#pushed++ };
    let at = heap.length;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  pop(): T | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined || heap.length === 0) return first?.item;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first.item;
  }
}

type Entry = { item: { deadline: EpochMs }; order: number };

function isBefore(a: Entry, b: Entry): boolean {
  return a.item.deadline < b.item.deadline || (a.item.deadline === b.item.deadline && a.order < b.order);
}
