import type * as z from 'zod';
import { type Json, parseBoundedJson, utf8 } from '../journal/json.ts';
import { ApiError, badRequest } from './errors.ts';

/** Longest JSON body taken: room for the ids of 10,000 parts, far beyond any batch request. */
export const jsonBodyBytesMax = 1024 * 1024;

/** 413, and how to send it instead. */
export function tooLarge(bytesMax: number, instead = ''): ApiError {
  return new ApiError({
    status: 413,
    code: 'request_too_large',
    message: `The request body is larger than ${bytesMax} bytes.${instead}`,
  });
}

/** Refuses a compressed body (a few bytes may become gigabytes) before anything is read. @throws ApiError 415 */
export function refuseEncoding(request: Request): void {
  const encoding = request.headers.get('content-encoding');
  if (encoding === null || /^\s*identity\s*$/i.test(encoding)) return;
  throw new ApiError({
    status: 415,
    code: 'unsupported_content_encoding',
    message: 'Only bodies without Content-Encoding are taken.',
  });
}

/**
 * So much of a refused JSON body is read and dropped before the refusal goes out: a client that is still sending when
 * its connection ends may never see why. What announces more is not read at all.
 */
const discardedBytesMax = 8 * 1024 * 1024;

/**
 * The chunks of a body, counted: it stops with 413 as soon as there are more than `bytesMax`, by the announced length
 * before the first byte is read.
 */
export async function* boundedBody(request: Request, bytesMax: number, instead?: string): AsyncGenerator<Uint8Array> {
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge(bytesMax, instead);
  if (request.body === null) return;
  // A reader of our own: leaving a `for await` would cancel the body, and with it the connection that is to carry the
  // refusal.
  const reader = (request.body as ReadableStream<Uint8Array>).getReader();
  let bytes = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch(() => {
        throw badRequest('request_cut_off', 'The request body was cut off.');
      });
      if (done) return;
      bytes += value.byteLength;
      if (bytes > bytesMax) throw tooLarge(bytesMax, instead);
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

async function discard(request: Request): Promise<void> {
  const announced = Number(request.headers.get('content-length') ?? 0);
  if (announced <= jsonBodyBytesMax || announced > discardedBytesMax || request.body === null) return;
  const reader = request.body.getReader();
  for (let seen = 0; seen < discardedBytesMax; ) {
    const { done, value } = await reader.read().catch(() => ({ done: true, value: undefined }) as const);
    if (done || value === undefined) break;
    seen += value.byteLength;
  }
  reader.releaseLock();
}

/**
 * Reads and checks a JSON body.
 * @throws ApiError 400, 413 or 415 in the OpenAI shape, `param` naming the first field at fault
 */
export async function readJson<S extends z.ZodType>(request: Request, schema: S): Promise<z.infer<S>> {
  refuseEncoding(request);
  if (!/^application\/json\s*(;|$)/i.test(request.headers.get('content-type') ?? ''))
    throw new ApiError({
      status: 415,
      code: 'unsupported_media_type',
      message: 'The body must be JSON: Content-Type application/json.',
    });
  await discard(request);
  const chunks: Uint8Array[] = [];
  for await (const chunk of boundedBody(request, jsonBodyBytesMax)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  // Lambda hands a JSON body over as text, with U+FFFD where its bytes were no UTF-8: what was meant is lost there, and
  // must not be taken for a name here. So the sign itself is refused, too, and both clouds answer alike.
  if (utf8(bytes).includes('\ufffd')) throw badRequest('invalid_json', 'The body is not valid UTF-8.');
  const parsed = parseBoundedJson(bytes, { bytesMax: jsonBodyBytesMax });
  if ('fault' in parsed)
    throw badRequest(
      'invalid_json',
      parsed.fault === 'torn' ? 'The body is not valid JSON.' : `JSON ${parsed.detail}.`,
    );
  const twice = repeatedKey(utf8(bytes));
  if (twice !== undefined)
    throw badRequest('duplicate_key', 'The body names a key twice; which of the two is meant?', twice);
  return check(schema, parsed.value);
}

/** Holds a value against a schema. @throws ApiError 400 naming field and rule, and the value where it is a short scalar */
export function check<S extends z.ZodType>(schema: S, value: unknown): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  const unknown = issue.code === 'unrecognized_keys' ? [...issue.path, issue.keys[0]!] : undefined;
  const param = (unknown ?? issue.path).map(String).join('.').slice(0, 200);
  if (unknown !== undefined) throw badRequest('unknown_parameter', `Unknown parameter: '${param}'.`, param);
  const at = issue.path.reduce<unknown>(
    (from, step) => (from as Record<PropertyKey, unknown> | undefined)?.[step],
    value,
  );
  if (at === undefined && param !== '')
    throw badRequest('missing_required_parameter', `Missing required parameter: '${param}'.`, param);
  throw badRequest(
    'invalid_value',
    param === ''
      ? `Invalid body: ${issue.message}.`
      : `Invalid value for '${param}'${scalar(at)}: ${issue.message.replace(/\.$/, '')}.`,
    param === '' ? undefined : param,
  );
}

/** A short number, boolean or word is worth showing; anything else may be payload. */
function scalar(value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return ` (${value})`;
  return typeof value === 'string' && /^[\w./:-]{1,64}$/.test(value) ? ` ('${value}')` : '';
}

/** Name of the first key that stands twice in one object of a valid JSON text. */
export function repeatedKey(json: string): string | undefined {
  // In a valid text a string followed by a colon is a key, so no grammar is needed beyond nesting.
  const objects: Set<string>[] = [];
  const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}]/gs;
  for (const [token, colon] of json.matchAll(tokens)) {
    if (token === '{') objects.push(new Set());
    else if (token === '}') objects.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, token.length - colon.length)) as Json as string;
      const keys = objects.at(-1)!;
      if (keys.has(key)) return key.slice(0, 64);
      keys.add(key);
    }
  }
  return undefined;
}
