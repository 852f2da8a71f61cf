import type { Endpoint, ResultRow } from '../journal/facts.ts';
import type { JsonObject } from '../journal/json.ts';
import type { EpochMs } from '../units.ts';

/**
 * What the worker hands to the batching core, and what it gets back: an outcome for every line, always, also when time
 * runs out. One core serves a whole process: calls made at the same time share it, so that chunks of one Lambda
 * invocation and concurrent Functions invocations are packed together.
 */
export interface BatchingCore {
  /** Never rejects, and returns one row for each line, in the order of `lines`, by `deadline` at the latest. */
  run(job: BatchingJob): Promise<ResultRow[]>;
}

export interface BatchingJob {
  endpoint: Endpoint;
  /** Alias in the model map. */
  model: string;
  lines: readonly LineRequest[];
  /** Nothing is started that cannot end before it; unfinished lines come back as `retry` with cause `deadline`. */
  deadline: EpochMs;
}

export interface LineRequest {
  /** 0-based in the input file. */
  line: number;
  customId: string;
  /** Body of the request as the client wrote it, checked for depth and size. */
  body: JsonObject;
  /** UTF-8 bytes of the body, for token estimates. */
  bytes: number;
}
