import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as it arrived. */
export interface Arrived {
  method: string;
  /** Path and query, as sent. */
  path: string;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: read member by member
  body: any;
}

/** What it is answered with; `raw` takes over the response. */
export type Answer =
  | { status?: number; headers?: Record<string, string>; body?: unknown; text?: string }
  | { raw(response: ServerResponse): void };

export interface ScriptedServer {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string;
  readonly arrived: Arrived[];
  /** How requests are answered from now on. */
  answer: (request: Arrived) => Answer;
  close(): Promise<void>;
}

/** A server of one test, over a real socket: it answers as the test says, and keeps what it was asked. */
export async function startScriptedServer(answer: ScriptedServer['answer']): Promise<ScriptedServer> {
  const arrived: Arrived[] = [];
  const scripted = { arrived, answer } as unknown as ScriptedServer & { origin: string };
  const server: Server = createServer(async (request, response) => {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const text = Buffer.concat(pieces).toString('utf8');
    const { method = '', url = '', headers } = request;
    const one = { method, path: url, headers, text, body: text === '' ? undefined : JSON.parse(text) };
    arrived.push(one);
    const given = scripted.answer(one);
    if ('raw' in given) return given.raw(response);
    const { status = 200, body, text: said = JSON.stringify(body ?? {}) } = given;
    response.writeHead(status, { 'content-type': 'application/json', ...given.headers }).end(said);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  scripted.origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  scripted.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return scripted;
}
