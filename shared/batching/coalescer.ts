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

/** A call that is left less than this part of the margin it should have had is one that was held up. */
const heldUp = 0.75;
/** Longer than this is not slept at a time: timers of 2^31 ms and more ring at once. */
const sleepMsMax = 2 ** 30;

/**
 * The moment at which a call must go. With slack it waits for more to share it, at most `lingerMs` from its first item;
 * without, it goes in time for the earliest deadline. Its items are rounded up, to one of eight sizes between two powers
 * of two, so that the moment moves now and then and not with each arrival.
 */
export function dueAt({ since, deadline, items }: Gathered, lingerMs: DurationMs, cost: CostModel): EpochMs {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(Math.max(1, items))) - 3);
  const rounded = Math.ceil(items / step) * step;
  return Math.min(since + lingerMs, deadline - cost.atMost(rounded));
}

/**
 * How many of the gathered items go in the call that takes the last place: all, unless they were held up until all places
 * were taken for so long that they would hardly be in time together. Then half of what waits and of what comes before the
 * next place is free, so that the two calls are alike.
 *
 * A call of everything would be long, and the next one, which starts as soon as another ends, short: so it goes on by
 * turns, the long ones longer each time, until they are late. With two places and a call that takes a + b·n, b times the
 * arrivals a second above 1, each turn is up to 1.8 times as uneven as the one before.
 * @param nextEndAt when the next place is expected to be free
 */
export function shareOf(
  { since, deadline, items }: Gathered,
  nextEndAt: EpochMs,
  now: EpochMs,
  cost: CostModel,
): number {
  // Too late already: now fuller calls are what brings the rest in time.
  if (now >= deadline) return items;
  const expected = cost.expect(items);
  if (deadline - now - expected >= heldUp * (cost.atMost(items) - expected)) return items;
  const perMs = items / Math.max(1, now - since);
  return Math.min(items, Math.ceil((items + perMs * Math.max(0, nextEndAt - now)) / 2));
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
   * Takes what was gathered, in the order in which it came. Where `why` is `full` it may give some of it back, to wait on.
   */
  send(gathered: T[], why: 'full' | 'due' | 'flushed'): readonly T[] | undefined;
  /** False while a call could not start anyway: more is gathered then until `look`. Default: always true. */
  mayStart?(): boolean;
  /** When the next of the calls under way should end, if one more takes the last place; else `undefined`, the default. */
  nextEndAt?(): EpochMs | undefined;
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
  /** When each of them came; kept only where they may be parted. */
  #cameAt: EpochMs[] = [];
  /** None is due before one that came before it. */
  #isInOrder = true;
  #newestDeadline: EpochMs = Number.NEGATIVE_INFINITY;
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

  /** @param cameAt when it came; default now */
  #take(item: T, cameAt: EpochMs | undefined): void {
    const state = this.#state;
    if (this.#gathered.length === 0) {
      state.since = cameAt ?? this.#options.clock.now();
      state.deadline = Number.POSITIVE_INFINITY;
      state.items = 0;
      state.weight = 0;
      this.#isInOrder = true;
      this.#newestDeadline = item.deadline;
    }
    if (item.deadline < this.#newestDeadline) this.#isInOrder = false;
    this.#newestDeadline = item.deadline;
    this.#gathered.push(item);
    if (this.#options.nextEndAt !== undefined) this.#cameAt.push(cameAt ?? this.#options.clock.now());
    state.deadline = Math.min(state.deadline, item.deadline);
    state.items += item.items;
    state.weight += item.weight;
  }

  #send(why: 'full' | 'due' | 'flushed'): void {
    const [gathered, cameAt, { since }] = [this.#gathered, this.#cameAt, this.#state];
    const count = why === 'due' ? this.#countOfShare() : gathered.length;
    this.#gathered = [];
    this.#cameAt = [];
    this.#disarm();
    const kept = this.#options.send(count < gathered.length ? gathered.slice(0, count) : gathered, why) ?? [];
    for (const item of kept) this.#take(item, since);
    for (let i = count; i < gathered.length; i++) this.#take(gathered[i]!, cameAt[i]!);
    if (this.#gathered.length > 0) this.#arm();
  }

  /** How many go, of those that came first: they must also be those that are due first. */
  #countOfShare(): number {
    const { clock, cost, nextEndAt } = this.#options;
    const next = nextEndAt?.();
    const all = this.#gathered.length;
    if (next === undefined || !this.#isInOrder) return all;
    const share = shareOf(this.#state, next, clock.now(), cost);
    if (share >= this.#state.items) return all;
    let count = 0;
    for (let items = 0; items < share; count++) items += this.#gathered[count]!.items;
    return count;
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
    const { lingerMs, cost } = this.#options;
    return dueAt(this.#state, lingerMs, cost);
  }

  #disarm(): void {
    this.#timer?.cancel.abort();
    this.#timer = undefined;
  }
}
