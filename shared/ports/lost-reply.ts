/**
 * What to do when the reply to a conditional write is lost (DESIGN.md section 4): read the object back and compare.
 * Every implementation of `ObjectStore` resolves through these functions, so that all conclude alike.
 *
 * The answer `undefined` says that the write has left no trace so far. It may still be on its way: as it is
 * conditional, it can be sent again without harm, and its reply then decides.
 */
import { createHash } from 'node:crypto';
import { isRetryable, OutcomeUnknownError } from '../errors.ts';
import type { CallOptions, ETag, ObjectStore, PutResult, ReplaceResult } from './object-store.ts';

/** How often a conditional write whose reply was lost is sent, the first time included. */
export const LOST_WRITE_ATTEMPTS_MAX = 3;

/**
 * The outcome of a `putIfAbsent` whose reply was lost: equal bytes mean that it is ours.
 *
 * @throws OutcomeUnknownError where the object cannot be read back
 */
export async function resolveLostCreate(
  store: Pick<ObjectStore, 'name' | 'get'>,
  key: string,
  body: Uint8Array,
  cause: unknown,
  options: CallOptions = {},
): Promise<PutResult | undefined> {
  const found = await readBack(store.name, key, cause, () => store.get(key, options));
  if (found === undefined) return undefined;
  return equalBytes(found.bytes, body) ? { status: 'created', etag: found.etag } : { status: 'exists' };
}

/**
 * The outcome of a `putIfMatch` whose reply was lost. Bytes that are neither ours nor those we wanted to replace are
 * `stale`: whoever put them there may have read ours first, which the caller learns by reading again, as it must after
 * any `stale`.
 *
 * @throws OutcomeUnknownError where the object cannot be read back
 */
export async function resolveLostReplace(
  store: Pick<ObjectStore, 'name' | 'get'>,
  key: string,
  body: Uint8Array,
  etag: ETag,
  cause: unknown,
  options: CallOptions = {},
): Promise<ReplaceResult | undefined> {
  const found = await readBack(store.name, key, cause, () => store.get(key, options));
  if (found === undefined) return { status: 'stale' };
  if (equalBytes(found.bytes, body)) return { status: 'replaced', etag: found.etag };
  return found.etag === etag ? undefined : { status: 'stale' };
}

/**
 * The outcome of a `putStreamIfAbsent` whose last reply was lost: equal length and SHA-256 mean that it is ours.
 * Reads the object only where the length is equal.
 *
 * @param sent length and SHA-256 (hex) of the stream that was sent
 * @throws OutcomeUnknownError where the object cannot be read back
 */
export async function resolveLostStreamCreate(
  store: Pick<ObjectStore, 'name' | 'getStream'>,
  key: string,
  sent: { bytes: number; sha256: string },
  cause: unknown,
  options: CallOptions = {},
): Promise<PutResult | undefined> {
  return await readBack(store.name, key, cause, async () => {
    const found = await store.getStream(key, options);
    if (found === undefined) return undefined;
    if (found.bytes !== sent.bytes) return { status: 'exists' };
    const hash = createHash('sha256');
    for await (const chunk of found.body) hash.update(chunk);
    return hash.digest('hex') === sent.sha256 ? { status: 'created', etag: found.etag } : { status: 'exists' };
  });
}

/**
 * Sends a conditional write until its reply arrives or the object tells the outcome, at most
 * `LOST_WRITE_ATTEMPTS_MAX` times.
 *
 * @param write one attempt, not retried inside; rejects with an `OutcomeUnknownError` where its reply was lost, with
 *   any other error where it was surely not applied
 * @param resolve `resolveLostCreate` or `resolveLostReplace` of what was written
 * @throws OutcomeUnknownError where no attempt left a trace, or where nothing could be read back
 */
export async function writeUntilKnown<Result extends PutResult | ReplaceResult>(
  write: () => Promise<Result>,
  resolve: (cause: OutcomeUnknownError) => Promise<Result | undefined>,
): Promise<Result> {
  let lost: OutcomeUnknownError | undefined;
  for (let attempt = 1; attempt <= LOST_WRITE_ATTEMPTS_MAX; attempt++) {
    let refusal: Result | undefined;
    try {
      const result = await write();
      // Once a reply was lost, what refuses us may be our own earlier attempt.
      if (lost === undefined || (result.status !== 'exists' && result.status !== 'stale')) return result;
      refusal = result;
    } catch (error) {
      if (isOutcomeUnknown(error)) lost = error;
      // Once a reply was lost, not even a refused connection proves that nothing happened.
      else if (lost === undefined || !isRetryable(error)) throw error;
    }
    const known = (await resolve(lost)) ?? refusal;
    if (known !== undefined) return known;
  }
  throw lost;
}

async function readBack<T>(
  where: string,
  key: string,
  cause: unknown,
  read: () => Promise<T | undefined>,
): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!isRetryable(error)) throw error;
    throw new OutcomeUnknownError('write_outcome_unknown', `${where}: no reply to writing ${key}, nor to reading it`, {
      cause: new AggregateError([cause, error]),
    });
  }
}

function isOutcomeUnknown(error: unknown): error is OutcomeUnknownError {
  return error instanceof Error && error.name === 'OutcomeUnknownError';
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}
