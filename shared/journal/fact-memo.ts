import type * as z from 'zod';
import { factBytesMax } from '../limits.ts';
import { type FactFault, parseFact } from './facts.ts';

/** Bytes of text that one memo holds at most. */
const keptBytesMax = 4 * 1024 * 1024;

/**
 * `parseFact` for what is read again and again, tick after tick and from three stores, and seldom changes: the same bytes
 * are parsed once. Comparing bytes costs a small part of parsing them. What it gives is frozen, since all share it; the
 * oldest is forgotten when there is too much. What does not parse is not kept.
 */
export class FactMemo<S extends z.ZodType> {
  readonly #schema: S;
  readonly #bytesMax: number;
  /** By the bytes, one character each. */
  readonly #known = new Map<string, { fact: z.infer<S> }>();
  #bytes = 0;

  /** @param bytesMax of one fact; default 16 MiB */
  constructor(schema: S, bytesMax: number = factBytesMax) {
    this.#schema = schema;
    this.#bytesMax = bytesMax;
  }

  /** As `parseFact`. Never throws. */
  parse(bytes: Uint8Array): { fact: z.infer<S> } | FactFault {
    // Never worth its room, and as a key dearer than its worth.
    if (bytes.byteLength > keptBytesMax / 8) return parseFact(this.#schema, bytes, this.#bytesMax);
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    const parsed = parseFact(this.#schema, bytes, this.#bytesMax);
    if ('fault' in parsed) return parsed;
    freeze(parsed.fact);
    this.#known.set(text, parsed);
    this.#bytes += text.length;
    for (const oldest of this.#known.keys()) {
      if (this.#bytes <= keptBytesMax) break;
      this.#known.delete(oldest);
      this.#bytes -= oldest.length;
    }
    return parsed;
  }
}

/** As deep as JSON goes; what was parsed is bounded in depth. */
function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const one of Object.values(value)) freeze(one);
  Object.freeze(value);
}
