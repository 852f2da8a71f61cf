import { parseBoundedJson } from '../journal/json.ts';
import { answerBytesMax } from '../limits.ts';
import type { EpochMs } from '../units.ts';
import type { Backend, BackendReply, BackendRequest } from './backend.ts';
import { parseRateLimits, retryAfterOf } from './rate-limits.ts';

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
  const now = options.now();
  const rateLimits = parseRateLimits(response.headers, now);
  const told = { retryAfterMs: retryAfterOf(response.headers, now), ...(rateLimits && { rateLimits }) };
  const bytes = await readBounded(response);
  if (bytes === undefined) return { kind: 'malformed', status, ...told, detail: `over ${answerBytesMax} bytes` };
  const json = parseBoundedJson(bytes, { bytesMax: answerBytesMax, nodesMax: 2_000_000 });
  if ('fault' in json) return { kind: 'malformed', status, ...told, detail: json.detail };
  const requestId = requestIdHeaders
    .map((name) => response.headers.get(name))
    .find(Boolean)
    ?.slice(0, 128);
  return { kind: 'answered', status, requestId, ...told, body: json.value };
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

/** `fetch` hides what happened one level down. */
function causeOf(error: unknown): string {
  const cause = (error as { cause?: { code?: unknown; message?: unknown } })?.cause;
  return String(cause?.code ?? cause?.message ?? (error as Error)?.message ?? error).slice(0, 200);
}
