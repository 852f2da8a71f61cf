import { OutcomeUnknownError, SiteUnavailableError, TransientError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/ports/clock.ts';
import type { Random } from '../../shared/ports/random.ts';
import type { DurationMs } from '../../shared/units.ts';

/** What goes wrong with one operation. Absent fields: nothing. */
export interface Fault {
  /** The call reaches nothing: `SiteUnavailableError`. */
  refuse?: boolean;
  /** The call waits this long on its way. */
  delayMs?: DurationMs;
  /** The effect happens and the reply is lost: of every call, or of the next one only. */
  dropReply?: 'always' | 'once';
  /** The share of calls, 0 to 1, that is throttled before it has an effect: `TransientError`. */
  errorRate?: number;
}

/** May wait (a frozen process), or throw what the call then rejects with. */
export type Hook<Op extends string> = (op: Op, key: string) => void | Promise<void>;

/**
 * The faults of one wrapped store or queue, by operation; change them at any time. What is set for an operation goes
 * before what is set for all.
 */
export class Faults<Op extends string> {
  /** Called before an operation reaches what is wrapped. */
  before?: Hook<Op>;
  /** Called when the operation has taken effect, before its reply is given. */
  after?: Hook<Op>;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #byOp = new Map<Op | 'all', Fault>();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  set(op: Op | 'all', fault: Fault): void {
    this.#byOp.set(op, fault);
  }

  /** Takes away one fault, or all of them and the hooks. */
  clear(op?: Op | 'all'): void {
    if (op !== undefined) {
      this.#byOp.delete(op);
      return;
    }
    this.#byOp.clear();
    this.before = undefined;
    this.after = undefined;
  }

  /**
   * Carries `call` out under the faults of `op`.
   * @throws SiteUnavailableError refused
   * @throws TransientError drawn by the error rate
   * @throws OutcomeUnknownError the reply was dropped
   */
  async apply<T>(where: string, op: Op, key: string, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    await this.before?.(op, key);
    const { refuse, delayMs, dropReply, errorRate } = { ...this.#byOp.get('all'), ...this.#byOp.get(op) };
    if (delayMs) await this.#clock.sleep(delayMs, signal);
    if (refuse) throw new SiteUnavailableError('refused', `${where}: ${op} refused, by a fault`, where);
    if (errorRate && this.#random() < errorRate) {
      throw new TransientError('throttled', `${where}: ${op} throttled, by a fault`);
    }
    if (dropReply === 'once') this.#used(op);
    const result = await call();
    await this.after?.(op, key);
    if (dropReply) throw new OutcomeUnknownError('reply_lost', `${where}: reply to ${op} lost, by a fault`);
    return result;
  }

  #used(op: Op): void {
    for (const each of [op, 'all'] as const) {
      const { dropReply, ...rest } = this.#byOp.get(each) ?? {};
      if (dropReply === 'once') this.#byOp.set(each, rest);
    }
  }
}
