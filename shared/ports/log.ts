/** Flat, bounded values only: never a payload, never a secret. */
export type LogFields = Record<string, string | number | boolean | null | undefined>;

/** Events are past tense with a subject (`chunk.answered`, `epoch.advanced`). */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/** Says nothing; for tests and tools that have their own voice. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
