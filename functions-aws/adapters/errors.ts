import {
  codeOf,
  type HoldfastError,
  InvariantError,
  OutcomeUnknownError,
  SiteUnavailableError,
  TransientError,
} from '../../shared/errors.ts';
import type { DurationMs } from '../../shared/units.ts';

/** Whether a call may have taken effect though no reply came. Deleting and sending again do no harm: `repeatable`. */
export type Effect = 'repeatable' | 'once';

/** Codes of failed connections after which it is certain that no request was sent. */
const NOT_SENT = new Map([
  ['ECONNREFUSED', 'refused'],
  ['EHOSTUNREACH', 'refused'],
  ['ENETUNREACH', 'refused'],
  ['ENETDOWN', 'refused'],
  ['ENOTFOUND', 'dns'],
  ['EAI_AGAIN', 'dns'],
]);

/** Answers that say that the bucket, the queue or its account is not there, for anybody. */
const MISSING = new Set([
  'NoSuchBucket',
  'AllAccessDisabled',
  'AccountProblem',
  'PermanentRedirect',
  'QueueDoesNotExist',
  'QueueDeletedRecently',
  'AWS.SimpleQueueService.NonExistentQueue',
]);

/** Answers about who we are that do not come as 401 or 403. */
const CREDENTIALS = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidToken',
  'InvalidClientTokenId',
  'IncompleteSignature',
  'MissingAuthenticationToken',
  'UnrecognizedClientException',
  'OptInRequired',
  'CredentialsProviderError',
  'TokenProviderError',
]);

const THROTTLED = new Set([
  'SlowDown',
  'ThrottlingException',
  'Throttling',
  'RequestThrottled',
  'RequestLimitExceeded',
  'TooManyRequestsException',
  'BandwidthLimitExceeded',
  'OverLimit',
  'KmsThrottled',
  'KMS.ThrottlingException',
]);

/** Refused for the moment, surely without an effect. */
const BUSY = new Set(['ConditionalRequestConflict', 'OperationAborted', 'RequestTimeout']);

/**
 * What a failed call of S3 or SQS means.
 *
 * | answer | error |
 * | --- | --- |
 * | 401, 403, expired or unknown tokens, no credentials to be had | `SiteUnavailableError` `credentials` |
 * | no such bucket or queue, the key that encrypts it refused | `SiteUnavailableError` `store_missing`, `encryption_key` |
 * | 429, SlowDown and its like, any 503 to what is `repeatable` | `TransientError` `throttled`, with what `Retry-After` says |
 * | 409 ConditionalRequestConflict, OperationAborted; 400 RequestTimeout | `TransientError` `conflict` |
 * | other 5xx, connection lost, no reply in time | `OutcomeUnknownError` of a write, else `SiteUnavailableError` |
 * | refused, no such host, no connection in time | `SiteUnavailableError`: nothing was sent |
 * | other 4xx | `InvariantError`: we asked for something impossible |
 *
 * @source https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html,
 *   https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and
 *   https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html (2026-11)
 */
export function awsError(error: unknown, where: string, effect: Effect): HoldfastError {
  const status = statusOf(error);
  const code = awsCodeOf(error);
  const says = `${where}: ${status ?? ''} ${code}`;
  const cause = { cause: error };
  if (MISSING.has(code)) return new SiteUnavailableError('store_missing', says, where, cause);
  // A 503 without one of these codes may come from anything on the way, and so says nothing about a write.
  if (THROTTLED.has(code) || status === 429 || (status === 503 && effect === 'repeatable')) {
    return new TransientError('throttled', says, { ...cause, retryAfterMs: retryAfterMs(error) });
  }
  if (/^KMS\.|^Kms/.test(code)) return new SiteUnavailableError('encryption_key', says, where, cause);
  if (CREDENTIALS.has(code) || status === 401 || status === 403 || isRefusedHead(status, code)) {
    return new SiteUnavailableError('credentials', says, where, cause);
  }
  if (BUSY.has(code)) return new TransientError('conflict', says, cause);
  if (status !== undefined && status >= 400 && status < 500) return new InvariantError('request_rejected', says, cause);
  return unanswered(error, status === undefined ? 'connection_lost' : 'server_error', where, effect);
}

/**
 * An expired token is a 400, and the reply to a HEAD has no body to say so; for nothing else are our own HEADs answered
 * 400. `Unknown` is the SDK's name for an error without a code.
 */
function isRefusedHead(status: number | undefined, code: string): boolean {
  return status === 400 && code === 'Unknown';
}

/** The service's code for an error, or the error's name. */
export function awsCodeOf(error: unknown): string {
  const { name, Code } = (error ?? {}) as { name?: unknown; Code?: unknown };
  // Errors without a shape of their own carry the service's code beside a general name.
  if (typeof Code === 'string') return Code;
  return typeof name === 'string' ? name : '';
}

/** The HTTP status of an SDK's error; `undefined` where there was no reply. */
export function statusOf(error: unknown): number | undefined {
  const { $metadata } = (error ?? {}) as { $metadata?: { httpStatusCode?: unknown } };
  return typeof $metadata?.httpStatusCode === 'number' ? $metadata.httpStatusCode : undefined;
}

/** Where nothing, or nothing that can be relied on, was answered. */
function unanswered(error: unknown, code: string, where: string, effect: Effect): HoldfastError {
  const reason = error instanceof Error ? error.message : String(error);
  const notSent = NOT_SENT.get(connectionCodeOf(error) ?? '') ?? (isConnectTimeout(error) ? 'timeout' : undefined);
  if (notSent !== undefined || effect === 'repeatable') {
    return new SiteUnavailableError(notSent ?? code, `${where}: ${reason}`, where, { cause: error });
  }
  return new OutcomeUnknownError('write_outcome_unknown', `${where}: ${reason}`, { cause: error });
}

/** Of an error that the SDK does not take for one (it is of another realm) nothing but its text comes through. */
function connectionCodeOf(error: unknown): string | undefined {
  return codeOf(error) ?? /\bE[A-Z_]{4,}\b/.exec(String((error as Error | null)?.message))?.[0];
}

/** The SDK tells this time-out from others by its text alone. */
function isConnectTimeout(error: unknown): boolean {
  const { name, message } = (error ?? {}) as { name?: unknown; message?: unknown };
  return name === 'TimeoutError' && /establish a connection/.test(String(message));
}

function retryAfterMs(error: unknown): DurationMs | undefined {
  const { $response } = error as { $response?: { headers?: Record<string, string> } };
  const seconds = Number($response?.headers?.['retry-after'] ?? Number.NaN);
  return seconds >= 0 ? seconds * 1000 : undefined;
}
