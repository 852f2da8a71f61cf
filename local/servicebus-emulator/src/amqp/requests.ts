import { asFault } from '../fault.ts';
import type { Transfer } from './incoming.ts';
import { type AmqpLink, acceptedState, message as codec, settleDelivery, types } from './rhea.ts';

export interface Request {
  operation: string;
  properties: Record<string, unknown>;
  body: unknown;
}

export interface Reply {
  status: number;
  description: string;
  body?: unknown;
  /** The AMQP error condition of a refusal. */
  condition?: string;
}

/** Finds the link a reply goes to: by the name or the target its receiver gave it. */
export type FindReplyLink = (replyTo: string) => AmqpLink | undefined;

/** `$cbs` and `$management` spell the same fields in two ways. */
export interface ReplyKeys {
  status: string;
  description: string;
  condition: string;
}

/** Answers requests on one link, in the order in which `handle` is done with them. */
export function answerRequests(options: {
  link: AmqpLink;
  findReplyLink: FindReplyLink;
  keys: ReplyKeys;
  /** Calls back with the reply, once what it tells is durable. */
  handle: (request: Request, reply: (reply: Reply) => void) => void;
}): void {
  const { link, findReplyLink, keys, handle } = options;
  link.on('message', ({ message: encoded, delivery }: Transfer) => {
    settleDelivery(delivery, acceptedState());
    let request: Record<string, unknown>;
    try {
      request = codec.decode(encoded);
    } catch {
      return;
    }
    const answer = (reply: Reply) => {
      const replyLink = findReplyLink(String(request.reply_to));
      if (!replyLink?.is_open()) return;
      const properties: Record<string, unknown> = {
        [keys.status]: types.wrap_int(reply.status),
        [keys.description]: reply.description,
      };
      if (reply.condition) properties[keys.condition] = types.wrap_symbol(reply.condition);
      const encodedReply = codec.encode({
        correlation_id: request.message_id,
        application_properties: properties,
        body: reply.body,
      });
      // Without credit rhea keeps the reply until there is some.
      replyLink.send(encodedReply, Buffer.from(String(delivery.id)), 0);
    };
    try {
      const properties = (request.application_properties ?? {}) as Record<string, unknown>;
      handle({ operation: String(properties.operation), properties, body: request.body }, answer);
    } catch (cause) {
      const fault = asFault(cause);
      answer({ status: fault.status, description: fault.message, condition: fault.condition });
    }
  });
}
