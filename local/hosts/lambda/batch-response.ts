import type { Invocation } from './environment.ts';

/**
 * Which messages of a batch stay in the queue, by their ids. The rest is deleted.
 *
 * A batch is a complete success on an empty or null `batchItemFailures` list and on an empty or null response; a
 * complete failure when the function failed, on a response that is no JSON object, and on an `itemIdentifier` that is
 * empty, null, misnamed or of no message in the batch. Without `ReportBatchItemFailures` only the function's own
 * failure counts.
 * @source https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html 2026-08
 */
export function failedItems(
  invocation: Pick<Invocation, 'failed' | 'payload'>,
  ids: readonly string[],
  reportsItemFailures: boolean,
): readonly string[] {
  if (invocation.failed) return ids;
  if (!reportsItemFailures) return [];
  const response: unknown = JSON.parse(invocation.payload);
  if (response === null) return [];
  if (typeof response !== 'object' || Array.isArray(response)) return ids;
  const failures = (response as { batchItemFailures?: unknown }).batchItemFailures;
  if (failures === undefined || failures === null) return [];
  if (!Array.isArray(failures)) return ids;
  const named = failures.map((failure: unknown) => (failure as { itemIdentifier?: unknown } | null)?.itemIdentifier);
  return named.every((id): id is string => typeof id === 'string' && ids.includes(id)) ? named : ids;
}
