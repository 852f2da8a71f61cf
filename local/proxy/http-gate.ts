import { randomUUID } from 'node:crypto';
import { Agent, createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, type LiveFault, touches } from './faults.ts';
import type { Gate } from './gate.ts';
import { reset } from './pair.ts';
import { type Refusal, type RefusalKind, refusalOf } from './refusals.ts';
import type { RouteSpec } from './route.ts';

/** Clients keep connections for this long; a server that is quicker to close races with their next request. */
const KEEP_ALIVE_MS = 75_000;
/** A larger body is not searched for the model that it names. */
const SEARCHED_BYTES_MAX = 64 * 1024 * 1024;

/** What is to be done with a reply before it is passed on. */
type HoldReply = () => Promise<unknown>;

/**
 * A reverse proxy that changes nothing of what it passes (`Host`, path and headers stay as they were signed; bodies
 * stream), and lets faults answer some requests, lose them or hold them up.
 */
export async function startHttpGate(spec: RouteSpec, faults: () => readonly LiveFault[]): Promise<Gate> {
  const agent = new Agent({ keepAlive: false });
  const server = createServer(
    { requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: KEEP_ALIVE_MS },
    (request, response) => {
      serve(request, response).catch(() => reset(request.socket));
    },
  );

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.on('error', () => {});
    response.on('error', () => {});
    let isGone = false;
    const gone = new Promise<void>((resolve) => {
      const leave = () => {
        isGone = true;
        resolve();
      };
      // Who ends its side has given up: no client of ours half-closes. Node's server would still serve it.
      request.socket.once('end', leave).once('close', leave);
    });
    const holdReply: HoldReply[] = [];
    let body: Buffer | undefined;
    for (const live of faults()) {
      const { fault } = live;
      if (fault.kind === 'readonly' && isRead(request)) continue;
      if (fault.model !== undefined) {
        body ??= await readAll(request);
        if (modelOf(body) !== fault.model) continue;
      }
      if (!live.strikes()) continue;
      if (fault.kind === 'refuse' || fault.kind === 'reset') {
        reset(request.socket);
        return;
      }
      const hold = holdOf(live, gone);
      if (hold === undefined) return refuse(request, response, refusalOf(spec.protocol, fault.kind as RefusalKind));
      if (touches(fault, 'back') && fault.kind !== 'hang') holdReply.push(hold);
      if (touches(fault, 'there')) await hold();
    }
    if (isGone) return reset(request.socket);
    forward(request, body, response, holdReply);
  }

  function forward(
    request: IncomingMessage,
    body: Buffer | undefined,
    response: ServerResponse,
    holdReply: readonly HoldReply[],
  ): void {
    const target = spec.target();
    if (!target) {
      reset(request.socket);
      return;
    }
    const { method, url: path, rawHeaders } = request;
    const sent = httpRequest({ ...target, method, path, headers: rawHeaders, setHost: false, agent });
    const broken = () => reset(request.socket);
    sent.on('error', broken);
    response.once('close', () => sent.destroy());
    sent.on('response', async (reply) => {
      for (const hold of holdReply) await hold();
      const leaves = faults().length === 0 ? ['connection', 'close'] : [];
      response.writeHead(reply.statusCode!, reply.statusMessage, [...ofMessage(reply.rawHeaders), ...leaves]);
      pipeline(reply, response, (error) => error && broken());
    });
    if (body) sent.end(body);
    else pipeline(request, sent, () => {});
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      agent.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** How long a struck request waits, for faults that hold up; `undefined` for those that answer. */
function holdOf({ fault, ended }: LiveFault, gone: Promise<void>): HoldReply | undefined {
  if (fault.kind === 'blackhole' || fault.kind === 'hang') return () => Promise.race([ended, gone]);
  return fault.kind === 'delay' ? () => Promise.race([sleep(fault.ms ?? 0), gone]) : undefined;
}

/** As services do, without waiting for the rest of a body that they do not want. */
function refuse(request: IncomingMessage, response: ServerResponse, { status, headers, body }: Refusal): void {
  const id = randomUUID();
  response.writeHead(status, {
    ...headers,
    'content-length': String(Buffer.byteLength(body)),
    'x-request-id': id,
    'x-holdfast-fault': 'injected',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
  request.resume();
}

function isRead({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** Without what concerns the connection to the service. */
function ofMessage(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, at) => !/^(connection|keep-alive)$/i.test(rawHeaders[at - (at % 2)]!));
}

async function readAll(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function modelOf(body: Buffer): Fault['model'] {
  if (body.length > SEARCHED_BYTES_MAX) return undefined;
  try {
    const { model } = JSON.parse(body.toString()) as { model?: unknown };
    return typeof model === 'string' ? model : undefined;
  } catch {
    return undefined;
  }
}
