import type { Chunk } from '../journal/facts.ts';
import type { ChunkLimits } from '../settings.ts';

/** Tokens of a request, from its bytes: about four bytes each in English. Only for cutting chunks. */
export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / 4);
}

/** Cuts the lines of one file, in their order, into chunks: each as large as the limits allow. */
export class ChunkCutter {
  readonly #limits: ChunkLimits;
  readonly #chunks: Chunk[] = [];
  #open: Chunk | undefined;

  constructor(limits: ChunkLimits) {
    this.#limits = limits;
  }

  /** @param line 0-based in the file; `end` is its first byte beyond. A line larger than a chunk is one by itself. */
  add({ index, offset, end }: { index: number; offset: number; end: number }): void {
    const bytes = end - offset;
    const tokens = estimateTokens(bytes);
    const { linesMax, tokensMax, bytesMax } = this.#limits;
    const open = this.#open;
    if (
      open !== undefined &&
      (open.lines >= linesMax || open.tokens + tokens > tokensMax || open.length + bytes > bytesMax)
    )
      this.#close();
    this.#open ??= { offset, length: 0, firstLine: index, lines: 0, tokens: 0 };
    this.#open.length += bytes;
    this.#open.lines += 1;
    this.#open.tokens += tokens;
  }

  finish(): Chunk[] {
    this.#close();
    return this.#chunks;
  }

  #close(): void {
    if (this.#open !== undefined) this.#chunks.push(this.#open);
    this.#open = undefined;
  }
}
