import { codeOf } from '../errors.ts';
import type { DurationMs } from '../units.ts';

/** Types of the OpenAI error object, by what the client should think of it. */
export type ApiErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'rate_limit_error'
  | 'server_error';

/** Facts of an answer that is not 2xx. `message` may name fields and rules, never what a payload holds. */
export interface ApiErrorFields {
  status: number;
  code: string;
  message: string;
  /** Field of the request at fault. */
  param?: string;
  /** When to come again; becomes `Retry-After` in whole seconds, at least 1. */
  retryAfterMs?: DurationMs;
  headers?: Record<string, string>;
}

/** Ends a request with the OpenAI error object. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly param: string | null;
  readonly headers: Record<string, string>;

  constructor(fields: ApiErrorFields) {
    super(fields.message);
    this.name = 'ApiError';
    this.status = fields.status;
    this.code = fields.code;
    this.param = fields.param ?? null;
    this.headers = { ...fields.headers };
    if (fields.retryAfterMs !== undefined)
      this.headers['retry-after'] = String(Math.max(1, Math.ceil(fields.retryAfterMs / 1000)));
  }
}

/** A request that breaks a rule: 400, `param` names the field. */
export function badRequest(code: string, message: string, param?: string): ApiError {
  return new ApiError({ status: 400, code, message, param });
}

/** 404 in the words of OpenAI; the same whether it never was, was deleted, or is another tenant's. */
export function notFound(object: string, id: string, param = 'id'): ApiError {
  return new ApiError({ status: 404, code: 'not_found', message: `No such ${object}: '${shown(id)}'.`, param });
}

/** An id as it may be shown in a message: printable ASCII, at most 64 characters. */
function shown(id: string): string {
  return id.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}

/** The other cloud, or our own store, does not answer: 503 with `Retry-After` (default 5 s). */
export function unavailable(code: string, message: string, retryAfterMs: DurationMs = 5_000): ApiError {
  return new ApiError({ status: 503, code, message, retryAfterMs });
}

/** What any thrown value is answered with. Errors of stores become 503, everything unforeseen 500 without details. */
export function toApiError(error: unknown): ApiError {
  if (isApiError(error)) return error;
  const { name, retryAfterMs } = error as { name?: unknown; retryAfterMs?: number };
  switch (name) {
    case 'TransientError':
      return unavailable(codeOf(error) ?? 'transient', 'A store is throttling; try again.', retryAfterMs);
    case 'SiteUnavailableError':
      return unavailable(
        codeOf(error) ?? 'site_unavailable',
        'A store does not answer; try again, or the other cloud.',
      );
    case 'OutcomeUnknownError':
      return unavailable(
        'outcome_unknown',
        'The reply of a store was lost: the request may have been carried out. Send it again with the same Idempotency-Key.',
      );
    default:
      return new ApiError({
        status: 500,
        code: 'internal_error',
        message: 'The server failed to answer this request.',
      });
  }
}

/** The OpenAI error object; all four fields are always there. */
export function errorBody(error: ApiError): {
  error: { message: string; type: ApiErrorType; param: string | null; code: string };
} {
  return { error: { message: error.message, type: typeOf(error.status), param: error.param, code: error.code } };
}

function isApiError(error: unknown): error is ApiError {
  return (error as { name?: unknown } | null)?.name === 'ApiError';
}

function typeOf(status: number): ApiErrorType {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}
