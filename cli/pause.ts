import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Resolves after `ms`.
 * @throws the reason of `signal`, as soon as it is aborted
 */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}
