import { Agent, createServer, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Network } from './support.ts';

/**
 * An HTTP proxy between a client and one service, that loses replies and refuses connections when told to.
 *
 * @param target where the service listens, `http://127.0.0.1:4566`
 * @param isCommit tells the requests that make a write visible from all others
 */
export async function startLossyProxy(
  target: string,
  isCommit: (method: string, url: string) => boolean,
): Promise<{ url: string; network: Network; close(): Promise<void> }> {
  const upstream = new URL(target);
  const agent = new Agent({ keepAlive: true });
  let loseNext = false;
  let loseAll = false;

  const server = createServer((incoming, outgoing) => {
    const lose = loseAll || (loseNext && isCommit(incoming.method ?? '', incoming.url ?? ''));
    if (lose) loseNext = false;
    const forwarded = request(
      {
        host: upstream.hostname,
        port: upstream.port,
        method: incoming.method,
        path: incoming.url,
        headers: rawHeaders(incoming),
        agent,
      },
      (reply) => {
        if (lose) {
          reply.resume();
          reply.on('end', () => incoming.socket.destroy());
          return;
        }
        outgoing.writeHead(reply.statusCode ?? 502, reply.rawHeaders);
        reply.pipe(outgoing);
      },
    );
    forwarded.on('error', () => incoming.socket.destroy());
    outgoing.on('close', () => {
      if (!outgoing.writableFinished && !lose) forwarded.destroy();
    });
    incoming.pipe(forwarded);
  });
  // `Expect: 100-continue` is answered by the service behind us, not here.
  server.on('checkContinue', (incoming, outgoing) => {
    outgoing.writeContinue();
    server.emit('request', incoming, outgoing);
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;

  return {
    url: `http://127.0.0.1:${port}`,
    network: {
      loseNextWriteReply: () => {
        loseNext = true;
      },
      loseReplies: (on) => {
        loseAll = on;
      },
      refuse: async (on) => {
        if (!on) return await listen(port);
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        await closed;
      },
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      agent.destroy();
    },
  };
}

function rawHeaders(incoming: IncomingMessage): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {};
  for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
    const name = incoming.rawHeaders[i] as string;
    const value = incoming.rawHeaders[i + 1] as string;
    if (name.toLowerCase() === 'expect') continue;
    // A repeated header is a list; `Host` must not be one.
    headers[name] = name in headers ? [headers[name] as string, value].flat() : value;
  }
  return headers;
}
