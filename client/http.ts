import { apiErrorOf, HoldfastApiError, UnreachableError } from './errors.ts';
import { type Answer, type Ask, isAway } from './failover.ts';

/** A request below the base addresses. */
export interface Call {
  method?: 'GET' | 'POST' | 'DELETE';
  /** Begins with `/v1/` or `/ops/v1/`. */
  path: string;
  /** Sent as JSON, or as it is. */
  json?: unknown;
  form?: FormData;
  /** Default: a random one for every call. It is what lets a POST be sent twice. */
  idempotencyKey?: string;
  signal?: AbortSignal;
  answerMs?: number;
}

export interface HttpOptions {
  ask: Ask;
  key: string;
  /** How long one call is repeated while no cloud answers, or all say `not now`. */
  retryForMs: number;
  onRetry: (event: { reason: string; waitMs: number }) => void;
  sleep: (ms: number, signal?: AbortSignal) => Promise<void>;
  now: () => number;
}

const firstPauseMs = 300;
const pauseMsMax = 5_000;
/** Where nobody listens, patience is seldom rewarded: calls are repeated for this long at most. */
const refusedForMs = 3_000;

/** Sends calls of one client: signs them, repeats what may be repeated, and turns refusals into errors. */
export class Http {
  readonly #options: HttpOptions;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  /** @throws HoldfastApiError, UnreachableError, or the reason of `signal` */
  async json<T>(call: Call): Promise<T> {
    const { response, base } = await this.send(call);
    try {
      return (await response.json()) as T;
    } catch {
      throw new HoldfastApiError('The answer is not JSON: is this the address of a Holdfast API?', {
        status: response.status,
        code: 'not_json',
        param: null,
        requestId: response.headers.get('x-request-id'),
        base,
        retryAfterMs: null,
      });
    }
  }

  /** The answer as it came, if it is 2xx. @throws as `json` */
  async send(call: Call): Promise<Answer> {
    const { ask, now, onRetry, retryForMs, sleep } = this.#options;
    const init = this.#init(call);
    const startedAt = now();
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
      let failure: UnreachableError | HoldfastApiError;
      try {
        const answer = await ask(
          call.path,
          init,
          call.answerMs === undefined ? undefined : { answerMs: call.answerMs },
        );
        if (answer.response.ok) return answer;
        failure = await apiErrorOf(answer.response, answer.base);
        if (!isAway(failure.status) && failure.status !== 429) throw failure;
      } catch (error) {
        if (!(error instanceof UnreachableError)) throw error;
        failure = error;
      }
      const waitMs = Math.max(pauseMs, failure instanceof HoldfastApiError ? (failure.retryAfterMs ?? 0) : 0);
      const isRefusal = failure instanceof UnreachableError && failure.isRefusal;
      if (now() + waitMs - startedAt > (isRefusal ? Math.min(refusedForMs, retryForMs) : retryForMs)) throw failure;
      const reason = failure instanceof UnreachableError ? failure.message : `${failure.code}: ${failure.message}`;
      onRetry({ reason, waitMs });
      await sleep(waitMs, call.signal);
    }
  }

  #init({ method = 'GET', json, form, signal, idempotencyKey }: Call): RequestInit {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#options.key}` };
    if (json !== undefined) headers['content-type'] = 'application/json';
    if (method === 'POST') headers['idempotency-key'] = idempotencyKey ?? crypto.randomUUID();
    return {
      method,
      headers,
      body: form ?? (json === undefined ? null : JSON.stringify(json)),
      // Only downloads are redirected. Besides, Node keeps a copy of any body that might have to be sent again elsewhere.
      redirect: method === 'GET' ? 'follow' : 'error',
      ...(signal !== undefined && { signal }),
    };
  }
}
