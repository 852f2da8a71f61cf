import type { DurationMs } from '../../units.ts';
import type { BackendReply } from '../backend.ts';

/** What an SDK throws for an answer of the service. */
export interface BedrockFault {
  /** `ThrottlingException`, … */
  name: string;
  message: string;
  status: number | undefined;
  requestId: string | undefined;
  retryAfterMs: DurationMs | undefined;
}

/**
 * The status under which each exception is sorted, where its own would mislead: a quota comes as 400 and is nobody's
 * line; credentials that have run out may come as 400, too.
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors (2026-11)
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html (2026-11)
 */
const statuses: Readonly<Record<string, number>> = {
  AccessDeniedException: 403,
  ExpiredTokenException: 403,
  IncompleteSignature: 403,
  InternalServerException: 500,
  InvalidSignatureException: 403,
  MissingAuthenticationToken: 403,
  ModelErrorException: 424,
  ModelNotReadyException: 429,
  ModelTimeoutException: 408,
  OptInRequired: 403,
  ResourceNotFoundException: 404,
  ServiceQuotaExceededException: 429,
  ServiceUnavailableException: 503,
  ThrottlingException: 429,
  UnrecognizedClientException: 403,
  ValidationException: 400,
};

/**
 * An answer of the service that is an error, as a reply in the OpenAI shape. `undefined` where the service did not answer
 * at all.
 */
export function faultReply(fault: BedrockFault): BackendReply | undefined {
  const status = Object.hasOwn(statuses, fault.name) ? statuses[fault.name]! : fault.status;
  // A good status with an error inside the SDK: an answer that it could not read.
  if (status === undefined || status < 400) return undefined;
  return {
    kind: 'answered',
    status,
    ...(fault.requestId !== undefined && { requestId: fault.requestId }),
    ...(fault.retryAfterMs !== undefined && { retryAfterMs: fault.retryAfterMs }),
    body: {
      error: {
        message: fault.message.slice(0, 2000),
        type: status < 500 ? 'invalid_request_error' : 'server_error',
        param: null,
        code: fault.name.slice(0, 100),
      },
    },
  };
}
