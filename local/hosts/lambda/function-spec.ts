import type { DurationMs } from '../../../shared/units.ts';

/** A function as Lambda knows it. */
export interface FunctionSpec {
  readonly name: string;
  /** Path of the built module. */
  readonly bundle: string;
  /** Name of the export to call. */
  readonly handler: string;
  /** An invocation is cut off after this long, and its environment thrown away. 1 s … 15 min. */
  readonly timeoutMs: DurationMs;
  /** Heap of an environment, in MB. */
  readonly memoryMb: number;
  /** Environments at once, each with one invocation at a time; more invocations wait. */
  readonly concurrencyMax: number;
  /** What the handler finds in `process.env`, besides what Lambda itself sets. */
  readonly environment: Readonly<Record<string, string>>;
  /** Queues that call it. */
  readonly eventSources: readonly EventSourceSpec[];
  /** True if it has a function URL. */
  readonly url: boolean;
  /** Called at the start, and again each time this long has passed; absent: never. */
  readonly everyMs?: DurationMs;
}

/** An event-source mapping from an SQS queue. */
export interface EventSourceSpec {
  readonly queueName: string;
  /** Messages a batch at most, 1 … 10,000; more than 10 want a window of at least a second. */
  readonly batchSize: number;
  /** How long a batch that is not full waits for more, 0 … 300,000. */
  readonly windowMs: DurationMs;
  /** `ReportBatchItemFailures`. */
  readonly reportsItemFailures: boolean;
}

export const ACCOUNT = '000000000000';

export function functionArn(name: string, region: string): string {
  return `arn:aws:lambda:${region}:${ACCOUNT}:function:${name}`;
}

export function queueArn(name: string, region: string): string {
  return `arn:aws:sqs:${region}:${ACCOUNT}:${name}`;
}
