import type { answerKinds } from './faults.ts';
import type { Protocol } from './gate.ts';

/** Faults that are an answer. */
export type RefusalKind = Exclude<(typeof answerKinds)[number], 'hang'>;

/** An answer in a service's own words. */
export interface Refusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

type Words = Record<'error' | 'throttle' | 'readonly' | 'expired-credentials', Refusal>;

const words: Record<Exclude<Protocol, 'amqp'>, Words> = {
  /** @source https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html 2026-11 */
  s3: {
    error: s3(500, 'InternalError', 'We encountered an internal error. Please try again.'),
    throttle: s3(503, 'SlowDown', 'Please reduce your request rate.'),
    readonly: s3(403, 'AccessDenied', 'Access Denied'),
    'expired-credentials': s3(400, 'ExpiredToken', 'The provided token has expired.'),
  },
  /**
   * @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html 2026-11; the status
   *   of ExpiredTokenException from the same page of other services, where that of SQS leaves it out
   */
  sqs: {
    error: sqs(500, 'InternalFailure', 'The request processing has failed because of an unknown error.'),
    throttle: sqs(400, 'ThrottlingException', 'The request was denied due to request throttling.'),
    readonly: sqs(400, 'AccessDeniedException', 'You do not have sufficient access to perform this action.'),
    'expired-credentials': sqs(403, 'ExpiredTokenException', 'The security token included in the request is expired'),
  },
  /** @source https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes 2026-11 */
  blob: {
    error: blob(500, 'InternalError', 'The server encountered an internal error. Please retry the request.'),
    throttle: blob(503, 'ServerBusy', 'The server is currently unable to receive requests. Please retry your request.'),
    readonly: blob(403, 'InsufficientAccountPermissions', "Write operations aren't allowed."),
    'expired-credentials': blob(403, 'AuthenticationFailed', 'Server failed to authenticate the request.'),
  },
  /** @source https://learn.microsoft.com/rest/api/servicebus/error-codes 2026-11 */
  atom: {
    error: atom(500, 'The service encountered an error while processing the request.'),
    throttle: atom(503, 'The server is busy. Please wait and retry the operation.'),
    readonly: atom(403, 'The specified resource cannot be accessed.'),
    'expired-credentials': atom(401, 'ExpiredToken: The token is expired.'),
  },
  /** @source https://platform.openai.com/docs/guides/error-codes 2026-11 */
  openai: {
    error: openai(500, 'server_error', 'server_error', 'The server had an error while processing your request.'),
    throttle: openai(429, 'requests', 'rate_limit_exceeded', 'Rate limit reached for requests.', {
      'retry-after': '1',
    }),
    readonly: openai(403, 'invalid_request_error', 'unsupported', 'The request is not allowed.'),
    'expired-credentials': openai(401, 'invalid_request_error', 'invalid_api_key', 'Incorrect API key provided.'),
  },
};

/** What a service that speaks `protocol` answers under a fault. A share of requests meets an error as any would. */
export function refusalOf(protocol: Protocol, kind: RefusalKind): Refusal {
  if (protocol === 'amqp') throw new RangeError('AMQP has no requests to answer');
  return words[protocol][kind === 'partial' ? 'error' : kind];
}

function s3(status: number, code: string, message: string): Refusal {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml' }, body };
}

function sqs(status: number, code: string, message: string): Refusal {
  const side = status < 500 ? 'Sender' : 'Receiver';
  return {
    status,
    headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-query-error': `${code};${side}` },
    body: JSON.stringify({ __type: `com.amazon.coral.service#${code}`, message }),
  };
}

function blob(status: number, code: string, message: string): Refusal {
  const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  return { status, headers: { 'content-type': 'application/xml', 'x-ms-error-code': code }, body };
}

function atom(status: number, detail: string): Refusal {
  const body = `<Error><Code>${status}</Code><Detail>${detail}</Detail></Error>`;
  return { status, headers: { 'content-type': 'application/xml; charset=utf-8' }, body };
}

function openai(
  status: number,
  type: string,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): Refusal {
  const body = JSON.stringify({ error: { message, type, param: null, code } });
  return { status, headers: { 'content-type': 'application/json', ...headers }, body };
}
