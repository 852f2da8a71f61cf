import { createHash } from 'node:crypto';
import { SiteUnavailableError } from '../../shared/errors.ts';
import {
  resolveLostCreate,
  resolveLostReplace,
  resolveLostStreamCreate,
  writeUntilKnown,
} from '../../shared/ports/lost-reply.ts';
import type { StateStore } from '../../shared/ports/object-store.ts';
import type { Queue } from '../../shared/ports/queue.ts';
import type { Faults } from './faults.ts';
import type { StoreOp } from './object-store.ts';
import type { QueueOp } from './queue.ts';

/**
 * A store with faults between it and its caller, who sees what a real adapter would let through: lost replies of
 * writes are read back (under the same faults); a read whose reply is lost finds the store unavailable.
 */
export function faultyStore(inner: StateStore, faults: Faults<StoreOp>): StateStore {
  const { name } = inner;
  const read = <T>(op: StoreOp, key: string, call: () => Promise<T>, signal?: AbortSignal) =>
    faults.apply(name, op, key, call, signal).catch(noReply(name));
  const store: StateStore = {
    name,
    putIfAbsent(key, body, options = {}) {
      const put = () => inner.putIfAbsent(key, body, options);
      return writeUntilKnown(
        () => faults.apply(name, 'putIfAbsent', key, put, options.signal),
        (cause) => resolveLostCreate(store, key, body, cause, options),
      );
    },
    async putStreamIfAbsent(key, body, options = {}) {
      const sent = { bytes: 0, sha256: '' };
      const hash = createHash('sha256');
      const put = () => inner.putStreamIfAbsent(key, counted(), options);
      async function* counted() {
        for await (const chunk of body) {
          sent.bytes += chunk.byteLength;
          hash.update(chunk);
          yield chunk;
        }
      }
      try {
        return await faults.apply(name, 'putStreamIfAbsent', key, put, options.signal);
      } catch (error) {
        if ((error as Error).name !== 'OutcomeUnknownError') throw error;
        sent.sha256 = hash.digest('hex');
        const known = await resolveLostStreamCreate(store, key, sent, error, options);
        if (known === undefined) throw error;
        return known;
      }
    },
    putIfMatch(key, body, etag, options = {}) {
      const put = () => inner.putIfMatch(key, body, etag, options);
      return writeUntilKnown(
        () => faults.apply(name, 'putIfMatch', key, put, options.signal),
        (cause) => resolveLostReplace(store, key, body, etag, cause, options),
      );
    },
    get: (key, options) => read('get', key, () => inner.get(key, options), options?.signal),
    getStream: (key, options) => read('getStream', key, () => inner.getStream(key, options), options?.signal),
    head: (key, options) => read('head', key, () => inner.head(key, options), options?.signal),
    list: (prefix, options) => read('list', prefix, () => inner.list(prefix, options), options?.signal),
    delete: (key, options) => read('delete', key, () => inner.delete(key, options), options?.signal),
  };
  return store;
}

/** A queue with faults between it and its caller. */
export function faultyQueue(inner: Queue, faults: Faults<QueueOp>): Queue {
  const { name } = inner;
  const under = <T>(op: QueueOp, id: string, call: () => Promise<T>, signal?: AbortSignal) =>
    faults.apply(name, op, id, call, signal).catch(noReply(name));
  return {
    name,
    send: (messages, options) =>
      under('send', messages[0]?.id ?? '', () => inner.send(messages, options), options?.signal),
    receive: (options) => under('receive', '', () => inner.receive(options), options?.signal),
    complete: (message, options) =>
      under('complete', message.id, () => inner.complete(message, options), options?.signal),
    giveBack: (message, delayMs, options) =>
      under('giveBack', message.id, () => inner.giveBack(message, delayMs, options), options?.signal),
    deadLetter: (message, reason, description, options) =>
      under('deadLetter', message.id, () => inner.deadLetter(message, reason, description, options), options?.signal),
    extend: (message, leaseMs, options) =>
      under('extend', message.id, () => inner.extend(message, leaseMs, options), options?.signal),
    depth: (options) => under('depth', '', () => inner.depth(options), options?.signal),
    close: () => inner.close(),
  };
}

/** What does no harm when it is asked again has no unknown outcome: without a reply its service is unavailable. */
function noReply(where: string): (error: unknown) => never {
  return (error) => {
    if ((error as Error).name !== 'OutcomeUnknownError') throw error;
    throw new SiteUnavailableError('connection_lost', (error as Error).message, where, { cause: error });
  };
}
