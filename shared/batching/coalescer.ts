import type { Clock } from '../ports/clock.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { CostModel } from './cost-model.ts';

/** What is gathered for the next call. */
export interface Gathered {
  /** When its first item came. */
  since: EpochMs;
  /** The earliest of its items; infinite where none has one. */
  deadline: EpochMs;
  items: number;
}

/** Up to this share of places taken, calls wait as long as they may; beyond it ever less. */
const crowdedFrom = 0.5;
/** However crowded, a call waits for this part of what it costs by itself: waiting that long can at most double its cost. */
const leastWait = 0.8;
/** Longer than this is not slept at a time: timers of 2^31 ms and more ring at once. */
const sleepMsMax = 2 ** 30;

/**
 * The moment at which a call must go. With slack it waits for more to share it, at most `lingerMs` from its first item;
 * without, it goes in time for the earliest deadline. Its items are rounded up, to one of eight sizes between two powers
 * of two, so that the moment moves now and then and not with each arrival.
 *
 * Where places are short, a call that waits to the last moment finds them taken, and leaving one empty costs more than a
 * fuller call saves: then it waits for a part of its slack only.
 * @param occupancy share of places taken of late, 0 … 1
 */
export function dueAt(
  { since, deadline, items }: Gathered,
  lingerMs: DurationMs,
  cost: CostModel,
  occupancy: number,
): EpochMs {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, items))) - 3);
  const rounded = Math.ceil(items / step) * step;
  const slackMs = Math.min(lingerMs, deadline - cost.atMost(rounded) - since);
  const leastMs = Math.min(leastWait * cost.expect(0), lingerMs, deadline - cost.expect(rounded) - since);
  const patience = Math.min(1, (1 - occupancy) / (1 - crowdedFrom));
  return since + Math.max(leastMs, patience > 0 ? slackMs * patience : 0);
}

export interface CoalescerOptions<T> {
  clock: Clock;
  /** Items and weight (tokens, bytes) of a full call: it goes at once. */
  itemsMax: number;
  weightMax: number;
  /** Longest wait of an item while there is room. */
  lingerMs: DurationMs;
  cost: CostModel;
  /**
   * Takes what was gathered, in the order in which it came. May give some of it back, to wait on as if it had just come;
   * not where `why` is `due` or `flushed`.
   */
  send(gathered: T[], why: 'full' | 'due' | 'flushed'): readonly T[] | undefined;
  /** False while a call could not start anyway: more is gathered then until `look`. Default: always true. */
  mayStart?(): boolean;
  /** Share of places taken of late. Default: 0. */
  occupancy?(): number;
}

/** What an item takes of a call. */
export interface Size {
  items: number;
  weight: number;
}

/**
 * Gathers items for calls that cost less when shared: constant time for each arrival, one timer for all, which rings at
 * the moment at which a call is due.
 */
export class Coalescer<T extends Size & { deadline: EpochMs }> {
  readonly #options: CoalescerOptions<T>;
  #gathered: T[] = [];
  #state: Gathered & { weight: number } = { since: 0, deadline: Number.POSITIVE_INFINITY, items: 0, weight: 0 };
  #timer: { at: EpochMs; cancel: AbortController } | undefined;
  #isFullNoted = false;

  constructor(options: CoalescerOptions<T>) {
    this.#options = options;
  }

  get size(): number {
    return this.#gathered.length;
  }

  add(item: T): void {
    this.#take(item, undefined);
    const { itemsMax, weightMax } = this.#options;
    if (this.#state.items < itemsMax && this.#state.weight < weightMax) this.#arm();
    else if (!this.#isFullNoted) {
      // What comes in the same turn comes along: packing sees all of it at once.
      this.#isFullNoted = true;
      queueMicrotask(() => this.look());
    }
  }

  /** Sends what is due or full, if a call may start; to be called whenever one ended. */
  look(): void {
    this.#isFullNoted = false;
    const { clock, itemsMax, weightMax, mayStart } = this.#options;
    if (this.#gathered.length === 0) return;
    if (mayStart?.() === false) return;
    if (this.#dueAt() <= clock.now()) this.#send('due');
    else if (this.#state.items >= itemsMax || this.#state.weight >= weightMax) this.#send('full');
    else this.#arm();
  }

  /** Sends everything now. */
  flush(): void {
    if (this.#gathered.length > 0) this.#send('flushed');
  }

  /** @param since when it came; default now */
  #take(item: T, since: EpochMs | undefined): void {
    const state = this.#state;
    if (this.#gathered.length === 0) {
      state.since = since ?? this.#options.clock.now();
      state.deadline = item.deadline;
      state.items = 0;
      state.weight = 0;
    }
    this.#gathered.push(item);
    state.deadline = Math.min(state.deadline, item.deadline);
    state.items += item.items;
    state.weight += item.weight;
  }

  #send(why: 'full' | 'due' | 'flushed'): void {
    const gathered = this.#gathered;
    const { since } = this.#state;
    this.#gathered = [];
    this.#disarm();
    const kept = this.#options.send(gathered, why) ?? [];
    for (const item of kept) this.#take(item, since);
    if (this.#gathered.length > 0) this.#arm();
  }

  #arm(): void {
    const { clock } = this.#options;
    const at = this.#dueAt();
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#disarm();
    const timer = { at, cancel: new AbortController() };
    this.#timer = timer;
    const ring = () => {
      if (this.#timer !== timer) return;
      this.#timer = undefined;
      this.look();
    };
    clock
      .sleep(Math.min(sleepMsMax, Math.max(0, Math.ceil(at - clock.now()))), timer.cancel.signal)
      .then(ring, () => {});
  }

  #dueAt(): EpochMs {
    const { lingerMs, cost, occupancy } = this.#options;
    return dueAt(this.#state, lingerMs, cost, occupancy?.() ?? 0);
  }

  #disarm(): void {
    this.#timer?.cancel.abort();
    this.#timer = undefined;
  }
}
