import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Broker } from '../broker.ts';
import { asFault, entityNotFound, ServiceBusFault } from '../fault.ts';
import type { EmulatorLogger } from '../logger.ts';
import { errorDocument, feed, namespaceEntry, parseQueueDescription, queueEntry } from './atom.ts';

const BODY_BYTES_MAX = 256 * 1_024;
const PAGE_SIZE_DEFAULT = 100;

interface Answer {
  status: number;
  body?: string;
}

/** The administration API over plain HTTP: what `ServiceBusAdministrationClient` asks about queues. Credentials are not checked. */
export class AdminServer {
  private readonly broker: Broker;
  private readonly logger: EmulatorLogger;
  private readonly server: Server;

  constructor(broker: Broker, logger: EmulatorLogger) {
    this.broker = broker;
    this.logger = logger;
    this.server = createServer((request, response) => this.respond(request, response));
  }

  /** @returns the port it listens on. */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, () => resolve());
    });
    return (this.server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    this.server.closeAllConnections();
    await closed;
  }

  private async respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.handle(request);
      // As with messages: what was acknowledged survives.
      await new Promise<void>((resolve) => this.broker.store.whenDurable(resolve));
    } catch (cause) {
      const { status, message } = asFault(cause);
      this.logger.debug('admin request refused', { method: request.method, url: request.url, status, error: message });
      answer = { status, body: errorDocument(status, message) };
    }
    response.writeHead(answer.status, { 'content-type': 'application/atom+xml;type=entry;charset=utf-8' });
    response.end(answer.body);
  }

  private async handle(request: IncomingMessage): Promise<Answer> {
    const baseUrl = `http://${request.headers.host ?? 'localhost'}`;
    const url = new URL(request.url ?? '/', baseUrl);
    const path = decodePath(url.pathname);
    switch (request.method) {
      case 'GET':
        return { status: 200, body: this.get(path, url, baseUrl) };
      case 'PUT':
        return this.put(path, await readBody(request), request.headers['if-match'] !== undefined, baseUrl);
      case 'DELETE':
        this.broker.deleteQueue(path);
        return { status: 200 };
      default:
        throw new ServiceBusFault('amqp:not-allowed', 405, `${request.method} is not supported.`);
    }
  }

  private get(path: string, url: URL, baseUrl: string): string {
    const now = this.broker.clock();
    if (path === '$namespaceinfo') return namespaceEntry(baseUrl, now);
    if (path.toLowerCase() === '$resources/queues') return this.list(url, baseUrl, now);
    const queue = this.broker.find(path);
    if (queue) return queueEntry(queue, baseUrl);
    // What is not there is an empty feed, not a 404. @source https://github.com/Azure/azure-sdk-for-js (serviceBusAtomManagementClient.ts, getResource) 2026-11
    return feed({ title: 'Publicly Listed Services', url: url.href, entries: [], now });
  }

  private list(url: URL, baseUrl: string, now: number): string {
    const skip = Number(url.searchParams.get('$skip') ?? 0) || 0;
    const top = Number(url.searchParams.get('$top') ?? PAGE_SIZE_DEFAULT) || PAGE_SIZE_DEFAULT;
    const queues = this.broker.list();
    const page = queues.slice(skip, skip + top);
    let next: string | undefined;
    if (skip + top < queues.length) {
      const nextUrl = new URL(url);
      nextUrl.searchParams.set('$skip', String(skip + top));
      nextUrl.searchParams.set('$top', String(top));
      next = nextUrl.href;
    }
    return feed({
      title: 'Queues',
      url: url.href,
      next,
      entries: page.map((queue) => queueEntry(queue, baseUrl)),
      now,
    });
  }

  private put(path: string, body: string, isUpdate: boolean, baseUrl: string): Answer {
    const current = isUpdate ? this.broker.find(path) : undefined;
    if (isUpdate && !current) throw entityNotFound(path);
    const { config, status } = parseQueueDescription(body, path, current);
    const queue = isUpdate
      ? this.broker.updateQueue(path, config, status)
      : this.broker.createQueue(config, status ?? 'Active');
    return { status: isUpdate ? 200 : 201, body: queueEntry(queue, baseUrl) };
  }
}

function decodePath(pathname: string): string {
  try {
    return decodeURIComponent(pathname.slice(1));
  } catch {
    throw new RangeError(`'${pathname}' is not a path.`);
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > BODY_BYTES_MAX) throw new RangeError(`A description has at most ${BODY_BYTES_MAX} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
