import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import type { RegisteredFunction } from '../core-module.ts';
import { createHttpFront } from '../http-front.ts';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listen(server: Server): Promise<string> {
  servers.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a worker that closes an idle connection in the moment of the next request loses no request', async () => {
  const used = new WeakSet();
  const worker = createServer((request, response) => {
    if (used.has(request.socket)) return void request.socket.destroy();
    used.add(request.socket);
    response.end('answered');
  });
  const base = await listen(
    createHttpFront({
      routes: [{ registered: { metadata: { name: 'any' } } as RegisteredFunction, match: () => ({}) }],
      invoker: { running: 0, invoke: async () => {} },
      workerUri: await listen(worker),
      log: { debug() {}, info() {}, warn() {}, error() {} },
    }),
  );
  for (let request = 0; request < 3; request++) {
    const reply = await fetch(base, { method: 'POST', body: 'x' });
    expect([reply.status, await reply.text()]).toEqual([200, 'answered']);
  }
});
