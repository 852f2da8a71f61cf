import type { Clock } from '../../shared/ports/clock.ts';
import type { DurationMs, EpochMs } from '../../shared/units.ts';

interface Sleeper {
  wakeAt: EpochMs;
  wake(): void;
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  #now: EpochMs;
  readonly #sleepers: Sleeper[] = [];

  /** @param start default 2026-01-01T00:00Z */
  constructor(start: EpochMs = Date.UTC(2026, 0, 1)) {
    this.#now = start;
  }

  now(): EpochMs {
    return this.#now;
  }

  async sleep(ms: DurationMs, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const sleeper: Sleeper = {
        wakeAt: this.#now + ms,
        wake: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
      };
      const abort = () => {
        this.#sleepers.splice(this.#sleepers.indexOf(sleeper), 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** How many sleep. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /**
   * Moves time forward, waking whoever is due in the order of their times. Between two of them, whatever the woken one
   * set going in this turn of the event loop has run, so that it may sleep again within the same span.
   */
  async advance(ms: DurationMs): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#sleepers.splice(this.#sleepers.indexOf(next), 1);
      this.#now = Math.max(this.#now, next.wakeAt);
      next.wake();
      await settled();
    }
    this.#now = end;
  }

  #next(end: EpochMs): Sleeper | undefined {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.wakeAt <= end && (next === undefined || sleeper.wakeAt < next.wakeAt)) next = sleeper;
    }
    return next;
  }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve));
