import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Refusal } from './refusal.ts';

/** One for all: an error made for each call would cost more than the call. */
const CALLER_LEFT = new Error('the caller has closed the connection');

/** One HTTP request and the means to answer it well, badly, or not at all. */
export class Exchange {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #left = new AbortController();

  constructor(incoming: IncomingMessage, outgoing: ServerResponse) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    outgoing.once('close', () => {
      if (!outgoing.writableFinished) this.#left.abort(CALLER_LEFT);
    });
  }

  /** Aborted when the connection ends before the answer is out. */
  get left(): AbortSignal {
    return this.#left.signal;
  }

  /**
   * The body as text.
   * @throws Refusal 413 beyond `bytesMax`, 400 where it is not UTF-8 or was cut off
   */
  async readText(bytesMax: number): Promise<string> {
    const bytes = await this.#readBytes(bytesMax);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    } catch {
      throw new Refusal(400, { message: 'The body of your request is not valid UTF-8.', code: 'invalid_utf8' });
    }
  }

  #readBytes(bytesMax: number): Promise<Buffer> {
    const incoming = this.#incoming;
    return new Promise((resolve, reject) => {
      const tooLarge = () =>
        new Refusal(413, {
          message: `The body of your request is too large: at most ${bytesMax} bytes are accepted.`,
          code: 'request_too_large',
        });
      let chunks: Buffer[] = [];
      let bytes = 0;
      // What is too much is read and dropped: a caller that is still sending when we hang up would never see the 413.
      incoming.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= bytesMax) chunks.push(chunk);
        else {
          chunks = [];
          reject(tooLarge());
        }
      });
      incoming.once('end', () => resolve(Buffer.concat(chunks)));
      const cutOff = () => {
        if (incoming.complete) return;
        reject(new Refusal(400, { message: 'The body of your request ended early.', code: 'body_cut_off' }));
      };
      incoming.once('close', cutOff);
      incoming.once('error', cutOff);
      if (Number(incoming.headers['content-length']) > bytesMax) reject(tooLarge());
    });
  }

  /** Sends a whole JSON answer. */
  send(status: number, headers: Record<string, string>, body: string): void {
    if (this.left.aborted) return;
    this.#outgoing.writeHead(status, {
      ...headers,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    this.#outgoing.end(body);
  }

  /** Promises the whole body, sends half of it and closes the connection. */
  async sendHalf(headers: Record<string, string>, body: string): Promise<void> {
    const bytes = Buffer.from(body);
    this.#outgoing.writeHead(200, { ...headers, 'content-type': 'application/json', 'content-length': bytes.length });
    await new Promise<void>((resolve) => {
      this.#outgoing.once('close', resolve);
      this.#outgoing.write(bytes.subarray(0, bytes.length >> 1), () => this.#outgoing.destroy());
    });
  }

  /** Sends pieces as fast as the caller takes them; true if all were sent. `length` absent: chunked. */
  async sendPieces(
    headers: Record<string, string>,
    pieces: Iterable<Buffer> | AsyncIterable<Buffer>,
    length?: number,
  ): Promise<boolean> {
    this.#outgoing.writeHead(200, {
      ...headers,
      'content-type': 'application/json',
      ...(length === undefined ? {} : { 'content-length': length }),
    });
    try {
      await pipeline(Readable.from(pieces, { objectMode: false }), this.#outgoing);
      return true;
    } catch {
      return false;
    }
  }

  /** Closes the connection without a word: the caller sees a reset. */
  reset(): void {
    this.#incoming.socket.resetAndDestroy();
  }

  /** Waits until the caller gives up. */
  async outlast(): Promise<void> {
    if (this.left.aborted) return;
    await new Promise<void>((resolve) => this.left.addEventListener('abort', () => resolve(), { once: true }));
  }
}
