/**
 * A binary heap that can also remove from the middle, so that a settled message leaves no stale deadline behind: with
 * one-minute locks and thousands of messages a second, those would outnumber the messages.
 */
export class IndexedHeap<T> {
  private readonly items: T[] = [];
  private readonly positions = new Map<T, number>();
  private readonly isBefore: (one: T, other: T) => boolean;

  /** What `isBefore` looks at must not change while an item is inside. */
  constructor(isBefore: (one: T, other: T) => boolean) {
    this.isBefore = isBefore;
  }

  get size(): number {
    return this.items.length;
  }

  peek(): T | undefined {
    return this.items[0];
  }

  push(item: T): void {
    this.positions.set(item, this.items.length);
    this.items.push(item);
    this.siftUp(this.items.length - 1);
  }

  /** Whether the item was inside. */
  remove(item: T): boolean {
    const position = this.positions.get(item);
    if (position === undefined) return false;
    this.positions.delete(item);
    const last = this.items.pop() as T;
    if (last !== item) {
      this.place(last, position);
      this.siftUp(position);
      this.siftDown(this.positions.get(last) as number);
    }
    return true;
  }

  private place(item: T, position: number): void {
    this.items[position] = item;
    this.positions.set(item, position);
  }

  private siftUp(from: number): void {
    const item = this.items[from] as T;
    let position = from;
    while (position > 0) {
      const above = (position - 1) >> 1;
      const parent = this.items[above] as T;
      if (!this.isBefore(item, parent)) break;
      this.place(parent, position);
      position = above;
    }
    if (position !== from) this.place(item, position);
  }

  private siftDown(from: number): void {
    const item = this.items[from] as T;
    let position = from;
    for (;;) {
      let below = 2 * position + 1;
      if (below >= this.items.length) break;
      if (below + 1 < this.items.length && this.isBefore(this.items[below + 1] as T, this.items[below] as T)) {
        below += 1;
      }
      const child = this.items[below] as T;
      if (!this.isBefore(child, item)) break;
      this.place(child, position);
      position = below;
    }
    if (position !== from) this.place(item, position);
  }
}
