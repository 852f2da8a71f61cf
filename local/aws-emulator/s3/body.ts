import { createHash, type Hash, randomUUID } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { S3Error } from './error.ts';

/** Bodies up to this size live in the database, larger ones in files of their own. */
export const INLINE_BYTES_MAX = 64 * 1024;

/** A body that arrived whole: small ones in memory, large ones in a file that nothing refers to yet. */
export interface ReceivedBody {
  bytes: number;
  /** Lower-case hex. */
  md5: string;
  inline?: Uint8Array;
  file?: string;
}

/**
 * Reads a request's body, of any size, in bounded memory.
 * @throws S3Error `IncompleteBody` where it ends early; whatever the socket says where it breaks
 */
export async function receiveBody(request: IncomingMessage, directory: string): Promise<ReceivedBody> {
  const sink = new BodySink(directory);
  try {
    for await (const chunk of isAwsChunked(request) ? unchunked(request) : request) await sink.write(chunk);
    const expected = Number(request.headers['x-amz-decoded-content-length'] ?? request.headers['content-length'] ?? 0);
    if (sink.bytes !== expected && request.headers['transfer-encoding'] === undefined) throw incomplete();
    return await sink.end();
  } catch (error) {
    await sink.discard();
    throw error;
  }
}

/** Reads a request's body as text, at most 8 MiB (10,000 parts of a completion fit). */
export async function receiveText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > 8 * 1024 * 1024) throw new S3Error(400, 'MaxMessageLengthExceeded', 'Your request was too big.');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Keeps what is written in memory up to `INLINE_BYTES_MAX`, and in a file from there on. */
class BodySink {
  bytes = 0;
  readonly #directory: string;
  readonly #hash: Hash = createHash('md5');
  #held: Uint8Array[] = [];
  #file?: { path: string; handle: Awaited<ReturnType<typeof open>> };

  constructor(directory: string) {
    this.#directory = directory;
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk);
    this.bytes += chunk.byteLength;
    this.#held.push(chunk);
    if (this.#file === undefined && this.bytes <= INLINE_BYTES_MAX) return;
    if (this.#file === undefined) {
      const path = join(this.#directory, randomUUID());
      this.#file = { path, handle: await open(path, 'wx') };
    }
    const held = this.#held;
    this.#held = [];
    for (const each of held) await this.#file.handle.writeFile(each);
  }

  async end(): Promise<ReceivedBody> {
    const md5 = this.#hash.digest('hex');
    if (this.#file === undefined) return { bytes: this.bytes, md5, inline: Buffer.concat(this.#held) };
    await this.#file.handle.close();
    return { bytes: this.bytes, md5, file: this.#file.path };
  }

  async discard(): Promise<void> {
    if (this.#file === undefined) return;
    await this.#file.handle.close();
    await rm(this.#file.path, { force: true });
  }
}

function isAwsChunked(request: IncomingMessage): boolean {
  return String(request.headers['x-amz-content-sha256'] ?? '').startsWith('STREAMING-');
}

/**
 * Takes the frames off a body that a client signed piece by piece: `<hex length>[;chunk-signature=…]\r\n<bytes>\r\n`,
 * ended by a frame of length 0 and trailers.
 * @source https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html (2026-11)
 */
async function* unchunked(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let pending: Buffer = Buffer.alloc(0);
  let left = 0;
  let ended = false;
  for await (const chunk of source) {
    // What follows the last frame are trailers, which hold checksums only.
    if (ended) continue;
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    for (;;) {
      if (left > 0) {
        const piece = pending.subarray(0, left);
        if (piece.length === 0) break;
        yield piece;
        left -= piece.length;
        pending = pending.subarray(piece.length);
        if (left > 0) break;
      }
      // The line break that ends the last frame stands before the length of the next.
      const start = pending[0] === 0x0d && pending[1] === 0x0a ? 2 : 0;
      const lineEnd = pending.indexOf('\r\n', start);
      if (lineEnd === -1) break;
      left = Number.parseInt(pending.subarray(start, lineEnd).toString('latin1'), 16);
      if (Number.isNaN(left)) throw new S3Error(400, 'InvalidRequest', 'A chunk has no length');
      pending = pending.subarray(lineEnd + 2);
      if (left === 0) {
        ended = true;
        break;
      }
    }
  }
  if (!ended) throw incomplete();
}

const incomplete = () =>
  new S3Error(400, 'IncompleteBody', 'You did not provide the number of bytes specified by the Content-Length header');
