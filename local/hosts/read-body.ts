import type { IncomingMessage } from 'node:http';

/** What a refused sender may still send before it is cut off, so that it reads the refusal and no broken connection. */
const DRAIN_BYTES_MAX = 256 * 1024 * 1024;

/**
 * Reads a request's body, up to `bytesMax`. Beyond that the rest is thrown away while the caller answers.
 * @returns `cut` when the sender went away
 */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer | 'tooLarge' | 'cut'> {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) {
    drain(request);
    return 'tooLarge';
  }
  const parts: Buffer[] = [];
  let bytes = 0;
  return new Promise((resolve) => {
    request.on('data', (part: Buffer) => {
      bytes += part.length;
      if (bytes > bytesMax) {
        request.removeAllListeners('data');
        drain(request);
        resolve('tooLarge');
      } else parts.push(part);
    });
    request.once('end', () => resolve(Buffer.concat(parts)));
    request.once('close', () => resolve('cut'));
    request.on('error', () => resolve('cut'));
  });
}

/** Throws away what still comes. */
export function drain(request: IncomingMessage): void {
  let bytes = 0;
  request.on('error', () => {});
  request.on('data', (part: Buffer) => {
    bytes += part.length;
    if (bytes > DRAIN_BYTES_MAX) request.destroy();
  });
}
