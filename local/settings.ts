import type { Settings } from '../shared/settings.ts';
import type { DurationMs } from '../shared/units.ts';

/**
 * What is shorter on one machine than in a cloud, so that a crash is mended while somebody watches.
 *
 * After `kill -9` of a function host its messages come back: on Service Bus when their lock ends (15 s); on SQS when the
 * lease ends that a worker took on entry (15 s), or, where the host died between receiving and entering, when the
 * queue's own visibility ends (60 s, which Lambda wants to be at least the function's time-out). What a purged queue
 * lost is sent again once it is older than `dispatchLeaseMs` and the depth has been short for `shortDepthMs`.
 */
export const localSettings = {
  health: 'fast',
  tickMs: 2_000,
  leaseMs: 15_000,
  runMs: 50_000,
  peerTimeoutMs: 3_000,
  controlCacheMs: 2_000,
  dispatchLeaseMs: 20_000,
  shortDepthMs: 4_000,
} satisfies Partial<Settings>;

/** Time-out of the Lambda workers, and visibility of their queues. Deployed: 240 s. */
export const workerTimeoutMs: DurationMs = 60_000;

/** How long Service Bus locks a message before the host must renew. Deployed: 60 s. */
export const lockMs: DurationMs = 15_000;

/** Lambda environments at once, by function. A thread and some 40 MB each, brought up when needed. */
export const environmentsMax: Readonly<Record<string, number>> = {
  'worker-intake': 2,
  'worker-work': 4,
  api: 8,
  monitor: 1,
};
