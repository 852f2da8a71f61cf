import { parseBoundedJson } from '../journal/json.ts';
import { answerBytesMax } from '../limits.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { Backend, BackendReply, BackendRequest } from './backend.ts';

/** A request that is about to be sent. */
export interface OutgoingRequest {
  method: 'POST';
  url: string;
  /** JSON, as it goes over the wire: a signature covers its bytes. */
  body: string;
}

/** Gives the headers that prove who calls. @throws where no proof is to be had: the call then counts as unreachable */
export type Authorize = (request: OutgoingRequest) => Promise<Record<string, string>>;

export interface OpenAiBackendOptions {
  name: string;
  /** Up to and including `/v1`. */
  baseUrl: string;
  /** Sent as bearer token; absent for servers that ask for none. */
  apiKey?: string;
  /** In place of `apiKey`: headers that prove who calls, made for each request anew. */
  authorize?: Authorize;
  /** The machine's `fetch`, or one behind an address guard. */
  fetch: typeof globalThis.fetch;
  now: () => EpochMs;
}

/** No `Retry-After` is obeyed beyond this: a server that asks for a year is not to be believed. */
export const retryAfterMaxMs: DurationMs = 10 * 60_000;

/**
 * Where servers write the id by which their owner finds a call again, in this order.
 * @source https://learn.microsoft.com/azure/foundry/openai/reference (`apim-request-id`; 2026-11)
 * @source https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html (`x-amzn-requestid`; 2026-11)
 */
const requestIdHeaders = ['x-request-id', 'apim-request-id', 'x-amzn-requestid'];

/** A server that speaks the OpenAI protocol, called with plain `fetch`: one call, no retries, no redirects. */
export function openAiBackend(options: OpenAiBackendOptions): Backend {
  const base = options.baseUrl.replace(/\/+$/, '');
  return {
    name: options.name,
    async call(request) {
      try {
        return await exchange(options, base, request);
      } catch (error) {
        if (request.signal.aborted) return { kind: 'timeout' };
        return { kind: 'unreachable', detail: causeOf(error) };
      }
    },
  };
}

async function exchange(options: OpenAiBackendOptions, base: string, request: BackendRequest): Promise<BackendReply> {
  const url = `${base}${request.endpoint.slice('/v1'.length)}`;
  const outgoing: OutgoingRequest = { method: 'POST', url, body: JSON.stringify(request.body) };
  const response = await options.fetch(url, {
    method: 'POST',
    redirect: 'manual',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json',
      ...(await proofOf(options, outgoing)),
    },
    body: outgoing.body,
    signal: request.signal,
  });
  const { status } = response;
  const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), options.now());
  const bytes = await readBounded(response);
  if (bytes === undefined) return { kind: 'malformed', status, retryAfterMs, detail: `over ${answerBytesMax} bytes` };
  const json = parseBoundedJson(bytes, { bytesMax: answerBytesMax, nodesMax: 2_000_000 });
  if ('fault' in json) return { kind: 'malformed', status, retryAfterMs, detail: json.detail };
  const requestId = requestIdHeaders
    .map((name) => response.headers.get(name))
    .find(Boolean)
    ?.slice(0, 128);
  return { kind: 'answered', status, requestId, retryAfterMs, body: json.value };
}

async function proofOf(options: OpenAiBackendOptions, outgoing: OutgoingRequest): Promise<Record<string, string>> {
  if (options.authorize === undefined)
    return options.apiKey === undefined ? {} : { authorization: `Bearer ${options.apiKey}` };
  try {
    return await options.authorize(outgoing);
  } catch (error) {
    throw new Error(`credentials: ${causeOf(error)}`);
  }
}

/** The body, or `undefined` as soon as it is longer than we take. */
async function readBounded(response: Response): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  if (response.body === null) return new Uint8Array();
  for await (const piece of response.body as AsyncIterable<Uint8Array>) {
    length += piece.byteLength;
    if (length > answerBytesMax) return undefined;
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/** Seconds or an HTTP date, cut to 0 … 10 minutes; `undefined` for anything else. @source RFC 9110 section 10.2.3 */
export function parseRetryAfter(value: string | null, now: EpochMs): DurationMs | undefined {
  if (value === null || value.trim() === '') return undefined;
  const text = value.trim();
  const isDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/.test(text);
  const ms = /^\d+(\.\d+)?$/.test(text) ? Number(text) * 1000 : isDate ? Date.parse(text) - now : Number.NaN;
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), retryAfterMaxMs) : undefined;
}

/** `fetch` hides what happened one level down. */
function causeOf(error: unknown): string {
  const cause = (error as { cause?: { code?: unknown; message?: unknown } })?.cause;
  return String(cause?.code ?? cause?.message ?? (error as Error)?.message ?? error).slice(0, 200);
}
