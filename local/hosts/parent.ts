/** The link between a process and the one that started it: what it is to do, that it is ready, and that both live. */

/** What the parent says whenever it likes once the host is ready: whether queues are polled. */
export interface HostSwitch {
  polls: boolean;
}

/**
 * Waits for the order that the parent sends, and ties this process to it: when the parent is gone, by whatever death,
 * the channel breaks and this process ends at once.
 */
export function orderFromParent<Order>(): Promise<Order> {
  if (!process.send) {
    console.error('this process is started by another one, which tells it over IPC what to do');
    process.exit(2);
  }
  process.once('disconnect', () => process.exit(0));
  // A terminal's Ctrl-C reaches every process; who ends what is the parent's to say.
  process.on('SIGINT', () => {});
  return new Promise((resolve) => process.once('message', (order) => resolve(order as Order)));
}

/** Tells the parent that this process does what it was ordered to. */
export function tellParent(message: object): void {
  process.send?.(message);
}
