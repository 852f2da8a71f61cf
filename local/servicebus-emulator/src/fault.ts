/**
 * A refusal as the service words it: an AMQP error condition, which the SDKs turn into their own codes, and the status
 * the same refusal has in a `$management` reply or over HTTP.
 *
 * The wording matters: `@azure/core-amqp` recognises a missing entity by its text.
 * @source https://github.com/Azure/azure-sdk-for-js/blob/main/sdk/core/core-amqp/src/errors.ts (read 2026-11)
 */
export class ServiceBusFault extends Error {
  readonly condition: string;
  readonly status: number;
  constructor(condition: string, status: number, message: string) {
    super(message);
    this.name = 'ServiceBusFault';
    this.condition = condition;
    this.status = status;
  }
}

export const entityNotFound = (path: string) =>
  new ServiceBusFault('amqp:not-found', 404, `The messaging entity '${path}' could not be found.`);

export const entityDisabled = (path: string, what: 'Sending to' | 'Receiving from') =>
  new ServiceBusFault('com.microsoft:entity-disabled', 400, `${what} '${path}' is disabled.`);

export const lockLost = () =>
  new ServiceBusFault(
    'com.microsoft:message-lock-lost',
    410,
    'The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue.',
  );

export const messageNotFound = (sequenceNumber: number) =>
  new ServiceBusFault(
    'com.microsoft:message-not-found',
    404,
    `Failed to lock one or more specified messages. The message with sequence number ${sequenceNumber} does not exist.`,
  );

export const messageTooLarge = (bytes: number, bytesMax: number) =>
  new ServiceBusFault(
    'amqp:link:message-size-exceeded',
    403,
    `The received message (size: ${bytes} bytes) exceeds the limit (${bytesMax} bytes) currently allowed on the link.`,
  );

export const quotaExceeded = (path: string, bytesMax: number) =>
  new ServiceBusFault(
    'amqp:resource-limit-exceeded',
    403,
    `The maximum entity size of ${bytesMax} bytes has been reached or exceeded for '${path}'.`,
  );

export const malformed = (message: string) => new ServiceBusFault('amqp:decode-error', 400, message);

export const argumentError = (message: string) => new ServiceBusFault('com.microsoft:argument-error', 400, message);

export const notAllowed = (message: string) => new ServiceBusFault('amqp:not-allowed', 400, message);

export const notImplemented = (message: string) => new ServiceBusFault('amqp:not-implemented', 501, message);

/** What to answer for anything thrown: a fault as it is, a value out of range as such, the rest as our own failure. */
export function asFault(cause: unknown): ServiceBusFault {
  if (cause instanceof ServiceBusFault) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  return cause instanceof RangeError ? argumentError(text) : new ServiceBusFault('amqp:internal-error', 500, text);
}
