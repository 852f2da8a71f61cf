import type { HttpHandler, HttpRequest, HttpResponseInit } from '@azure/functions';
import { type Fetch, wireApi } from '../wire.ts';

/** The front door behind a streamed HTTP trigger: neither body is ever held whole. */
export function httpApi(wire: () => Promise<Fetch>): HttpHandler {
  return async (request) => {
    const fetch = await wire();
    return toHttp(await fetch(toFetch(request)));
  };
}

function toFetch(request: HttpRequest): Request {
  const body = request.method === 'GET' || request.method === 'HEAD' ? null : request.body;
  return new Request(request.url, {
    method: request.method,
    headers: Object.fromEntries(request.headers.entries()),
    body: body as ReadableStream | null,
    // Without it Node refuses a body that is a stream.
    ...(body !== null && { duplex: 'half' }),
  });
}

function toHttp(response: Response): HttpResponseInit {
  return {
    status: response.status,
    headers: Object.fromEntries(response.headers.entries()),
    body: response.body as HttpResponseInit['body'],
  };
}

export const api = httpApi(wireApi);
