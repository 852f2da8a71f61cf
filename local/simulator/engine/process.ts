import type { Clock } from '../../../shared/ports/clock.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import type { Stream } from './random.ts';
import type { Event, Scheduler } from './scheduler.ts';

/** The clock of one machine, which may be wrong and may jump. */
export interface MachineTime {
  offsetMs: DurationMs;
}

/**
 * One process somewhere: it hears of nothing while it is frozen, and of nothing ever again once it is dead. Whatever it
 * waits for (replies, timers) comes through `deliver`, so a crash leaves every promise of its unresolved for ever, and a
 * pause ends in the middle of whatever was under way.
 */
export class Process {
  readonly name: string;
  /** Where it stands: a site, or the name of a place outside. */
  readonly place: string;
  readonly startedAt: EpochMs;
  readonly stream: Stream;
  readonly clock: Clock;
  readonly #scheduler: Scheduler;
  readonly #time: MachineTime;
  #isDead = false;
  #freezes = 0;
  #inbox: (() => void)[] = [];
  readonly #onDeath = new Set<() => void>();

  constructor(scheduler: Scheduler, name: string, place: string, stream: Stream, time: MachineTime) {
    this.name = name;
    this.place = place;
    this.startedAt = scheduler.now;
    this.stream = stream;
    this.#scheduler = scheduler;
    this.#time = time;
    this.clock = {
      now: () => Math.floor(scheduler.now + this.#time.offsetMs),
      sleep: (ms, signal) => this.#sleep(ms, signal),
      after: (ms, run) => {
        let isCancelled = false;
        const event = scheduler.after(ms, () => this.deliver(() => isCancelled || run()));
        return () => {
          isCancelled = true;
          scheduler.cancel(event);
        };
      },
    };
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get isFrozen(): boolean {
    return this.#freezes > 0;
  }

  /** Lets the process hear of something: now, when it thaws, or never. */
  deliver(hear: () => void): void {
    if (this.#isDead) return;
    if (this.#freezes > 0 || this.#inbox.length > 0) this.#inbox.push(hear);
    else hear();
  }

  freeze(): void {
    this.#freezes += 1;
  }

  /** Ends one `freeze`; when the last has ended, what came meanwhile is heard in its order, each in a turn of its own. */
  thaw(): void {
    if (this.#freezes === 0) return;
    this.#freezes -= 1;
    if (this.#freezes === 0) this.#hearNext();
  }

  #hearNext(): void {
    if (this.#inbox.length === 0) return;
    this.#scheduler.after(0, () => {
      if (this.#isDead || this.#freezes > 0) return;
      const hear = this.#inbox[0];
      hear?.();
      this.#inbox.shift();
      this.#hearNext();
    });
  }

  kill(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#inbox = [];
    for (const tell of this.#onDeath) tell();
  }

  /** @returns ends the wish to be told */
  onDeath(tell: () => void): () => void {
    this.#onDeath.add(tell);
    return () => void this.#onDeath.delete(tell);
  }

  #sleep(ms: DurationMs, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      let event: Event;
      const abort = () => {
        this.#scheduler.cancel(event);
        reject(signal!.reason);
      };
      event = this.#scheduler.after(ms, () =>
        this.deliver(() => {
          signal?.removeEventListener('abort', abort);
          resolve();
        }),
      );
      signal?.addEventListener('abort', abort, { once: true });
    });
  }
}
