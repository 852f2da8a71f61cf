import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What an implementation cannot be asked, each with the reason that the skipped test shows. */
export type Gaps<Name extends string> = Partial<Record<Name, string>>;

/** A hand on what lies between an implementation and its service. `lossy-proxy.ts` gives one for services over HTTP. */
export interface Network {
  /**
   * The next request that makes a write visible (a put, or the completion of an upload in parts) is carried out, and
   * its reply is lost.
   */
  loseNextWriteReply(): void;
  /** While on: every request is carried out and every reply is lost, those of reads too. */
  loseReplies(on: boolean): void;
  /** While on: nothing reaches the service, connections are refused. */
  refuse(on: boolean): void | Promise<void>;
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** `length` bytes of one endless pattern, from `offset`: equal positions hold equal bytes, whatever the cut. */
export function patternBytes(offset: number, length: number): Uint8Array {
  const out = new Uint8Array(length);
  const period = PATTERN.byteLength;
  for (let done = 0; done < length; ) {
    const from = (offset + done) % period;
    const piece = PATTERN.subarray(from, Math.min(period, from + length - done));
    out.set(piece, done);
    done += piece.byteLength;
  }
  return out;
}

// A prime period, so that no part or page boundary repeats the pattern.
const PATTERN = Uint8Array.from({ length: 65_521 }, (_, i) => (i * 31 + (i >> 8)) % 256);

export async function readAll(body: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

/** The error that a promise rejects with; throws where it resolves. */
export async function rejectionOf(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
  if ('error' in outcome) return outcome.error as Error;
  throw new Error(`resolved with ${JSON.stringify(outcome.value)} where a rejection was expected`);
}

/** Bytes in array buffers that are still reachable: collects garbage first, so that only what is held counts. */
export function liveBufferBytes(): number {
  setFlagsFromString('--expose_gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  // The first only hands dead buffers to another thread; the second waits for it.
  gc();
  return process.memoryUsage().arrayBuffers;
}
