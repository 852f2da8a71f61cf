import type { BackendReply } from './backend.ts';

/**
 * The reply of a backend of ours that cannot carry a request over faithfully: the line's own error, in the OpenAI
 * shape. Nothing was sent.
 * @param param member of the request at fault, in OpenAI's notation; `null` where it is none
 */
export function refusal(
  code: 'unsupported_endpoint' | 'unsupported_parameter' | 'unsupported_value' | 'invalid_value',
  param: string | null,
  message: string,
): BackendReply {
  return {
    kind: 'answered',
    status: 400,
    body: { error: { message, type: 'invalid_request_error', param, code } },
  };
}

/** As `refusal`, for what a mapping threw; anything else is an answer that we could not read. */
export function refusalOf(error: unknown): BackendReply {
  if (error instanceof CannotMap) return refusal(error.code, error.param, error.message);
  return { kind: 'malformed', status: 200, detail: String((error as Error)?.message).slice(0, 200) };
}

/** Thrown on the way through a mapping, and caught where the mapping ends. */
export class CannotMap extends Error {
  readonly code: 'unsupported_parameter' | 'unsupported_value' | 'invalid_value';
  readonly param: string;
  constructor(code: CannotMap['code'], param: string, message: string) {
    super(message);
    this.code = code;
    this.param = param;
  }
}
