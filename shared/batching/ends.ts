import type { BackendReply } from '../inference/backend.ts';
import type { ResultRow } from '../journal/facts.ts';
import type { Json } from '../journal/json.ts';
import type { LineRequest } from './core.ts';

type Retry = Extract<ResultRow, { outcome: 'retry' }>;

/**
 * How one line ended in one run.
 *
 * - `answered`: an answer
 * - `refused`: the backend says that the request itself is wrong, and serves others
 * - `doubted`: it says so, and does not serve others
 * - `unusable`: an answer that is none: not JSON, wrong shape, an error inside; spends an attempt
 * - `retry`: comes again, spending an attempt only where `counts`
 */
export type End =
  | ({ kind: 'answered' | 'refused' } & Answer)
  | { kind: 'doubted'; status: number }
  | { kind: 'unusable'; reason: string }
  | { kind: 'retry'; cause: Retry['cause']; reason: string; counts: boolean };

export interface Answer {
  status: number;
  requestId: string;
  body: Json;
  /** The model that says it answered. */
  model: string;
}

export const outOfTime: End = { kind: 'retry', cause: 'deadline', reason: 'time ran out', counts: false };

/** A bug of ours while one line was worked is that line's retry, not its neighbours'. */
export function bugEnd(error: unknown): End {
  return { kind: 'retry', cause: 'line', reason: String((error as Error)?.message).slice(0, 200), counts: true };
}

export function retryRow(line: LineRequest, cause: Retry['cause'], reason: string, counts: boolean): Retry {
  return { outcome: 'retry', line: line.line, customId: line.customId, cause, reason, counts };
}

export function describeReply(reply: BackendReply): string {
  if (reply.kind === 'timeout') return 'no answer in time';
  if (reply.kind === 'unreachable') return `unreachable: ${reply.detail}`;
  return reply.kind === 'malformed' ? `status ${reply.status}: ${reply.detail}` : `status ${reply.status}`;
}
