import {
  codeOf,
  HoldfastError,
  InvariantError,
  OutcomeUnknownError,
  SiteUnavailableError,
  TransientError,
} from '../../shared/errors.ts';
import type { DurationMs } from '../../shared/units.ts';

/** Whether a call may have taken effect though no reply came. Deleting and settling again do no harm: `repeatable`. */
export type Effect = 'repeatable' | 'once';

/** Codes of failed connections after which it is certain that no request was sent. */
const NOT_SENT = new Map([
  ['ECONNREFUSED', 'refused'],
  ['EHOSTUNREACH', 'refused'],
  ['ENETUNREACH', 'refused'],
  ['ENETDOWN', 'refused'],
  ['ENOTFOUND', 'dns'],
  ['EAI_AGAIN', 'dns'],
  ['HOLDFAST_CONNECT_TIMEOUT', 'timeout'],
]);

/** Answers that say that the container, the queue or its account is not there, for anybody. */
const MISSING = new Set([
  'ContainerNotFound',
  'ContainerBeingDeleted',
  'ContainerDisabled',
  'ResourceNotFound',
  'AccountIsDisabled',
]);

/**
 * What a failed call of Blob means.
 *
 * | answer | error |
 * | --- | --- |
 * | 401, 403 | `SiteUnavailableError` `credentials` |
 * | 403 AccountIsDisabled, 404/409 of the container | `SiteUnavailableError` `store_missing` |
 * | 429, 503 ServerBusy | `TransientError` `throttled`, with what `Retry-After` says |
 * | other 5xx, connection lost, no reply in time | `OutcomeUnknownError` of a write, else `SiteUnavailableError` |
 * | refused, no such host, no connection in time | `SiteUnavailableError`: nothing was sent |
 * | other 4xx | `InvariantError`: we asked for something impossible |
 *
 * @source https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and
 *   https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes (2026-11-20)
 */
export function blobError(error: unknown, where: string, effect: Effect): HoldfastError {
  const status = statusOf(error);
  const code = blobCodeOf(error);
  const cause = { cause: error };
  if (MISSING.has(code)) return new SiteUnavailableError('store_missing', `${where}: ${code}`, where, cause);
  if (status === 401 || status === 403 || isCredentialError(error)) {
    return new SiteUnavailableError('credentials', `${where}: ${status ?? ''} ${code}`, where, cause);
  }
  if (status === 429 || (status === 503 && code === 'ServerBusy')) {
    return new TransientError('throttled', `${where}: ${status} ${code}`, {
      ...cause,
      retryAfterMs: retryAfterMs(error),
    });
  }
  if (status !== undefined && status < 500) {
    return new InvariantError('request_rejected', `${where}: ${status} ${code}`, cause);
  }
  return unanswered(error, status === undefined ? 'connection_lost' : 'server_error', where, effect);
}

/** `error.code` of the service: in the body's XML or, where there is no body, in a header. */
export function blobCodeOf(error: unknown): string {
  const fields = error as { details?: { errorCode?: unknown }; code?: unknown } | null;
  const code = fields?.details?.errorCode ?? fields?.code;
  return typeof code === 'string' ? code : '';
}

/** The HTTP status of an SDK's error; `undefined` where there was no reply. */
export function statusOf(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' ? status : undefined;
}

/** Where nothing, or nothing that can be relied on, was answered. */
function unanswered(error: unknown, code: string, where: string, effect: Effect): HoldfastError {
  const reason = error instanceof Error ? error.message : String(error);
  const notSent = NOT_SENT.get(networkCodeOf(error));
  if (notSent !== undefined || effect === 'repeatable') {
    const late = codeOf(error) === 'HOLDFAST_NO_REPLY';
    return new SiteUnavailableError(notSent ?? (late ? 'timeout' : code), `${where}: ${reason}`, where, {
      cause: error,
    });
  }
  return new OutcomeUnknownError('write_outcome_unknown', `${where}: ${reason}`, { cause: error });
}

/** Service Bus puts the code of a failed connection into the text of a general error. */
function networkCodeOf(error: unknown): string {
  const code = codeOf(error) ?? '';
  if (code !== 'GeneralError') return code;
  return [...NOT_SENT.keys()].find((known) => String((error as Error).message).includes(`${known}:`)) ?? code;
}

/** Errors of `@azure/identity`: no token could be had. */
function isCredentialError(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name;
  return typeof name === 'string' && /^(Aggregate)?AuthenticationError$|^CredentialUnavailableError$/.test(name);
}

/** @source https://learn.microsoft.com/azure/architecture/best-practices/retry-service-specific (2026-11-20) */
function retryAfterMs(error: unknown): DurationMs | undefined {
  const headers = (error as { response?: { headers?: { get(name: string): string | undefined } } }).response?.headers;
  const ms = Number(headers?.get('retry-after-ms') ?? headers?.get('x-ms-retry-after-ms') ?? Number.NaN);
  if (ms >= 0) return ms;
  const seconds = Number(headers?.get('retry-after') ?? Number.NaN);
  return seconds >= 0 ? seconds * 1000 : undefined;
}

/** What a `ServiceBusError` of each code means; codes that are not here are connections that failed. */
const SERVICE_BUS_CODES = new Map<string, (says: string, where: string, cause: { cause: unknown }) => HoldfastError>([
  ['UnauthorizedAccess', (says, where, cause) => new SiteUnavailableError('credentials', says, where, cause)],
  ['MessagingEntityNotFound', (says, where, cause) => new SiteUnavailableError('store_missing', says, where, cause)],
  // As the administration client says it, with status 200 or 404.
  ['MessageEntityNotFoundError', (says, where, cause) => new SiteUnavailableError('store_missing', says, where, cause)],
  ['MessagingEntityDisabled', (says, where, cause) => new SiteUnavailableError('queue_disabled', says, where, cause)],
  [
    'ServiceBusy',
    (says, _, cause) => new TransientError('throttled', says, { ...cause, retryAfterMs: SERVICE_BUSY_MS }),
  ],
  ['QuotaExceeded', (says, _, cause) => new TransientError('quota_exceeded', says, cause)],
  ['MessageSizeExceeded', (says, _, cause) => new InvariantError('message_too_large', says, cause)],
]);

/** @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling (2026-11-20) */
const SERVICE_BUSY_MS = 10_000;

/**
 * What a failed call of Service Bus means, over AMQP or, for its administration, over HTTP.
 *
 * | answer | error |
 * | --- | --- |
 * | UnauthorizedAccess, 401, 403 | `SiteUnavailableError` `credentials` |
 * | MessagingEntityNotFound; MessagingEntityDisabled | `SiteUnavailableError` `store_missing`, `queue_disabled` |
 * | ServiceBusy, 429, 503; QuotaExceeded (the queue is full) | `TransientError` `throttled`, `quota_exceeded` |
 * | MessageSizeExceeded, other 4xx | `InvariantError` |
 * | everything else | `SiteUnavailableError`: sending and settling again do no harm |
 *
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-messaging-exceptions-latest (2026-11-20)
 */
export function serviceBusError(error: unknown, where: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  const code = codeOf(error) ?? '';
  const known = SERVICE_BUS_CODES.get(code);
  if (known !== undefined) return known(`${where}: ${code}`, where, { cause: error });
  const status = statusOf(error);
  if (status === 503) {
    return new TransientError('throttled', `${where}: 503`, { cause: error, retryAfterMs: retryAfterMs(error) });
  }
  return status === undefined
    ? unanswered(error, 'connection_lost', where, 'repeatable')
    : blobError(error, where, 'repeatable');
}
