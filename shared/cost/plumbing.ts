import type { Dispatch, Publication } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import { type Cloud, type Operation, operations, unitPrices } from './prices.ts';

/** What the facts of one batch tell of the calls that were made for it. */
export interface BatchTrace {
  /** Cloud of each site; a site that is not known any more is in no sum. */
  clouds: ReadonlyMap<SiteId, Cloud>;
  /** Every object of the batch, and the sites that hold it. */
  objects: readonly { sites: readonly SiteId[] }[];
  home: SiteId;
  acceptedBy: SiteId;
  inputBytes: number;
  /** The only site that holds its payload; `null`: all. */
  boundTo: SiteId | null;
  dispatches: readonly Pick<Dispatch, 'to' | 'ranges'>[];
  /** Result objects: who wrote them, and how large they are. */
  results: readonly { site: SiteId; bytes: number }[];
  publication: Pick<Publication, 'site' | 'output' | 'errorFile' | 'choice'> | undefined;
}

/** Calls, or bytes, of one kind in one cloud. */
export interface PlumbingCost {
  cloud: Cloud;
  operation: Operation;
  count: number;
  dollars: number;
}

/** Objects of an intake that do not lie under the batch: input, its meta, hint, marker; and the hint's end. */
const intakeWrites = 5;
/** One decision of a register, at each of two stores: the reads and the conditional writes of its two rounds. */
const decision = { reads: 2, writes: 2 };
/** Messages that SQS takes, gives or deletes in one call. @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html 2026-11 */
const sqsBatch = 10;

/**
 * Counts the calls that the facts prove: the least that this batch can have cost. What repeats without leaving a fact
 * (empty receives, lists, deliveries that came again) is not in it.
 */
export function plumbingCost(trace: BatchTrace): PlumbingCost[] {
  const counts = new Map<string, number>();
  const count = (site: SiteId, operation: Operation, amount: number) => {
    const cloud = trace.clouds.get(site);
    if (cloud === undefined || amount === 0) return;
    const key = `${cloud} ${operation}`;
    counts.set(key, (counts.get(key) ?? 0) + amount);
  };
  countIntake(trace, count);
  countWork(trace, count);
  countPublication(trace, count);
  return (['aws', 'azure'] as const).flatMap((cloud) =>
    operations.flatMap((operation) => {
      const amount = counts.get(`${cloud} ${operation}`);
      return amount === undefined
        ? []
        : [{ cloud, operation, count: amount, dollars: amount * unitPrices[cloud][operation] }];
    }),
  );
}

type Count = (site: SiteId, operation: Operation, amount: number) => void;

function countIntake(trace: BatchTrace, count: Count): void {
  for (const site of trace.clouds.keys()) count(site, 'store_write', intakeWrites);
  for (const { sites } of trace.objects) for (const site of sites) count(site, 'store_write', 1);
  countCrossing(trace, trace.acceptedBy, trace.inputBytes, count);
  // The plan pointer, and the reading of the whole input that it leads to.
  countMessages(trace, trace.home, 1, count);
  count(trace.home, 'store_read', 1);
}

function countWork(trace: BatchTrace, count: Count): void {
  for (const { to, ranges } of trace.dispatches) {
    countMessages(trace, to, ranges.length, count);
    // Each pointer reads its part of the input.
    count(to, 'store_read', ranges.length);
  }
  for (const { site, bytes } of trace.results) countCrossing(trace, site, bytes, count);
}

function countPublication(trace: BatchTrace, count: Count): void {
  const { publication } = trace;
  if (publication === undefined) return;
  // The publisher reads every result twice: to choose, and to write what was chosen.
  count(publication.site, 'store_read', 2 * trace.results.length);
  const files = [publication.output, publication.errorFile, publication.choice].filter((file) => file !== null);
  for (const site of trace.clouds.keys()) {
    if (trace.boundTo === null || trace.boundTo === site) count(site, 'store_write', files.length);
    count(site, 'store_read', decision.reads);
    count(site, 'store_write', decision.writes);
  }
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  countCrossing(trace, publication.site, bytes, count);
}

/** What one site writes to the other leaves its cloud. */
function countCrossing({ clouds, boundTo }: BatchTrace, from: SiteId, bytes: number, count: Count): void {
  const others = [...clouds].filter(([site, cloud]) => site !== from && cloud !== clouds.get(from)).length;
  if (boundTo === null) count(from, 'bytes_to_other_cloud', bytes * others);
}

/** Sent, received, completed; and the function that was called with them. */
function countMessages({ clouds }: BatchTrace, site: SiteId, messages: number, count: Count): void {
  const calls = clouds.get(site) === 'aws' ? Math.ceil(messages / sqsBatch) : messages;
  count(site, 'queue_call', 3 * calls);
  count(site, 'function_call', calls);
}
