import { once } from 'node:events';
import { createServer, get } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { type Fault, type FaultProxy, liveFault, type RouteSpec, startProxy } from '../index.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function service() {
  let served = 0;
  const server = createServer((request, response) => {
    served++;
    const parts: Buffer[] = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => response.end(request.method === 'GET' ? 'hello' : String(Buffer.concat(parts).length)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  open.push({
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  });
  return { port: (server.address() as AddressInfo).port, served: () => served };
}

async function proxyTo(port: number | (() => number | undefined), more: Partial<RouteSpec> = {}) {
  const to = typeof port === 'function' ? port : () => port;
  const target = () => {
    const now = to();
    return now === undefined ? undefined : { host: '127.0.0.1', port: now };
  };
  const proxy = await startProxy([
    { from: 'aws', site: 'azure', service: 'store', protocol: 's3', port: 0, target, ...more },
  ]);
  open.push(proxy);
  return proxy;
}

/** One request on a connection of its own. `code` of the error when it fails. */
function call(proxy: FaultProxy, timeoutMs = 30_000, route = 0): Promise<string> {
  return new Promise((resolve) => {
    const request = get(
      { host: '127.0.0.1', port: proxy.routes[route]!.port, agent: false, timeout: timeoutMs },
      (reply) => {
        reply.setEncoding('utf8').on('data', resolve);
        reply.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
      },
    );
    request.on('timeout', () => {
      request.destroy();
      resolve('silence');
    });
    request.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  });
}

test('without a fault every byte passes, a large body included', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  expect(await call(proxy)).toBe('hello');
  const body = new Uint8Array(5_000_000);
  const reply = await fetch(`http://127.0.0.1:${proxy.routes[0]!.port}/`, { method: 'POST', body });
  expect(await reply.text()).toBe('5000000');
});

/** Puts a fault on a route; returns what ends it. */
async function strike(proxy: FaultProxy, fault: Fault, route = 0): Promise<() => Promise<void>> {
  const live = liveFault(fault);
  await proxy.routes[route]!.strike(live);
  return () => {
    live.end();
    return proxy.routes[route]!.heal(live);
  };
}

test('refuse: a new connection is refused by the kernel, and served again once healed', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  const heal = await strike(proxy, { kind: 'refuse' });
  expect(await call(proxy)).toBe('ECONNREFUSED');
  await heal();
  expect(await call(proxy)).toBe('hello');
});

test('reset: new connections are reset', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  await strike(proxy, { kind: 'reset' });
  expect(await call(proxy)).toBe('ECONNRESET');
});

test.each(['refuse', 'reset'] as const)('%s: a connection that stands is reset at once', async (kind) => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  const socket = connect(proxy.routes[0]!.port, '127.0.0.1');
  const broke = new Promise<string | undefined>((resolve) =>
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)),
  );
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  await once(socket, 'data');
  await strike(proxy, { kind });
  expect(await broke).toBe('ECONNRESET');
});

test('two faults hold at once, and each ends by itself', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  const open = await strike(proxy, { kind: 'refuse' });
  const end = await strike(proxy, { kind: 'error' });
  expect(await call(proxy)).toBe('ECONNREFUSED');
  await open();
  expect(await call(proxy)).toContain('InternalError');
  await end();
  expect(await call(proxy)).toBe('hello');
});

test('blackhole back: the request takes effect, its reply is lost, and comes when the fault ends', async () => {
  const { port, served } = await service();
  const proxy = await proxyTo(port);
  const heal = await strike(proxy, { kind: 'blackhole', way: 'back' });
  const late = call(proxy);
  while (served() === 0) await new Promise(setImmediate);
  await heal();
  expect(await late).toBe('hello');
});

test('blackhole there: the request never arrives, nor later, when its client has given up', async () => {
  const { port, served } = await service();
  const proxy = await proxyTo(port);
  const heal = await strike(proxy, { kind: 'blackhole', way: 'there' });
  const socket = connect(proxy.routes[0]!.port, '127.0.0.1');
  socket.end('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
  // The route has taken the request, and has seen that nobody waits for its answer.
  await once(socket.resume(), 'close');
  await heal();
  expect(await call(proxy)).toBe('hello');
  expect(served()).toBe(1);
});

test('delay: a round trip takes at least both delays', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  await strike(proxy, { kind: 'delay', ms: 40 });
  const before = performance.now();
  expect(await call(proxy)).toBe('hello');
  expect(performance.now() - before).toBeGreaterThanOrEqual(75);
});

test('a route whose target is gone resets, and follows the target to its next port', async () => {
  const { port } = await service();
  let now: number | undefined;
  const proxy = await proxyTo(() => now);
  expect(await call(proxy)).toBe('ECONNRESET');
  now = port;
  expect(await call(proxy)).toBe('hello');
});

test('a taken port is named, and no other route stays open', async () => {
  const { port } = await service();
  const target = () => undefined;
  await expect(
    startProxy([
      { from: 'aws', site: 'azure', service: 'store', protocol: 's3', port: 0, target },
      { from: 'aws', site: 'azure', service: 'queue', protocol: 'sqs', port, target },
    ]),
  ).rejects.toThrow(`127.0.0.1:${port} (aws → azure/queue)`);
});
