import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { lambdaPayloadBytesMax } from '../../../shared/limits.ts';
import type { Log } from '../../../shared/ports/log.ts';
import { errorText } from '../log.ts';
import { readBody } from '../read-body.ts';
import { eventOf, replyOf, type UrlReply } from './payload-v2.ts';
import type { FunctionPool } from './pool.ts';

/** The HTTP server behind a function URL: buffered both ways, as Lambda answers when it refuses or fails. */
export function createFunctionUrl(pool: FunctionPool, log: Log): Server {
  return createServer((request, response) => {
    serve(pool, request, response).catch((error) => {
      log.warn('request.failed', { function: pool.spec.name, error: errorText(error) });
      if (response.headersSent) response.destroy();
      else write(response, internalError, randomUUID());
    });
  });
}

async function serve(pool: FunctionPool, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const requestId = randomUUID();
  const body = await readBody(request, lambdaPayloadBytesMax);
  if (body === 'cut') return;
  if (body === 'tooLarge') return write(response, tooLarge, requestId);
  const { method = 'GET', url = '/', headers } = request;
  const sourceIp = request.socket.remoteAddress ?? '';
  const event = eventOf({ method, target: url, headers, body, sourceIp }, requestId, new Date());
  const invocation = await pool.invoke(event);
  if (invocation === 'tooLarge') return write(response, tooLarge, requestId);
  write(response, (invocation.failed ? undefined : replyOf(invocation.payload)) ?? internalError, requestId);
}

function write(response: ServerResponse, reply: UrlReply, requestId: string): void {
  const headers: Record<string, string | string[]> = { 'x-amzn-requestid': requestId };
  for (const [name, value] of reply.headers) {
    const before = headers[name];
    headers[name] = before === undefined || name !== 'set-cookie' ? value : [before, value].flat();
  }
  delete headers['transfer-encoding'];
  const hasBody = reply.status !== 204 && reply.status !== 304;
  if (hasBody && response.req.method !== 'HEAD') headers['content-length'] = String(reply.body.length);
  response.writeHead(reply.status, headers);
  response.end(hasBody ? reply.body : undefined);
}

const json = [['content-type', 'application/json']] as const;

const tooLargeMessage = `Request must be smaller than ${lambdaPayloadBytesMax} bytes for the InvokeFunction operation`;

/**
 * `Message` is Lambda's. The error object beside it is ours: Lambda refuses before any function runs, and whoever meets
 * that here should read what to do instead.
 * @source https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html 2026-08 (RequestTooLargeException)
 */
const tooLarge: UrlReply = {
  status: 413,
  headers: json,
  body: Buffer.from(
    JSON.stringify({
      Message: tooLargeMessage,
      error: {
        message: `${tooLargeMessage}. Send larger files in parts, through /v1/uploads.`,
        type: 'invalid_request_error',
        param: null,
        code: 'request_too_large',
      },
    }),
  ),
};

/** What a function URL answers for a function that failed. @source https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html 2026-08 */
const internalError: UrlReply = { status: 502, headers: json, body: Buffer.from('Internal Server Error') };
