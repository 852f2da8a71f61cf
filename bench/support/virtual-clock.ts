import { Heap } from '../../shared/heap.ts';
import type { Clock } from '../../shared/ports/clock.ts';

interface Event {
  at: number;
  run(): void;
}

/** Time that passes as fast as the machine can: the next event is always now. */
export class VirtualClock implements Clock {
  #now = 0;
  readonly #events = new Heap<Event>((a, b) => a.at < b.at);

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
    this.#events.push({ at: Math.max(at, this.#now), run });
  }

  /** Runs events until there are none, or the next one lies beyond `end`. */
  async run(end = Number.POSITIVE_INFINITY): Promise<void> {
    await settled();
    for (let event = this.#events.head; event !== undefined && event.at <= end; event = this.#events.head) {
      this.#events.pop();
      this.#now = event.at;
      event.run();
      await settled();
    }
    if (Number.isFinite(end)) this.#now = end;
  }
}

/** Every promise that can go on without the clock has gone on. */
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
