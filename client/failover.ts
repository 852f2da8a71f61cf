import { type Attempt, neverSent, reasonOf, UnreachableError } from './errors.ts';

export interface FailoverOptions {
  /** Default: the global one. */
  fetch?: typeof fetch;
  /** How long the cloud that answered stays the first one asked, after the other had not. Default 30,000 ms. */
  stickMs?: number;
  /**
   * How long the head of an answer is awaited before the other cloud is tried; a body adds the time it takes at
   * 100 KB/s. Holds only for requests that may be sent twice. Default 30,000 ms.
   */
  answerMs?: number;
  /** Now, in ms. Default: the machine's clock. */
  now?: () => number;
  /** Told whenever a cloud did not answer and the next one is asked. */
  onSwitch?: (event: { from: string; to: string; reason: string }) => void;
}

/**
 * A `fetch` over two clouds, to be given to the `openai` client beside either `baseURL`: a request to one address is
 * sent to the other when the first does not answer (no connection, a connection that breaks, 502, 503, 504, silence).
 *
 * Only what may safely happen twice is sent twice: GET, HEAD, PUT, DELETE, and POST with an `Idempotency-Key`. Any other
 * request goes to the other cloud only if it never left for the first. A body that is a stream is never sent twice.
 * Whoever answered last is asked first for `stickMs`. Addresses under neither base pass through untouched.
 * @param baseUrls in order of preference, as in `baseURL`: `https://…/v1`
 */
export function failoverFetch(baseUrls: readonly string[], options: FailoverOptions = {}): typeof fetch {
  const bases = baseUrls.map(withoutSlash);
  const ask = createFailover(bases, options);
  const passThrough: typeof fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const base = bases.find((one) => url === one || url.startsWith(`${one}/`) || url.startsWith(`${one}?`));
    if (base === undefined) return passThrough(input, init);
    return (await ask(url.slice(base.length), input instanceof Request ? initOf(input, init) : (init ?? {}))).response;
  };
}

/** Asks for a path below a base address, at whichever base answers. @throws UnreachableError, or what `fetch` throws */
export type Ask = (path: string, init: RequestInit, limits?: { answerMs?: number }) => Promise<Answer>;

export interface Answer {
  response: Response;
  base: string;
}

/** The engine of `failoverFetch`, which also tells who answered. */
export function createFailover(bases: readonly string[], options: FailoverOptions = {}): Ask {
  const { stickMs = 30_000, now = Date.now, onSwitch } = options;
  const send: typeof fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  let first = { index: 0, until: Number.POSITIVE_INFINITY };

  const order = (): number[] => {
    const from = now() < first.until ? first.index : 0;
    return bases.map((_, i) => (from + i) % bases.length);
  };
  const ask: Ask = async (path, init, limits) => {
    const mayRepeat = isRepeatable(init);
    const attempts: Attempt[] = [];
    let answer: Answer | undefined;
    let failure: unknown;
    for (const [i, index] of order().entries()) {
      const base = bases[index]!;
      if (i > 0) onSwitch?.({ from: attempts.at(-1)!.base, to: base, reason: attempts.at(-1)!.reason });
      let reason: string;
      let wasNeverSent = false;
      try {
        const timeLimit = mayRepeat ? (limits?.answerMs ?? options.answerMs ?? 30_000) + bodyMs(init.body) : undefined;
        const response = await headWithin(timeLimit, init.signal, (signal) => send(base + path, { ...init, signal }));
        await answer?.response.body?.cancel().catch(() => {});
        answer = { response, base };
        if (!isAway(response.status)) {
          if (i > 0) first = { index, until: now() + stickMs };
          return answer;
        }
        reason = `HTTP ${response.status}`;
        if (!mayRepeat) return answer;
      } catch (error) {
        if (init.signal?.aborted) throw error;
        failure = error;
        reason = reasonOf(error);
        // Whatever becomes of this request, the next one had better begin elsewhere.
        first = { index: (index + 1) % bases.length, until: now() + stickMs };
        wasNeverSent = neverSent(error);
        if (!mayRepeat && !wasNeverSent) throw error;
        if (isOneTime(init.body)) throw error;
      }
      attempts.push({ base, reason, wasNeverSent });
    }
    // An answer, even an unhappy one, says more than silence.
    if (answer !== undefined) return answer;
    throw new UnreachableError(attempts, failure);
  };
  return ask;
}

/** True for a status that says: not me, not now. */
export function isAway(status: number): boolean {
  return status === 502 || status === 503 || status === 504;
}

function isRepeatable({ method = 'GET', headers, body }: RequestInit): boolean {
  if (isOneTime(body)) return false;
  if (/^(GET|HEAD|PUT|DELETE|OPTIONS)$/i.test(method)) return true;
  return /^POST$/i.test(method) && new Headers(headers).has('idempotency-key');
}

/** True for a body that can be read only once. */
function isOneTime(body: RequestInit['body']): boolean {
  if (body === null || body === undefined || typeof body === 'string') return false;
  const lasting = [URLSearchParams, Blob, FormData, ArrayBuffer];
  return !lasting.some((kind) => body instanceof kind) && !ArrayBuffer.isView(body);
}

/** What a body adds to the time an answer may take, at 100 KB/s. */
function bodyMs(body: RequestInit['body']): number {
  let bytes = 0;
  if (typeof body === 'string') bytes = body.length;
  else if (body instanceof Blob) bytes = body.size;
  else if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) bytes = body.byteLength;
  else if (body instanceof FormData) for (const [, value] of body) bytes += value instanceof Blob ? value.size : 100;
  return bytes / 100;
}

/** Gives up on the head of an answer after `timeLimitMs`, never on its body. */
async function headWithin(
  timeLimitMs: number | undefined,
  given: AbortSignal | null | undefined,
  call: (signal: AbortSignal | null) => Promise<Response>,
): Promise<Response> {
  if (timeLimitMs === undefined) return call(given ?? null);
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(new Error(`no answer within ${timeLimitMs} ms`)), timeLimitMs);
  try {
    return await call(given ? AbortSignal.any([given, silence.signal]) : silence.signal);
  } finally {
    clearTimeout(timer);
  }
}

function initOf(request: Request, init: RequestInit = {}): RequestInit {
  const { method, headers, redirect, signal, credentials, body } = request;
  return { method, headers, redirect, signal, credentials, body, ...(body !== null && { duplex: 'half' }), ...init };
}

function withoutSlash(url: string): string {
  return url.replace(/\/+$/, '');
}
