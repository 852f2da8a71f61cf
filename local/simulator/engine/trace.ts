import type { EpochMs } from '../../../shared/units.ts';

/** Taken once: within jest each look at a global leaves the sandbox, and this is called twice for each character. */
const { imul } = Math;

/** What happened, as a hash over everything and the last lines in words. Equal seeds give equal hashes. */
export class Trace {
  #a = 0xdeadbeef | 0;
  #b = 0x41c6ce57 | 0;
  #lines = 0;
  readonly #kept: string[] = [];
  readonly #keep: number;
  readonly #start: EpochMs;
  /** Told of every line as it is written. */
  onLine: ((line: string) => void) | undefined;

  /** @param keep lines kept for whoever wants to read, the last ones; default 0 */
  constructor(start: EpochMs, keep = 0) {
    this.#start = start;
    this.#keep = keep;
  }

  get lines(): number {
    return this.#lines;
  }

  get kept(): readonly string[] {
    return this.#kept.slice(-this.#keep);
  }

  /** 16 hex digits over all lines so far. @source https://github.com/bryc/code/blob/master/jshash/experimental/cyrb53.js 2026-11 */
  get hash(): string {
    const hex = (value: number) => (value >>> 0).toString(16).padStart(8, '0');
    const a = imul(this.#a ^ (this.#a >>> 16), 2246822507) ^ imul(this.#b ^ (this.#b >>> 13), 3266489909);
    const b = imul(this.#b ^ (this.#b >>> 16), 2246822507) ^ imul(this.#a ^ (this.#a >>> 13), 3266489909);
    return hex(a) + hex(b);
  }

  /** @param at moment of the line, exact */
  write(at: EpochMs, line: string): void {
    this.#lines += 1;
    const ms = at - this.#start;
    let [a, b] = [this.#a, this.#b];
    for (let i = -1; i < line.length; i++) {
      const value = i < 0 ? Math.round(ms * 1000) | 0 : line.charCodeAt(i);
      a = imul(a ^ value, 2654435761);
      b = imul(b ^ value, 1597334677);
      a ^= b >>> 15;
    }
    this.#a = a;
    this.#b = b;
    if (this.#keep === 0 && this.onLine === undefined) return;
    const told = `${clockText(ms)} ${line}`;
    this.onLine?.(told);
    if (this.#keep === 0) return;
    this.#kept.push(told);
    if (this.#kept.length > 2 * this.#keep + 1000) this.#kept.splice(0, this.#kept.length - this.#keep);
  }
}

/** `h:mm:ss.mmm` since the start. */
export function clockText(ms: number): string {
  const pad = (value: number, width: number) => String(value).padStart(width, '0');
  const whole = Math.floor(ms);
  return `${Math.floor(whole / 3_600_000)}:${pad(Math.floor(whole / 60_000) % 60, 2)}:${pad(Math.floor(whole / 1000) % 60, 2)}.${pad(whole % 1000, 3)}`;
}
