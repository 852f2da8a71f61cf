import { createServer, get } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from '@jest/globals';
import { type FaultProxy, parseFault, type RouteSpec, startProxy } from '../index.ts';

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
  const proxy = await startProxy([{ from: 'aws', site: 'azure', service: 'store', port: 0, target, ...more }]);
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

test('refuse: a new connection is refused by the kernel, and served again once healed', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  await proxy.setFault({}, { kind: 'refuse' });
  expect(await call(proxy)).toBe('ECONNREFUSED');
  await proxy.setFault({}, undefined);
  expect(await call(proxy)).toBe('hello');
});

test('reset: standing and new connections are reset', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  await proxy.setFault({}, { kind: 'reset' });
  expect(await call(proxy)).toBe('ECONNRESET');
});

test('blackhole back: the request takes effect, its reply is lost, and comes when the fault ends', async () => {
  const { port, served } = await service();
  const proxy = await proxyTo(port);
  await proxy.setFault({}, { kind: 'blackhole', way: 'back' });
  const late = call(proxy);
  while (served() === 0) await new Promise(setImmediate);
  await proxy.setFault({}, undefined);
  expect(await late).toBe('hello');
});

test('blackhole there: the request never arrives', async () => {
  const { port, served } = await service();
  const proxy = await proxyTo(port);
  await proxy.setFault({}, { kind: 'blackhole', way: 'there' });
  expect(await call(proxy, 50)).toBe('silence');
  expect(served()).toBe(0);
});

test('delay: a round trip takes at least both delays', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  await proxy.setFault({}, { kind: 'delay', ms: 40 });
  const before = performance.now();
  expect(await call(proxy)).toBe('hello');
  expect(performance.now() - before).toBeGreaterThanOrEqual(75);
});

test('a fault with a time-to-live ends by itself', async () => {
  const { port } = await service();
  const proxy = await proxyTo(port);
  await proxy.setFault({}, { kind: 'refuse' }, 30);
  expect(await call(proxy)).toBe('ECONNREFUSED');
  while (proxy.routes[0]!.fault) await new Promise((resolve) => setTimeout(resolve, 5));
  await proxy.setFault({}, undefined);
  expect(await call(proxy)).toBe('hello');
});

test('a fault on one direction of the link leaves the other direction alone', async () => {
  const { port } = await service();
  const target = () => ({ host: '127.0.0.1', port });
  const proxy = await startProxy([
    { from: 'aws', site: 'azure', service: 'store', port: 0, target },
    { from: 'azure', site: 'azure', service: 'store', port: 0, target },
  ]);
  open.push(proxy);
  expect(await proxy.setFault({ from: 'aws', site: 'azure' }, { kind: 'refuse' })).toBe(1);
  expect(await call(proxy, 1000, 0)).toBe('ECONNREFUSED');
  expect(await call(proxy, 1000, 1)).toBe('hello');
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
      { from: 'aws', site: 'azure', service: 'store', port: 0, target },
      { from: 'aws', site: 'azure', service: 'queue', port, target },
    ]),
  ).rejects.toThrow(`127.0.0.1:${port} (aws → azure/queue)`);
});

test.each([
  [{ kind: 'delay', ms: -1 }, 'fault.ms'],
  [{ kind: 'delay', ms: 1e9 }, 'fault.ms'],
  [{ kind: 'blackhole', way: 'up' }, 'fault.way'],
  [{ kind: 'reset', way: 'back' }, 'fault.way'],
  [{ kind: 'explode' }, 'fault.kind'],
  [null, 'fault'],
])('%j is no fault: the member that is wrong is named', (value, named) => {
  expect(parseFault(value)).toContain(named);
});
