/** Uniform in [0, 1). Seeded in tests, the machine's own in the shell. */
export type Random = () => number;

/** Identifiers are randomness: they come in too. */
export interface Ids {
  /** 32 lower-case hex digits, 128 fresh random bits. */
  uuid(): string;
}
