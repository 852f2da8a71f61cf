/**
 * List prices in dollars, us-east-1 and East US, without free tiers and discounts. The only place where there are any;
 * what a model costs is in the limits. Azure's pages show amounts to browsers only and differ by currency and day: check
 * them before you sign something.
 */
export const priceDate = '2026-11';

export const prices = {
  aws: {
    /** S3 Standard, each. @source https://aws.amazon.com/s3/pricing/ 2026-11 */
    storeWrite: 0.005 / 1_000,
    storeRead: 0.0004 / 1_000,
    storeList: 0.005 / 1_000,
    /** SQS standard queue, a request. @source https://aws.amazon.com/sqs/pricing/ 2026-11 */
    queueOperation: 0.4 / 1_000_000,
    /** Lambda on arm64, a GB-second. @source https://aws.amazon.com/lambda/pricing/ 2026-11 */
    gigabyteSecond: 0.0000133334,
    /** A GB to the internet, first 10 TB a month. @source https://aws.amazon.com/ec2/pricing/on-demand/ 2026-11 */
    egressGigabyte: 0.09,
  },
  azure: {
    /** Blob, hot, ZRS, each. @source https://azure.microsoft.com/pricing/details/storage/blobs/ 2026-11 */
    storeWrite: 0.0625 / 10_000,
    storeRead: 0.005 / 10_000,
    storeList: 0.0625 / 10_000,
    /** Service Bus Standard beyond what its base charge includes. @source https://azure.microsoft.com/pricing/details/service-bus/ 2026-11 */
    queueOperation: 0.8 / 1_000_000,
    /** Functions Flex Consumption, on demand. @source https://azure.microsoft.com/pricing/details/functions/ 2026-11 */
    gigabyteSecond: 0.000026,
    /** A GB to the internet, first 10 TB a month. @source https://azure.microsoft.com/pricing/details/bandwidth/ 2026-11 */
    egressGigabyte: 0.087,
  },
} as const;

/**
 * Calls that work costs, both clouds well: `per chunk` in its own cloud and in the other one, `per batch` likewise.
 * Counted on the code, not measured; `test/simulation/plan/calls.test.ts` holds them to what the core does in memory.
 */
export const calls = {
  perChunk: {
    own: { storeWrite: 1, storeRead: 1, storeList: 0.1 },
    other: { storeWrite: 1, storeRead: 0, storeList: 0 },
    /** SQS: a tenth of a send and of a receive, a delete; Service Bus counts each message in and out, and its settling. */
    queue: { aws: 1.2, azure: 3 },
  },
  perBatch: {
    own: { storeWrite: 18, storeRead: 25, storeList: 12 },
    other: { storeWrite: 18, storeRead: 10, storeList: 4 },
    queue: { aws: 6, azure: 6 },
  },
  /** Memory of a worker, and messages that share one. */
  worker: { aws: { gigabytes: 1, messages: 10 }, azure: { gigabytes: 2, messages: 16 } },
} as const;
