import { Faults } from '../../../local/in-memory/faults.ts';
import { faultyStore } from '../../../local/in-memory/faulty.ts';
import type { StoreOp } from '../../../local/in-memory/object-store.ts';
import { OutcomeUnknownError, SiteUnavailableError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/ports/clock.ts';
import type { StateStore } from '../../../shared/ports/object-store.ts';

/** What a schedule may do with a call on its way there (`request`) or back (`reply`), or with a sleeping process. */
export interface Step {
  who: string;
  kind: 'request' | 'reply' | 'timer';
  label: string;
  /** Timers only: when it is due. */
  at: number;
  go(): void;
  /** The message is lost. Not for timers. */
  lose(): void;
}

/** Gives the next step to take, among at least one, and whether its message is lost. */
export type Chooser = (steps: readonly Step[]) => { step: Step; lose?: boolean };

/**
 * A network and clocks without time: every call stops on its way to a store and on its way back, every sleep is a step
 * too, and a chooser picks what happens next. A timer may be picked while an answer is under way: that is a time-out,
 * and the late call still takes effect.
 */
export class Schedule {
  /** Taken steps, for a failing case. */
  readonly trace: string[] = [];
  readonly #steps: Step[] = [];
  readonly #dead = new Set<string>();
  #now = 0;

  clock(who: string): Clock {
    return {
      now: () => this.#now,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          const step: Step = {
            who,
            kind: 'timer',
            label: `${who} wakes`,
            at: this.#now + ms,
            go: resolve,
            lose: () => {},
          };
          this.#steps.push(step);
          signal?.addEventListener('abort', () => {
            this.#take(step);
            reject(signal.reason);
          });
        }),
    };
  }

  /** `inner` as `who` reaches it. */
  store(who: string, inner: StateStore, onWrite: (key: string) => void = () => {}): StateStore {
    const faults = new Faults<StoreOp>(this.clock(who), () => 0.5);
    faults.before = (op) => this.#pass(who, 'request', `${who} ${op} → ${inner.name}`);
    faults.after = (op, key) => {
      if (op.startsWith('put')) onWrite(key);
      return this.#pass(who, 'reply', `${who} ${op} ← ${inner.name}`);
    };
    return faultyStore(inner, faults);
  }

  /** From now on `who` hears and does nothing; what it has sent may still arrive. */
  kill(who: string): void {
    this.#dead.add(who);
  }

  /** Takes steps until nothing is left to choose. Returns the number of steps. */
  async run(choose: Chooser, onStep: (taken: number) => void = () => {}): Promise<number> {
    for (let taken = 0; ; taken++) {
      await new Promise((resolve) => setImmediate(resolve));
      onStep(taken);
      for (const step of [...this.#steps]) if (step.kind !== 'request' && this.#dead.has(step.who)) this.#take(step);
      if (this.#steps.length === 0) return taken;
      const { step, lose = false } = choose(this.#steps);
      this.#take(step);
      this.trace.push(step.label + (lose ? ' (lost)' : ''));
      this.#now = Math.max(this.#now, step.at);
      if (lose) step.lose();
      else step.go();
    }
  }

  #take(step: Step): void {
    const i = this.#steps.indexOf(step);
    if (i !== -1) this.#steps.splice(i, 1);
  }

  #pass(who: string, kind: 'request' | 'reply', label: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const lost =
        kind === 'reply'
          ? new OutcomeUnknownError('reply_lost', label)
          : new SiteUnavailableError('refused', label, label);
      this.#steps.push({ who, kind, label, at: 0, go: resolve, lose: () => reject(lost) });
    });
  }
}

/** Seeded, uniform in [0, 1). @source https://github.com/bryc/code/blob/master/jshash/PRNGs.md (mulberry32) 2026-08 */
export function seeded(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Any step at any time; timers seldom, or nothing would ever get through; messages lost at the rate `loss`. */
export function anyOrder(random: () => number, loss: number): Chooser {
  return (steps) => {
    const timers = steps.filter(({ kind }) => kind === 'timer');
    const messages = steps.filter(({ kind }) => kind !== 'timer');
    const pickTimer = messages.length === 0 || (timers.length > 0 && random() < 0.03);
    const from = pickTimer ? timers : messages;
    const step = from[Math.floor(random() * from.length)]!;
    return { step, lose: !pickTimer && random() < loss };
  };
}

/** In the order in which things were asked for, timers last and earliest first; nothing is lost. */
export const inOrder: Chooser = (steps) => {
  const message = steps.find(({ kind }) => kind !== 'timer');
  return { step: message ?? steps.reduce((a, b) => (b.at < a.at ? b : a)) };
};

/**
 * Walks a tree of choices to its end: `next()` moves to the next path and says whether there is one.
 * After `exhaustigen.zig` of `tigerbeetle/tigerbeetle`.
 */
export class EveryPath {
  #started = false;
  #at = 0;
  readonly #path: { value: number; bound: number }[] = [];

  next(): boolean {
    if (!this.#started) {
      this.#started = true;
      return true;
    }
    while (this.#path.length > 0) {
      const last = this.#path.at(-1)!;
      if (last.value + 1 < last.bound) {
        last.value += 1;
        this.#at = 0;
        return true;
      }
      this.#path.pop();
    }
    return false;
  }

  /** One of `0 … bound - 1`. */
  choose(bound: number): number {
    if (this.#at === this.#path.length) this.#path.push({ value: 0, bound });
    return this.#path[this.#at++]!.value;
  }
}
