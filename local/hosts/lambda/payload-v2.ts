import type { IncomingHttpHeaders } from 'node:http';
import { ACCOUNT } from './function-spec.ts';

/** A request as it came in, read whole. */
export interface UrlRequest {
  readonly method: string;
  /** Path and query as sent. */
  readonly target: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly sourceIp: string;
}

/** What the handler's value becomes on the wire. */
export interface UrlReply {
  readonly status: number;
  /** Names and values, in order; a name may come twice. */
  readonly headers: readonly (readonly [string, string])[];
  readonly body: Buffer;
}

/**
 * The event of a function URL, payload format 2.0. Unlike API Gateway, a function URL leaves the path percent-encoded.
 * @source https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html 2026-08
 * @source https://github.com/hotsock/voker/pull/8 2026-11 (captured events)
 */
export function eventOf(request: UrlRequest, requestId: string, at: Date): string {
  const { method, target, headers, body } = request;
  const [path = '/', query = ''] = splitOnce(target, '?');
  const isText = isTextBody(headers);
  const flat = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined || name === 'cookie' ? [] : [[name, Array.isArray(value) ? value.join(',') : value]],
  );
  const host = headers.host ?? 'localhost';
  return JSON.stringify({
    version: '2.0',
    routeKey: '$default',
    rawPath: path,
    rawQueryString: query,
    ...(headers.cookie !== undefined && { cookies: headers.cookie.split(/;\s*/) }),
    headers: Object.fromEntries(flat),
    ...(query !== '' && { queryStringParameters: queryOf(query) }),
    requestContext: {
      accountId: 'anonymous',
      apiId: ACCOUNT,
      domainName: host,
      domainPrefix: host.split('.')[0],
      http: {
        method,
        path,
        protocol: 'HTTP/1.1',
        sourceIp: request.sourceIp,
        userAgent: headers['user-agent'] ?? '',
      },
      requestId,
      routeKey: '$default',
      stage: '$default',
      time: at.toUTCString(),
      timeEpoch: at.getTime(),
    },
    ...(body.length > 0 && { body: body.toString(isText ? 'utf8' : 'base64') }),
    isBase64Encoded: body.length > 0 && !isText,
  });
}

/**
 * The handler's value (JSON text) as an HTTP reply: with a `statusCode` as it says, without one a 200 that carries it
 * as JSON. Undefined where Lambda could make nothing of it.
 */
export function replyOf(payload: string): UrlReply | undefined {
  const value: unknown = JSON.parse(payload);
  if (typeof value !== 'object' || value === null || !('statusCode' in value))
    return { status: 200, headers: [['content-type', 'application/json']], body: Buffer.from(payload) };
  const { statusCode, headers = {}, cookies = [], body = '', isBase64Encoded } = value as Record<string, unknown>;
  const status = Number(statusCode);
  if (!Number.isInteger(status) || status < 100 || status > 599) return undefined;
  if (typeof body !== 'string' || typeof headers !== 'object' || headers === null || !Array.isArray(cookies))
    return undefined;
  const named = Object.entries(headers).map(([name, text]) => [name.toLowerCase(), String(text)] as const);
  return {
    status,
    headers: [
      ...(named.some(([name]) => name === 'content-type') ? [] : [['content-type', 'application/json'] as const]),
      ...named,
      ...cookies.map((cookie) => ['set-cookie', String(cookie)] as const),
    ],
    body: Buffer.from(body, isBase64Encoded === true ? 'base64' : 'utf8'),
  };
}

/** Everything else goes in base64. */
function isTextBody(headers: IncomingHttpHeaders): boolean {
  if (headers['content-encoding'] !== undefined) return false;
  const type = (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  return /^text\/|^application\/(json|javascript|xml|graphql)$|\+(json|xml)$/.test(type);
}

/** Values of a name that comes more than once are joined by commas. */
function queryOf(query: string): Record<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    const before = values.get(name);
    values.set(name, before === undefined ? value : `${before},${value}`);
  }
  return Object.fromEntries(values);
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
