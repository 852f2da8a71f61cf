/**
 * List prices of what carries a batch besides its models, in US dollars: us-east-1 and East US, without free allowances,
 * contracts or taxes. One place, one date: whoever doubts a number of `holdfast cost` looks here.
 *
 * The vendors' pages, named at each price, fill their numbers in by script, so that a stored copy of most of them shows
 * none. What confirmed a number besides is named in brackets; where it is somebody else's word, it says so.
 */
export const pricesAsOf = '2026-11';
export const pricesRegion = { aws: 'us-east-1', azure: 'eastus' } as const;

export type Cloud = 'aws' | 'azure';

/** What is counted. Calls are priced a million, bytes a gigabyte (10⁹). */
export const operations = ['store_write', 'store_read', 'queue_call', 'function_call', 'bytes_to_other_cloud'] as const;
export type Operation = (typeof operations)[number];

const million = 1e6;
const gigabyte = 1e9;

/** Dollars for one call, or one byte. */
export const unitPrices: Readonly<Record<Cloud, Readonly<Record<Operation, number>>>> = {
  aws: {
    // PUT, COPY, POST, LIST / GET, S3 Standard. @source https://aws.amazon.com/s3/pricing/ 2026-11
    // (others: https://mranv.pages.dev/posts/cloudflare-r2-storage-guide)
    store_write: 5 / million,
    store_read: 0.4 / million,
    // Standard queues, first 100 billion a month; a request carries up to ten messages and up to 64 KB, each further 64 KB
    // counts as one more. @source https://aws.amazon.com/sqs/pricing/ 2026-11
    // (others: https://cloudburn.io/blog/amazon-sqs-pricing, 2026-03)
    queue_call: 0.4 / million,
    // Requests; the time that they take is not in here. @source https://aws.amazon.com/lambda/pricing/ 2026-11
    // (read off that page on 2026-09-20 by
    // https://github.com/api-evangelist/aws-lambda/blob/main/plans/aws-lambda-plans-pricing.yml, for managed instances;
    // others say the same of both)
    function_call: 0.2 / million,
    // Out to the internet, first 10 TB a month. @source https://aws.amazon.com/ec2/pricing/on-demand/#Data_Transfer 2026-11
    // (others: https://cloudtoolstack.com/blog/cloud-egress-cost-optimization, early 2026)
    bytes_to_other_cloud: 0.09 / gigabyte,
  },
  azure: {
    // Block blobs, hot, LRS: others' word only (https://cal53.calculator.city/azure-blob-storage-pricing-calculator/, 2023).
    // Not confirmed for ZRS, which `infra/azure` asks for and which is priced apart.
    // @source https://azure.microsoft.com/pricing/details/storage/blobs/ 2026-11
    store_write: 5 / million,
    store_read: 0.4 / million,
    // Standard, beyond the 13 million that come with the base charge of $10.
    // @source https://azure.microsoft.com/pricing/details/service-bus/ 2026-11 (Microsoft's own documentation had the
    // same in 2014, others in 2026)
    queue_call: 0.8 / million,
    // Flex Consumption, on demand, which `infra/azure` deploys (the older Consumption plan: $0.20); the time that they take
    // is not in here. @source https://azure.microsoft.com/pricing/details/functions/ 2026-11
    // (others: https://modal.com/blog/azure-function-pricing-guide, 2025-05)
    function_call: 0.4 / million,
    // Internet egress, first 10 TB a month. @source https://azure.microsoft.com/pricing/details/bandwidth/ 2026-11
    // (others: https://cloudtoolstack.com/blog/cloud-egress-cost-optimization, early 2026)
    bytes_to_other_cloud: 0.087 / gigabyte,
  },
};

/**
 * Dollars for a second of a gigabyte while a function runs: Lambda on arm64, first 7.5 billion a month; Functions, Flex
 * Consumption, on demand, where an execution counts as a second at least, of the whole instance.
 * @source https://aws.amazon.com/lambda/pricing/ 2026-11 (others: https://cloudchipr.com/blog/aws-lambda-pricing)
 * @source https://azure.microsoft.com/pricing/details/functions/ 2026-11 (others: as above)
 * @source https://learn.microsoft.com/azure/azure-functions/flex-consumption-plan#billing 2026-11 (the second)
 */
export const gigabyteSecondPrices: Readonly<Record<Cloud, number>> = { aws: 0.0000133334, azure: 0.000026 };

/** What no fact tells, and so stands in no sum. */
export const notCounted = [
  'time of functions',
  'listing, sweeping and probing, which all batches share',
  'empty receives, and messages that were delivered again',
  'storage by the month',
  'tokens of calls that were refused, cut off or failed: no provider reports them',
] as const;
