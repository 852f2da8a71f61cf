import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import { jsonDepthMax, jsonNodesMax } from '../limits.ts';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Why a text is not taken. `torn`: not JSON (cut off, or never was); `hostile`: JSON built to hurt; `oversized`. */
export type JsonFault = { fault: 'oversized' | 'torn' | 'hostile'; detail: string };

/** Bounds of one text. Defaults: depth 64, 200,000 nodes. */
export interface JsonBounds {
  bytesMax: number;
  depthMax?: number;
  nodesMax?: number;
}

/**
 * Parses JSON that somebody else wrote: size first, then UTF-8, then syntax, then a walk that never goes deeper than
 * allowed (JSON.parse itself takes any depth; what comes after it would overflow the stack). A large text is scanned
 * for depth and count before it is parsed, since one byte of it can become a hundred in memory.
 * `__proto__` as a key is refused: it is data in JSON.parse's result but poison to every merge after it.
 */
export function parseBoundedJson(bytes: Uint8Array, bounds: JsonBounds): { value: Json } | JsonFault {
  if (bytes.byteLength > bounds.bytesMax)
    return { fault: 'oversized', detail: `${bytes.byteLength} bytes, at most ${bounds.bytesMax} are taken` };
  if (!isUtf8(bytes)) return { fault: 'torn', detail: 'not valid UTF-8' };
  const { depthMax = jsonDepthMax, nodesMax = jsonNodesMax } = bounds;
  const bomb = bytes.byteLength > scanFromBytes ? scanForBomb(bytes, depthMax, nodesMax) : undefined;
  if (bomb !== undefined) return { fault: 'hostile', detail: bomb };
  const text = utf8(bytes);
  let value: Json;
  try {
    value = JSON.parse(text) as Json;
  } catch (error) {
    return { fault: 'torn', detail: (error as Error).message.slice(0, 200) };
  }
  const fault = findHostileIn(text, value, depthMax, nodesMax);
  return fault === undefined ? { value } : { fault: 'hostile', detail: fault };
}

/** Smaller texts are parsed at once: whatever they hold takes little room. */
const scanFromBytes = 64 * 1024;
const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openBracket, closeBracket, openBrace, closeBrace] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Finds in text what `findHostile` would find in its value, without making the value; refuses nothing else. */
function scanForBomb(bytes: Uint8Array, depthMax: number, nodesMax: number): string | undefined {
  let depth = 0;
  let commas = 0;
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i];
    if (byte === quote) i = endOfString(bytes, i);
    else if (byte === openBracket || byte === openBrace) {
      if (++depth > depthMax) return `nested deeper than ${depthMax}`;
    } else if (byte === closeBracket || byte === closeBrace) depth -= 1;
    else if (byte === comma && ++commas > nodesMax) return `more than ${nodesMax} keys and items`;
  }
  return undefined;
}

/** Index of the quote that ends the string which begins at `start`; the last index if none does. */
function endOfString(bytes: Uint8Array, start: number): number {
  for (let end = bytes.indexOf(quote, start + 1); end !== -1; end = bytes.indexOf(quote, end + 1)) {
    let slashes = 0;
    while (bytes[end - 1 - slashes] === backslash) slashes += 1;
    if (slashes % 2 === 0) return end;
  }
  return bytes.byteLength - 1;
}

/** What is wrong with an already parsed value: too deep, too many nodes, `__proto__`; `undefined` if nothing. */
export function findHostile(value: Json, depthMax = jsonDepthMax, nodesMax = jsonNodesMax): string | undefined {
  const left = countDown(value, depthMax, nodesMax);
  if (left >= 0) return undefined;
  if (left === tooDeep) return `nested deeper than ${depthMax}`;
  return left === hasProto ? 'a key named __proto__' : `more than ${nodesMax} keys and items`;
}

/** As `findHostile` for a value and the text that it was parsed from: most texts show that they need no walk. */
export function findHostileIn(
  text: string,
  value: Json,
  depthMax = jsonDepthMax,
  nodesMax = jsonNodesMax,
): string | undefined {
  return isHarmless(text, depthMax, nodesMax) ? undefined : findHostile(value, depthMax, nodesMax);
}

/**
 * True if text alone shows that nothing in its value is hostile: a key or item takes a character at least, each level
 * an opening bracket, and `__proto__` stands in it as it is or escaped. False says nothing. Searching for four short
 * strings costs a small part of a walk over all keys, and facts are read far more often than written.
 */
function isHarmless(text: string, depthMax: number, nodesMax: number): boolean {
  if (text.length > nodesMax || text.includes('__proto__') || text.includes('\\u')) return false;
  let levels = 0;
  for (const bracket of ['{', '['])
    for (let at = text.indexOf(bracket); at !== -1; at = text.indexOf(bracket, at + 1))
      if (++levels > depthMax) return false;
  return true;
}

const tooMany = -1;
const tooDeep = -2;
const hasProto = -3;

/**
 * Nodes that are still allowed after `node`, or one of the negative answers above. Plain recursion without closures,
 * since it runs over every line that is planned; it never goes deeper than `depth`.
 */
function countDown(node: Json, depth: number, nodes: number): number {
  if (typeof node !== 'object' || node === null) return nodes;
  if (depth === 0) return tooDeep;
  let left = nodes;
  if (Array.isArray(node)) {
    left -= node.length;
    if (left < 0) return tooMany;
    for (let i = 0; i < node.length; i++) {
      const item = node[i]!;
      if (typeof item !== 'object' || item === null) continue;
      left = countDown(item, depth - 1, left);
      if (left < 0) return left;
    }
    return left;
  }
  for (const key in node) {
    if (--left < 0) return tooMany;
    if (key === '__proto__') return hasProto;
    const item = node[key]!;
    if (typeof item !== 'object' || item === null) continue;
    left = countDown(item, depth - 1, left);
    if (left < 0) return left;
  }
  return left;
}

/** Keys sorted by UTF-16 code units, no white space, absent where `undefined`: the same value gives the same bytes. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(sorted(value));
}

function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sorted);
  const from = value as Record<string, unknown>;
  // A plain object: one without a prototype is kept as a table and costs twice as much to write.
  const to: Record<string, unknown> = {};
  for (const key of Object.keys(from).sort()) {
    const item = from[key];
    if (item === undefined) continue;
    if (key === '__proto__') Object.defineProperty(to, key, { value: sorted(item), enumerable: true });
    else to[key] = sorted(item);
  }
  return to;
}

/** `canonicalJson` in UTF-8: how every fact is written. */
export function canonicalBytes(value: unknown): Uint8Array {
  return Buffer.from(canonicalJson(value), 'utf8');
}

/** SHA-256, 64 lower-case hex digits. */
export function sha256(data: Uint8Array | string): string {
  return hash('sha256', data, 'hex');
}

/** UTF-8 text of bytes that are known to be UTF-8. */
export function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** Equal length and equal bytes. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
