import type { StoredMessage, SubQueue } from '../sub-queue.ts';

/** A receiver as the dispatcher sees it. */
export interface Receiver {
  /** How many messages it can take this moment. */
  readonly allowance: number;
  /** Takes the next message and sends it. `undefined` when there is none. */
  takeNext(): StoredMessage | undefined;
}

/** Hands the messages of one sub-queue to its competing receivers, one each in turn. */
export class Dispatcher {
  private readonly receivers: Receiver[] = [];
  private readonly sub: SubQueue;
  private turn = 0;
  private isScheduled = false;

  constructor(sub: SubQueue) {
    this.sub = sub;
    sub.onAvailable = () => this.schedule();
  }

  add(receiver: Receiver): void {
    this.receivers.push(receiver);
    this.schedule();
  }

  remove(receiver: Receiver): void {
    const position = this.receivers.indexOf(receiver);
    if (position >= 0) this.receivers.splice(position, 1);
  }

  /** Hands out once this turn's changes are all in. */
  schedule(): void {
    if (this.isScheduled || this.receivers.length === 0) return;
    this.isScheduled = true;
    process.nextTick(() => {
      this.isScheduled = false;
      this.dispatch();
    });
  }

  dispatch(): void {
    let unwilling = 0;
    while (this.sub.firstAvailable() && unwilling < this.receivers.length) {
      this.turn = (this.turn + 1) % this.receivers.length;
      const receiver = this.receivers[this.turn] as Receiver;
      if (receiver.allowance > 0 && receiver.takeNext()) unwilling = 0;
      else unwilling += 1;
    }
  }
}
