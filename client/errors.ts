/** An answer of the front door that is not 2xx, in the words of the OpenAI error object. */
export class HoldfastApiError extends Error {
  /** HTTP status. */
  readonly status: number;
  /** Stable name of what is wrong; `http_<status>` where somebody before the front door answered. */
  readonly code: string;
  /** Field of the request at fault. */
  readonly param: string | null;
  readonly requestId: string | null;
  /** Base address of the cloud that answered. */
  readonly base: string;
  /** What `Retry-After` asks for, ms; `null` where it is silent. */
  readonly retryAfterMs: number | null;

  constructor(
    message: string,
    fields: Pick<HoldfastApiError, 'status' | 'code' | 'param' | 'requestId' | 'base' | 'retryAfterMs'>,
  ) {
    super(message);
    this.name = 'HoldfastApiError';
    this.status = fields.status;
    this.code = fields.code;
    this.param = fields.param;
    this.requestId = fields.requestId;
    this.base = fields.base;
    this.retryAfterMs = fields.retryAfterMs;
  }
}

/** No cloud that was asked gave any answer. */
export class UnreachableError extends Error {
  readonly code = 'unreachable';
  /** What happened at each base address, in the order in which they were asked. */
  readonly attempts: readonly Attempt[];
  /** True if no connection was ever made: the address is wrong, or nobody listens there. */
  readonly isRefusal: boolean;

  constructor(attempts: readonly Attempt[], cause?: unknown) {
    super(attempts.map(({ base, reason }) => `${base}: ${reason}`).join('; '), { cause });
    this.name = 'UnreachableError';
    this.attempts = attempts;
    this.isRefusal = attempts.every((one) => one.wasNeverSent);
  }
}

/** One try at one cloud that ended without an answer. */
export interface Attempt {
  base: string;
  reason: string;
  wasNeverSent: boolean;
}

const bodyCharsMax = 100_000;

/** Reads an answer that is not 2xx. Never throws: whatever the body is, there is a code and a message. */
export async function apiErrorOf(response: Response, base: string): Promise<HoldfastApiError> {
  const text = (await response.text().catch(() => '')).slice(0, bodyCharsMax);
  const error = errorObjectIn(text);
  const retryAfter = Number(response.headers.get('retry-after') ?? Number.NaN);
  return new HoldfastApiError(
    textOr(error?.message, text.trim().slice(0, 200) || response.statusText || 'no message'),
    {
      status: response.status,
      code: textOr(error?.code, `http_${response.status}`),
      param: typeof error?.param === 'string' ? error.param : null,
      requestId: response.headers.get('x-request-id'),
      base,
      retryAfterMs: Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter * 1000 : null,
    },
  );
}

function errorObjectIn(text: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    const error = (parsed as { error?: unknown } | null)?.error;
    if (typeof error === 'object' && error !== null) return error as Record<string, unknown>;
    // What stands before a function answers in its own shape: `{"Message": …}`.
    const message = (parsed as { Message?: unknown } | null)?.Message;
    return typeof message === 'string' ? { message } : undefined;
  } catch {
    return undefined;
  }
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

/** Why a request got no answer, in a few words: the innermost code, or the innermost message. */
export function reasonOf(error: unknown): string {
  if (error instanceof UnreachableError && error.attempts.length > 0) return error.attempts.at(-1)!.reason;
  const code = causesOf(error).findLast((one) => typeof one.code === 'string')?.code;
  if (code !== undefined) return String(code);
  const last = causesOf(error).at(-1);
  return typeof last?.message === 'string' && last.message !== '' ? last.message : String(error);
}

const neverSentCodes = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** True only if the connection was never made, so that the other side cannot have seen the request. */
export function neverSent(error: unknown): boolean {
  const causes = causesOf(error).filter((one) => typeof one.code === 'string');
  return causes.length > 0 && causes.every((one) => neverSentCodes.has(one.code as string));
}

/** The error, what caused it, and the parts of an aggregate, outermost first. */
function causesOf(error: unknown): { code?: unknown; message?: unknown }[] {
  const found: { code?: unknown; message?: unknown }[] = [];
  let next: unknown = error;
  for (let depth = 0; depth < 8 && typeof next === 'object' && next !== null; depth++) {
    found.push(next);
    if ('errors' in next && Array.isArray(next.errors))
      found.push(...next.errors.filter((one) => typeof one === 'object' && one !== null));
    next = (next as { cause?: unknown }).cause;
  }
  return found;
}
