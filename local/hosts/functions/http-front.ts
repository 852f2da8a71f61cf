import { randomUUID } from 'node:crypto';
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { pipeline, Transform } from 'node:stream';
import { functionsBodyBytesMax } from '../../../shared/limits.ts';
import type { Log } from '../../../shared/ports/log.ts';
import type { DurationMs } from '../../../shared/units.ts';
import { errorText } from '../log.ts';
import { drain } from '../read-body.ts';
import type { TypedData } from './core-module.ts';
import type { Invoker } from './invocation.ts';
import type { HttpRoute } from './routes.ts';

/** @source https://learn.microsoft.com/azure/azure-functions/functions-scale 2026-11 (the load balancer's idle time-out) */
const RESPONSE_MS_MAX: DurationMs = 230_000;

/** @source https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1 2026-11; `transfer-encoding` stays, it says how the body goes on */
const hopHeaders = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'upgrade']);

const invocationIdHeader = 'x-ms-invocation-id';

/** What the front is made of. */
export interface HttpFrontOptions {
  readonly routes: readonly HttpRoute[];
  readonly invoker: Invoker;
  /** Where the programming model takes requests: `HttpUri` of its capabilities. */
  readonly workerUri: string;
  /** Default: what `shared/limits.ts` says of Functions. */
  readonly bodyBytesMax?: number;
  /** Default 230 s. */
  readonly responseMsMax?: DurationMs;
  readonly log: Log;
}

/**
 * The HTTP front of the Functions host with streaming on. As the real host does, it starts an invocation and forwards
 * the request itself to a server inside the programming model, under the invocation's id; the response streams back the
 * same way.
 */
export function createHttpFront(options: HttpFrontOptions): Server {
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    const path = (request.url ?? '/').split('?')[0]!;
    for (const route of options.routes) {
      const parameters = route.match(request.method ?? 'GET', path);
      if (parameters) return serve(options, route, parameters, request, response);
    }
    answer(request, response, 404);
  });
  return server;
}

function serve(
  options: HttpFrontOptions,
  route: HttpRoute,
  parameters: Record<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const { invoker, workerUri, log } = options;
  const bytesMax = options.bodyBytesMax ?? functionsBodyBytesMax;
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) {
    answer(request, response, 413);
    return;
  }

  const invocationId = randomUUID();
  const forwarded = httpRequest(new URL(request.url ?? '/', workerUri), {
    method: request.method,
    headers: forwardedHeaders(request, invocationId),
    // A kept connection may be closed by the other end, for idleness, in the moment it is used again.
    agent: false,
  });
  /** Ends what is not answered yet with a status, what is half answered with a broken connection. */
  const fail = (status: number) => {
    forwarded.destroy();
    if (response.headersSent) response.destroy();
    else answer(request, response, status);
  };
  const late = setTimeout(() => fail(504), options.responseMsMax ?? RESPONSE_MS_MAX);
  response.once('close', () => {
    clearTimeout(late);
    if (!response.writableFinished) forwarded.destroy();
  });
  forwarded.once('response', (reply) => {
    const headers = withoutHops(reply.headers);
    delete headers[invocationIdHeader];
    response.writeHead(reply.statusCode ?? 502, headers);
    pipeline(reply, response, () => {});
  });
  forwarded.once('error', (error) => {
    if (response.headersSent || response.destroyed) return;
    log.warn('request.unanswered', { function: route.registered.metadata.name, error: errorText(error) });
    fail(500);
  });
  // No `pipeline`: it would end the client's connection before the client has read why.
  request.pipe(bounded(bytesMax, () => fail(413))).pipe(forwarded);
  request.once('close', () => {
    if (!request.complete) forwarded.destroy();
  });

  const metadata: Record<string, TypedData> = {
    ...Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, { string: value }])),
    Headers: { json: JSON.stringify(plainHeaders(request)) },
    Query: { json: JSON.stringify(Object.fromEntries(new URLSearchParams(request.url?.split('?')[1] ?? ''))) },
  };
  invoker.invoke(route.registered, { invocationId, data: { http: {} }, metadata }).catch((error) => {
    log.warn('invocation.failed', { function: route.registered.metadata.name, error: errorText(error) });
    fail(500);
  });
}

/** Passes a body on, up to a size. */
function bounded(bytesMax: number, onTooLarge: () => void): Transform {
  let bytes = 0;
  return new Transform({
    transform(part: Buffer, _, done) {
      bytes += part.length;
      if (bytes <= bytesMax) done(null, part);
      else onTooLarge();
    },
  });
}

function forwardedHeaders(request: IncomingMessage, invocationId: string) {
  const { expect: _, ...headers } = request.headers;
  return {
    ...withoutHops(headers),
    [invocationIdHeader]: invocationId,
    'x-forwarded-host': request.headers.host ?? 'localhost',
    'x-forwarded-proto': 'http',
    'x-forwarded-for': request.socket.remoteAddress,
  };
}

/**
 * Headers less those that concern one connection alone. A client's `connection: close`, passed on, would have the inner
 * server reset its connection while the rest of a refused body is still on its way, and the refusal would be lost.
 */
function withoutHops(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopHeaders.has(name)));
}

function plainHeaders(request: IncomingMessage): Record<string, string> {
  return Object.fromEntries(
    Object.entries(request.headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
}

/** An answer of the host's own: a status and nothing else. */
function answer(request: IncomingMessage, response: ServerResponse, status: number): void {
  request.unpipe();
  drain(request);
  request.resume();
  response.writeHead(status, { 'content-length': '0' });
  response.end();
}
