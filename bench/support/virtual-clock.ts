import type { Clock } from '../../shared/ports/clock.ts';

interface Event {
  at: number;
  order: number;
  run(): void;
}

/** Time that passes as fast as the machine can: the next event is always now. */
export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  readonly #heap: Event[] = [];

  now(): number {
    return this.#now;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      let isOver = false;
      this.at(this.#now + ms, () => {
        if (isOver) return;
        isOver = true;
        resolve();
      });
      signal?.addEventListener('abort', () => {
        if (isOver) return;
        isOver = true;
        reject(signal.reason);
      });
    });
  }

  /** Calls `run` at a moment; those of one moment in the order in which they were asked for. */
  at(at: number, run: () => void): void {
    const heap = this.#heap;
    const event = { at: Math.max(at, this.#now), order: this.#order++, run };
    let child = heap.length;
    heap.push(event);
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[child] = heap[parent]!;
      child = parent;
    }
    heap[child] = event;
  }

  /** Runs events until there are none, or the next one lies beyond `end`. */
  async run(end = Number.POSITIVE_INFINITY): Promise<void> {
    await settled();
    for (let event = this.#heap[0]; event !== undefined && event.at <= end; event = this.#heap[0]) {
      this.#pop();
      this.#now = event.at;
      event.run();
      await settled();
    }
    if (Number.isFinite(end)) this.#now = end;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
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
  }
}

const isBefore = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.order < b.order);

/** Every promise that can go on without the clock has gone on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
