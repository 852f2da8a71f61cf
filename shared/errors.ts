/**
 * Errors are named by what happens next (STYLE.md). Branch on `code`, never on `instanceof`: two bundles hold two copies
 * of a class. Expected endings are values, not errors.
 */

/** What every error of ours carries: a stable `code`, the class name in `name`, facts as fields, and the `cause`. */
export abstract class HoldfastError extends Error {
  /** Written out in each class: a bundler may rename classes. */
  abstract override readonly name: string;
  /** Stable, snake_case, safe to branch on and to show. */
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** Throttled, or a time-out before anything was sent: try again later. */
export class TransientError extends HoldfastError {
  override readonly name = 'TransientError';
  /** How long the other side asked us to wait; absent where it said nothing. */
  readonly retryAfterMs?: number;
  constructor(code: string, message: string, options?: { cause?: unknown; retryAfterMs?: number }) {
    super(code, message, options);
    this.retryAfterMs = options?.retryAfterMs;
  }
}

/** The job itself is at fault wherever it runs: dead-letter, or answer the line with an error. */
export class PermanentJobError extends HoldfastError {
  override readonly name = 'PermanentJobError';
}

/** The reply was lost after sending: look before retrying, the effect may have happened. */
export class OutcomeUnknownError extends HoldfastError {
  override readonly name = 'OutcomeUnknownError';
}

/** The endpoint refuses everyone (refused, DNS, credentials, 5xx): feeds the verdict, spends no attempt. */
export class SiteUnavailableError extends HoldfastError {
  override readonly name = 'SiteUnavailableError';
  /** Name of the store, queue or backend that did not serve. */
  readonly where: string;
  constructor(code: string, message: string, where: string, options?: { cause?: unknown }) {
    super(code, message, options);
    this.where = where;
  }
}

/** We were fenced off: stop quietly, no retry, no dead-letter. */
export class StaleEpochError extends HoldfastError {
  override readonly name = 'StaleEpochError';
}

/** Refuse to start: names key, value and rule. */
export class ConfigError extends HoldfastError {
  override readonly name = 'ConfigError';
  readonly key: string;
  constructor(key: string, message: string, options?: { cause?: unknown }) {
    super('config_invalid', message, options);
    this.key = key;
  }
}

/** Our own bug: fail loudly. */
export class InvariantError extends HoldfastError {
  override readonly name = 'InvariantError';
}

/** The `code` of an error of ours, from whichever bundle it came; `undefined` for anything else. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}

/** True if trying again later may help: transient, unavailable, or an outcome we do not know. */
export function isRetryable(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name;
  return name === 'TransientError' || name === 'SiteUnavailableError' || name === 'OutcomeUnknownError';
}
