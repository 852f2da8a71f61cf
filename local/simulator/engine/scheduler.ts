import { Heap } from '../../../shared/heap.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';

/** Something that happens at a moment; cancelled ones are skipped. */
export interface Event {
  at: EpochMs;
  /** Set for this very moment from outside (a fault, a client's day): it does not move when quiet time is left out. */
  readonly isFixed: boolean;
  /** Order of scheduling: of two at one moment the earlier scheduled one comes first, also when time was left out. */
  readonly order: number;
  run: (() => void) | undefined;
}

/** Events in one round of Node's event loop; between any two of them Node runs every promise that can go on. */
const eventsPerRound = 128;

/**
 * Virtual time: a heap of events. An event runs, then everything that it set going (promises and next-ticks) runs to
 * its end, then the next event comes. Nothing here, and nothing that runs on it, may wait for the machine.
 */
export class Scheduler {
  #now: EpochMs;
  #order = 0;
  #heap = new Heap(isBefore);
  /** Events that have run. */
  ran = 0;

  constructor(start: EpochMs) {
    this.#now = start;
  }

  get now(): EpochMs {
    return this.#now;
  }

  /** Events that wait, cancelled ones included. */
  get waiting(): number {
    return this.#heap.size;
  }

  at(at: EpochMs, run: () => void, isFixed = false): Event {
    const event: Event = { at: Math.max(at, this.#now), order: this.#order++, isFixed, run };
    this.#heap.push(event);
    return event;
  }

  /** As `at`, for what comes from outside. */
  fix(at: EpochMs, run: () => void): Event {
    return this.at(at, run, true);
  }

  /** When the next thing comes from outside; `undefined` if nothing does. */
  get nextFixed(): EpochMs | undefined {
    let next: EpochMs | undefined;
    for (const { at, isFixed, run } of this.#heap)
      if (isFixed && run !== undefined && (next === undefined || at < next)) next = at;
    return next;
  }

  /**
   * Leaves out the time until `at`, as if everybody had stood still meanwhile and only the clocks had gone on: whatever
   * waits waits as long as before, but for what comes from outside.
   */
  leaveOut(at: EpochMs): void {
    const ms = at - this.#now;
    if (ms <= 0) return;
    this.#now = at;
    const moved = new Heap(isBefore);
    for (let event = this.#heap.pop(); event !== undefined; event = this.#heap.pop()) {
      if (event.run === undefined) continue;
      if (!event.isFixed) event.at += ms;
      moved.push(event);
    }
    this.#heap = moved;
  }

  after(ms: DurationMs, run: () => void): Event {
    return this.at(this.#now + Math.max(0, ms), run);
  }

  cancel(event: Event): void {
    event.run = undefined;
  }

  /**
   * Runs events until `end` has passed, nothing is left, or `isOver` holds between two of them.
   * @throws whatever an event throws
   */
  run(end: EpochMs, isOver: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      let isEnded = false;
      const one = () => {
        if (isEnded) return;
        const isDone = isOver();
        const event = isDone ? undefined : this.#next(end);
        if (event === undefined) {
          isEnded = true;
          if (!isDone) this.#now = Math.max(this.#now, end);
          resolve();
          return;
        }
        this.#now = event.at;
        this.ran += 1;
        try {
          event.run!();
        } catch (error) {
          isEnded = true;
          reject(error);
        }
      };
      const round = () => {
        for (let i = 1; i < eventsPerRound; i++) setImmediate(one);
        setImmediate(() => {
          one();
          if (!isEnded) round();
        });
      };
      round();
    });
  }

  /** The next event that is due by `end`, taken off the heap. */
  #next(end: EpochMs): Event | undefined {
    for (;;) {
      const first = this.#heap.head;
      if (first === undefined || (first.run !== undefined && first.at > end)) return undefined;
      this.#heap.pop();
      if (first.run !== undefined) return first;
    }
  }
}

const isBefore = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
