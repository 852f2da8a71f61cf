/** A moment: milliseconds since 1970-01-01T00:00Z. Comes in as an argument, never from a clock inside `shared/`. */
export type EpochMs = number;

/** A span of time in milliseconds. Seconds exist only in adapters and at the front door, where others want them. */
export type DurationMs = number;

/** Whole Unix seconds, as the OpenAI formats show moments. Rounds down, so that a moment never lies in the future. */
export function unixSeconds(at: EpochMs): number {
  return Math.floor(at / 1000);
}
