import { isUtf8 } from 'node:buffer';
import type { Endpoint, ValidationError } from '../journal/facts.ts';
import { findHostileIn, type Json, type JsonObject } from '../journal/json.ts';
import { customIdLengthMax, lineBytesMax } from '../limits.ts';

const lineFeed = 10;

/** One line of an input file, without its line end. */
export interface InputLine {
  /** 0-based among all lines. */
  index: number;
  /** Offset of its first byte in the file. */
  offset: number;
  /** Offset after its line end: where the next line begins. */
  end: number;
  /** `undefined` for a line longer than `lineBytesMax`: its bytes were dropped, not held. */
  bytes: Buffer | undefined;
}

/**
 * Cuts a byte stream into lines, holding at most one unfinished line. Call `push` for every piece and `finish` once;
 * both hand over complete lines in order. The bytes of a line are valid only during the call.
 */
export class LineSplitter {
  #onLine: (line: InputLine) => void;
  #index = 0;
  #offset = 0;
  #lineStart = 0;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #dropping = false;

  constructor(onLine: (line: InputLine) => void, startOffset = 0, startIndex = 0) {
    this.#onLine = onLine;
    this.#offset = startOffset;
    this.#lineStart = startOffset;
    this.#index = startIndex;
  }

  push(piece: Uint8Array): void {
    const buffer = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
    let from = 0;
    for (;;) {
      const at = buffer.indexOf(lineFeed, from);
      if (at === -1) break;
      this.#emit(buffer.subarray(from, at), this.#offset + at + 1);
      from = at + 1;
    }
    if (from < buffer.length) this.#hold(buffer.subarray(from));
    this.#offset += buffer.length;
  }

  /** The last line may lack its line end. */
  finish(): void {
    if (this.#heldBytes > 0) this.#emit(Buffer.alloc(0), this.#offset);
  }

  #hold(part: Buffer): void {
    this.#heldBytes += part.length;
    if (this.#heldBytes > lineBytesMax + 1) {
      this.#dropping = true;
      this.#held = [];
    }
    // Copied: the reader may reuse its buffer, and a small rest must not keep a large piece alive.
    if (!this.#dropping) this.#held.push(Buffer.from(part));
  }

  #emit(last: Buffer, end: number): void {
    const dropped = this.#dropping || this.#heldBytes + last.length > lineBytesMax + 1;
    const whole = dropped ? undefined : this.#held.length === 0 ? last : Buffer.concat([...this.#held, last]);
    this.#onLine({ index: this.#index, offset: this.#lineStart, end, bytes: whole });
    this.#index += 1;
    this.#lineStart = end;
    this.#held = [];
    this.#heldBytes = 0;
    this.#dropping = false;
  }
}

/** A line that may be run. */
export interface RequestLine {
  customId: string;
  model: string;
  body: JsonObject;
}

/** Why a line may not be run; the caller adds the line number. */
export type LineFault = Omit<ValidationError, 'line'>;

const fault = (code: string, param: string | null, message: string): LineFault => ({ code, param, message });

/** True for a line of nothing but JSON white space. */
export function isBlank(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  return true;
}

/**
 * Parses and checks one line by itself (OPENAI_BATCH.md section 3); what concerns several lines (`custom_id` twice, two
 * models) is the planner's. A trailing CR is JSON white space and so allowed; a byte order mark is not.
 */
export function parseRequestLine(bytes: Buffer | undefined, endpoint: Endpoint): RequestLine | LineFault {
  if (bytes === undefined || bytes.length > lineBytesMax)
    return fault('invalid_request', null, `The line is longer than ${lineBytesMax} bytes.`);
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
    return fault('invalid_json_line', null, 'The file begins with a byte order mark; save it as UTF-8 without one.');
  const text = bytes.toString('utf8');
  // Decoding puts U+FFFD where bytes are no UTF-8; only a text that holds one is looked at again.
  if (text.includes('\ufffd') && !isUtf8(bytes))
    return fault('invalid_json_line', null, 'The line is not valid UTF-8.');
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch {
    return fault('invalid_json_line', null, 'The line is not a JSON object.');
  }
  if (!isObject(value)) return fault('invalid_json_line', null, 'The line is not a JSON object.');
  const hostile = findHostileIn(text, value);
  if (hostile !== undefined) return fault('invalid_request', null, `The line holds ${hostile}.`);
  return checkRequest(value, endpoint);
}

function checkRequest(line: JsonObject, endpoint: Endpoint): RequestLine | LineFault {
  const { custom_id: customId, method, url, body } = line;
  if (typeof customId !== 'string' || customId === '')
    return fault('invalid_request', 'custom_id', 'custom_id must be a string that is not empty.');
  if (customId.length > customIdLengthMax)
    return fault('invalid_request', 'custom_id', `custom_id is longer than ${customIdLengthMax} characters.`);
  if (method !== 'POST') return fault('invalid_request', 'method', 'method must be "POST".');
  if (url !== endpoint) return fault('url_mismatch', 'url', `url must equal the endpoint of the batch, "${endpoint}".`);
  if (!isObject(body)) return fault('invalid_request', 'body', 'body must be an object.');
  const { model, stream } = body;
  if (typeof model !== 'string' || model === '' || model.length > 256)
    return fault('invalid_request', 'body.model', 'body.model must be a string of 1 to 256 characters.');
  if (stream === true) return fault('invalid_request', 'body.stream', 'body.stream must not be true in a batch.');
  return { customId, model, body };
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
