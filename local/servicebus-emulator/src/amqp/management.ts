import type { Typed } from 'rhea';
import type { Address, Broker } from '../broker.ts';
import { readSubmission } from '../content.ts';
import { argumentError, lockLost, messageTooLarge, notImplemented } from '../fault.ts';
import { MESSAGE_BYTES_MAX, PEEK_MESSAGES_MAX } from '../limits.ts';
import type { PropertyChanges } from '../queue.ts';
import { lockOf } from '../sub-queue.ts';
import { lockTokenBytes, lockTokenOf } from './lock-token.ts';
import { encodeForReceiver } from './outgoing.ts';
import type { Reply, Request } from './requests.ts';
import { types } from './rhea.ts';

/** Bodies of a peek reply, together. The first message is always returned. */
const PEEK_BYTES_MAX = 1_024 * 1_024;

type Body = Record<string, unknown>;
type Operation = (broker: Broker, address: Address, body: Body) => unknown;

/**
 * The operations of `<queue>/$management`; each returns the body of its reply.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response 2026-11
 */
const operations: Record<string, Operation> = {
  'com.microsoft:schedule-message': (broker, { queue }, body) => {
    const submissions = listOf(body, 'messages').map((entry) => {
      const encoded = (entry as Body)?.message;
      if (!Buffer.isBuffer(encoded)) throw argumentError("'message' must be binary.");
      if (encoded.length > MESSAGE_BYTES_MAX) throw messageTooLarge(encoded.length, MESSAGE_BYTES_MAX);
      return readSubmission(encoded);
    });
    return { 'sequence-numbers': arrayOf(queue.enqueue(submissions, broker.clock()), types.wrap_long(2 ** 40)) };
  },

  'com.microsoft:cancel-scheduled-message': (_broker, { queue }, body) => {
    queue.cancelScheduled(sequenceNumbersOf(body));
  },

  'com.microsoft:peek-message': (_broker, { sub }, body) => {
    const from = numberOf(body['from-sequence-number'], 'from-sequence-number');
    const count = Math.min(numberOf(body['message-count'], 'message-count'), PEEK_MESSAGES_MAX);
    const messages: Body[] = [];
    let bytes = 0;
    for (const message of sub.from(from)) {
      if (messages.length >= count) break;
      const encoded = encodeForReceiver(message, body['omit-message-body'] !== true);
      bytes += encoded.length;
      if (messages.length > 0 && bytes > PEEK_BYTES_MAX) break;
      messages.push({ message: encoded });
    }
    return messages.length > 0 ? { messages } : undefined;
  },

  'com.microsoft:renew-lock': (broker, { queue, sub }, body) => {
    const now = broker.clock();
    const expirations = lockTokensOf(body).map((token) => queue.renewLock(sub, token, now));
    return { expirations: arrayOf(expirations, types.wrap_timestamp(0)) };
  },

  'com.microsoft:receive-by-sequence-number': (broker, { queue, sub }, body) => {
    const isPeekLock = body['receiver-settle-mode'] !== 0;
    const messages = queue.receiveDeferred(sub, sequenceNumbersOf(body), isPeekLock, broker.clock());
    return {
      messages: messages.map((message) => {
        const entry: Body = { message: encodeForReceiver(message) };
        const lock = lockOf(message);
        if (lock) entry['lock-token'] = types.wrap_uuid(lockTokenBytes(lock.token));
        return entry;
      }),
    };
  },

  'com.microsoft:update-disposition': (broker, { queue, sub }, body) => {
    const now = broker.clock();
    const tokens = lockTokensOf(body);
    // All or none: a lost lock must not leave half of them settled.
    if (tokens.some((token) => !sub.byLockToken(token))) throw lockLost();
    const changes = changesOf(body['properties-to-modify']);
    for (const token of tokens) {
      switch (body['disposition-status']) {
        case 'completed':
          queue.complete(sub, token, now);
          break;
        case 'abandoned':
          queue.abandon(sub, token, changes, now);
          break;
        case 'defered':
          queue.defer(sub, token, changes, now);
          break;
        case 'suspended':
          queue.deadLetter(sub, token, { ...changes, ...deadLetterReasonOf(body) }, now);
          break;
        default:
          throw argumentError(`'${body['disposition-status']}' is not a disposition status.`);
      }
    }
  },
};

/** @throws ServiceBusFault */
export function handleManagement(options: {
  broker: Broker;
  /** Of the queue or its dead-letter queue. */
  path: string;
  request: Request;
  reply: (reply: Reply) => void;
}): void {
  const { broker, path, request, reply } = options;
  const operation = Object.hasOwn(operations, request.operation) ? operations[request.operation] : undefined;
  if (!operation) throw notImplemented(`The operation '${request.operation}' is not supported.`);
  const isMap = typeof request.body === 'object' && request.body !== null;
  const body = operation(broker, broker.resolve(path), (isMap ? request.body : {}) as Body);
  broker.rearm();
  const nothingFound = body === undefined && request.operation === 'com.microsoft:peek-message';
  broker.store.whenDurable(() =>
    reply(nothingFound ? { status: 204, description: 'No content' } : { status: 200, description: 'OK', body }),
  );
}

/** An AMQP array, of the type that `sample` has. */
const arrayOf = (values: unknown[], sample: Typed): Typed => types.wrap_array(values, sample.type.typecode, undefined);

function listOf(body: Body, key: string): unknown[] {
  const list = body[key];
  if (!Array.isArray(list)) throw argumentError(`'${key}' must be a list.`);
  return list;
}

const sequenceNumbersOf = (body: Body): number[] =>
  listOf(body, 'sequence-numbers').map((value) => numberOf(value, 'sequence-numbers'));

/** rhea leaves a long beyond 2^53 as its bytes; no sequence number of ours is that large. */
function numberOf(value: unknown, key: string): number {
  if (typeof value === 'number') return value;
  if (Buffer.isBuffer(value) && value.length === 8) return Number(value.readBigInt64BE());
  throw argumentError(`'${key}' must be a number.`);
}

const lockTokensOf = (body: Body): string[] =>
  listOf(body, 'lock-tokens').map((value) => {
    if (!Buffer.isBuffer(value) || value.length !== 16) throw argumentError("'lock-tokens' must hold UUIDs.");
    return lockTokenOf(value);
  });

function changesOf(value: unknown): PropertyChanges {
  const changes: PropertyChanges = {};
  for (const [key, entry] of Object.entries(value ?? {})) if (entry !== null) changes[key] = types.wrap(entry);
  return changes;
}

function deadLetterReasonOf(body: Body): PropertyChanges {
  return changesOf({
    DeadLetterReason: body['deadletter-reason'] ?? null,
    DeadLetterErrorDescription: body['deadletter-description'] ?? null,
  });
}
