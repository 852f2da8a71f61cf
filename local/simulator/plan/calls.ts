/**
 * Calls that work costs, both clouds well: `per chunk` in its own cloud and in the other one, `per batch` likewise.
 * Counted by reading the code, not measured.
 */
export const calls = {
  perChunk: {
    own: { storeWrite: 1, storeRead: 1, storeList: 0.1 },
    other: { storeWrite: 1, storeRead: 0, storeList: 0 },
    /** SQS: a tenth of a send and of a receive, a delete; Service Bus counts each message in and out, and its settling. */
    queue: { aws: 1.2, azure: 3 },
  },
  perBatch: {
    own: { storeWrite: 19, storeRead: 26, storeList: 13 },
    other: { storeWrite: 18, storeRead: 10, storeList: 5 },
    queue: { aws: 6, azure: 6 },
  },
  /** Memory of a worker, and messages that share one. */
  worker: { aws: { gigabytes: 1, messages: 10 }, azure: { gigabytes: 2, messages: 16 } },
} as const;
