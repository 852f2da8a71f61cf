import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ServiceBusClient } from '@azure/service-bus';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { buildFixture } from '../../../../test/fixtures/functions/build.ts';
import { startDirector } from '../../../../test/fixtures/functions/director.ts';
import { type ServiceBusEmulator, startServiceBusEmulator } from '../../../servicebus-emulator/src/index.ts';
import type { FunctionsOrder, FunctionsReady } from '../main.ts';

interface Call {
  functionName: string;
  message?: unknown;
  triggerMetadata?: Record<string, unknown>;
  timer?: unknown;
}

const bodyBytesMax = 20_000_000;
let fixture: Awaited<ReturnType<typeof buildFixture>>;
let hostJson: string;
let director: Awaited<ReturnType<typeof startDirector<Call>>>;
let bus: ServiceBusEmulator;
let client: ServiceBusClient;
let host: ChildProcess;
let base: string;

beforeAll(async () => {
  fixture = await buildFixture('functions');
  hostJson = join(dirname(fixture.bundle), 'host.json');
  const serviceBus = { maxConcurrentCalls: 2, maxAutoLockRenewalDuration: '00:01:00' };
  const extensions = { http: { routePrefix: '' }, serviceBus };
  await writeFile(hostJson, JSON.stringify({ version: '2.0', functionTimeout: '00:00:05', extensions }));
});
afterAll(() => fixture.remove());

beforeEach(async () => {
  director = await startDirector<Call>(({ functionName }) => (functionName === 'tick' ? {} : undefined));
  bus = await startServiceBusEmulator({ queues: [{ name: 'work', lockDurationMs: 1_000, maxDeliveryCount: 3 }] });
  client = new ServiceBusClient(bus.connectionString);
  await startHost();
});

async function startHost() {
  host = fork(join(import.meta.dirname, '../main.ts'), {
    execArgv: [],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: {
      ...process.env,
      DIRECTOR_URL: director.url,
      QUEUE: 'work',
      BUS: bus.connectionString,
      FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: String(bodyBytesMax),
    },
  });
  host.send({ bundle: fixture.bundle, hostJson } satisfies FunctionsOrder);
  const [ready] = (await once(host, 'message')) as [FunctionsReady];
  base = `http://127.0.0.1:${ready.port}`;
  return ready;
}

async function endHost() {
  if (host.exitCode !== null || host.signalCode !== null) return;
  host.kill('SIGKILL');
  await once(host, 'exit');
}

afterEach(async () => {
  await endHost();
  await client.close();
  await bus.close();
  await director.close();
});

async function send(...bodies: unknown[]) {
  await client.createSender('work').sendMessages(bodies.map((body, i) => ({ body, messageId: `m${i}` })));
}

/** The next invocation of the queue's function. */
async function nextMessage() {
  for (;;) {
    const call = await director.next();
    if (call.body.functionName === 'work') return call;
  }
}

const left = () => bus.queue('work').counts();

async function until(claim: () => boolean) {
  while (!claim()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('a message comes with its metadata and is completed when the function returns', async () => {
  await send(JSON.stringify({ v: 1 }));
  const { body, direct } = await nextMessage();
  expect(body.message).toBe('{"v":1}');
  expect(body.triggerMetadata).toMatchObject({ messageId: 'm0', deliveryCount: 1, applicationProperties: {} });
  direct({});
  await until(() => left().active === 0);
});

test('a message whose function throws comes again, and is dead-lettered after its last delivery', async () => {
  await send('bad');
  for (const deliveryCount of [1, 2, 3]) {
    const { body, direct } = await nextMessage();
    expect(body.triggerMetadata!.deliveryCount).toBe(deliveryCount);
    direct({ throws: 'no' });
  }
  await until(() => left().deadLetter === 1);
});

test('invocations run at once up to maxConcurrentCalls, and their locks are renewed meanwhile', async () => {
  await send('a', 'b', 'c');
  const calls = [await nextMessage(), await nextMessage()];
  // Longer than a lock lasts.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  expect(calls.map(({ body }) => body.message).sort()).toEqual(['a', 'b']);
  for (const { direct } of calls) direct({});
  const last = await nextMessage();
  expect(last.body).toMatchObject({ message: 'c', triggerMetadata: { deliveryCount: 1 } });
  last.direct({});
  await until(() => left().active === 0);
});

test('a host that is killed in the middle loses nothing: the next one gets the message when the lock ends', async () => {
  await send('held');
  await nextMessage();
  await endHost();
  await startHost();
  const { body, direct } = await nextMessage();
  expect(body).toMatchObject({ message: 'held', triggerMetadata: { deliveryCount: 2 } });
  direct({});
});

test('a function that outlives functionTimeout takes the host down', async () => {
  await send('endless');
  (await nextMessage()).direct({ does: 'hang' });
  const [code] = await once(host, 'exit');
  expect(code).toBe(1);
});

test('the host ends when its parent is gone', async () => {
  host.disconnect();
  const [code] = await once(host, 'exit');
  expect(code).toBe(0);
});

test('HTTP: method, address, parameters and body arrive, status, headers and body come back', async () => {
  const reply = await fetch(`${base}/echo/a%20b/c/d?q=1&q=2`, { method: 'POST', body: 'ping' });
  expect([reply.status, await reply.text()]).toEqual([201, 'ping']);
  expect(Object.fromEntries(reply.headers)).toMatchObject({
    'x-method': 'POST',
    'x-url': `${base}/echo/a%20b/c/d?q=1&q=2`,
    'x-param': 'a b+c/d',
  });
  expect((await fetch(`${base}/echo/x/y`, { method: 'HEAD' })).headers.get('x-method')).toBe('HEAD');
});

test('HTTP: a body is streamed both ways: the first bytes are back before the last are sent', async () => {
  const { readable: body, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const more = writable.getWriter();
  void more.write(Buffer.from('first'));
  const reply = await fetch(`${base}/echo/x/y`, { method: 'POST', body, duplex: 'half' } as RequestInit);
  const reader = reply.body!.getReader();
  expect(Buffer.from((await reader.read()).value!).toString()).toBe('first');
  void more.write(Buffer.from('last'));
  void more.close();
  expect(Buffer.from((await reader.read()).value!).toString()).toBe('last');
});

test('HTTP: no route is a 404, a function that throws a 500, both without a body', async () => {
  const unknown = await fetch(`${base}/nothing`, { method: 'POST', body: 'x' });
  expect([unknown.status, await unknown.text()]).toEqual([404, '']);
  expect((await fetch(`${base}/echo/x/y`, { method: 'DELETE' })).status).toBe(404);
  const failing = fetch(`${base}/fail`, { method: 'POST', body: new Uint8Array(5_000_000) });
  (await director.next()).direct({ throws: 'no' });
  expect([(await failing).status, await (await failing).text()]).toEqual([500, '']);
});

test('HTTP: a body up to the limit passes, one beyond it is a 413, with a length or in chunks', async () => {
  const post = (body: RequestInit['body']) =>
    fetch(`${base}/count`, { method: 'POST', body, duplex: 'half' } as RequestInit);
  expect(await (await post(new Uint8Array(bodyBytesMax))).json()).toBe(bodyBytesMax);
  const tooLarge = new Uint8Array(bodyBytesMax + 1);
  expect((await post(tooLarge)).status).toBe(413);
  expect((await post(new Blob([tooLarge]).stream())).status).toBe(413);
});

test('a timer calls its function with its schedule, again and again', async () => {
  const seen: Call[] = [];
  await endHost();
  await director.close();
  director = await startDirector<Call>((call) => {
    if (call.functionName === 'tick') seen.push(call);
    return {};
  });
  await startHost();
  await until(() => seen.length >= 2);
  expect(seen[0]!.timer).toMatchObject({ isPastDue: false, schedule: { adjustForDST: true } });
});
