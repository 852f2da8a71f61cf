import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { SiteUnavailableError } from '../errors.ts';

/** Plain bytes in one sealed frame, at most. */
const frameBytes = 1024 * 1024;
const ivBytes = 12;
const tagBytes = 16;
const headBytes = 4 + ivBytes + tagBytes;

/**
 * Encrypts a stream for the witness, which stands on neither cloud and must not be able to read it: frames of at most
 * 1 MiB, each AES-256-GCM under its own random nonce, bound to its place and to `name`, so that frames can be neither
 * read, changed, reordered nor taken from another file. A last, empty frame marks the end.
 */
export async function* seal(
  key: Uint8Array,
  name: string,
  plain: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let index = 0;
  for await (const piece of plain)
    for (let from = 0; from < piece.byteLength; from += frameBytes)
      yield sealFrame(key, name, index++, piece.subarray(from, from + frameBytes));
  yield sealFrame(key, name, index, new Uint8Array());
}

function sealFrame(key: Uint8Array, name: string, index: number, plain: Uint8Array): Uint8Array {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  cipher.setAAD(Buffer.from(`${name}\n${index}\n${plain.byteLength === 0 ? 'end' : 'more'}`));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, iv, cipher.getAuthTag(), body]);
}

/**
 * The inverse of `seal`.
 * @throws SiteUnavailableError `seal_broken` for a wrong key, a changed, reordered or cut-off stream
 */
export async function* unseal(
  key: Uint8Array,
  name: string,
  sealed: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  let held = Buffer.alloc(0);
  let index = 0;
  let ended = false;
  for await (const piece of sealed) {
    held = Buffer.concat([held, piece]);
    while (held.length >= headBytes && held.length >= headBytes + held.readUInt32BE(0)) {
      const length = held.readUInt32BE(0);
      if (ended || length > frameBytes) throw broken(name);
      const plain = openFrame(key, name, index++, held.subarray(4, headBytes + length), length);
      held = held.subarray(headBytes + length);
      if (length === 0) ended = true;
      else yield plain;
    }
  }
  if (!ended || held.length > 0) throw broken(name);
}

function openFrame(key: Uint8Array, name: string, index: number, frame: Buffer, length: number): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, frame.subarray(0, ivBytes));
  decipher.setAAD(Buffer.from(`${name}\n${index}\n${length === 0 ? 'end' : 'more'}`));
  decipher.setAuthTag(frame.subarray(ivBytes, ivBytes + tagBytes));
  try {
    return Buffer.concat([decipher.update(frame.subarray(ivBytes + tagBytes)), decipher.final()]);
  } catch (cause) {
    throw broken(name, cause);
  }
}

const broken = (name: string, cause?: unknown) =>
  new SiteUnavailableError('seal_broken', `sealed content of ${name} cannot be opened`, 'witness', { cause });
