import { afterEach, expect, jest, test } from '@jest/globals';
import type { LocalPorts } from '../../ports.ts';
import { type FaultProxy, type RouteSpec, startProxy } from '../../proxy/index.ts';
import { createFaultBoard } from '../board.ts';
import { faultControl } from '../index.ts';
import { type FaultOrder, isStruck, parseFaultOrder, routeFault } from '../order.ts';
import { serveFaults } from '../server.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

const spec = (from: RouteSpec['from'], site: RouteSpec['site'], service: RouteSpec['service']) =>
  ({ from, site, service, protocol: 's3', port: 0, target: () => undefined }) satisfies RouteSpec;

/** A process with a few routes, as a cloud has them. */
async function cloud(from: 'aws' | 'azure') {
  const specs = [spec(from, 'aws', 'store'), spec(from, 'azure', 'store'), spec(from, 'witness', 'store')];
  const proxy: FaultProxy = await startProxy(specs);
  const functions = { freeze: jest.fn(), stop: jest.fn(), kill: jest.fn() };
  const kill = jest.fn();
  const board = createFaultBoard({ site: from, proxy, functions, kill });
  const served = await serveFaults(board, 0);
  open.push(proxy, served);
  return { board, functions, kill, port: served.port };
}

const controlOf = (ports: { aws?: number; azure?: number }) =>
  // Port 9 of this machine is nobody's.
  faultControl({
    aws: { faults: ports.aws ?? 9 },
    azure: { faults: ports.azure ?? 9 },
    witnessFaults: 9,
  } as LocalPorts);

const order = (more: Partial<FaultOrder>): FaultOrder => ({ site: 'aws', kind: 'refuse', ttlMs: 60_000, ...more });

test('a fault is injected in every process that calls the service, under one id, and listed once', async () => {
  const [aws, azure] = [await cloud('aws'), await cloud('azure')];
  const control = controlOf({ aws: aws.port, azure: azure.port });
  const injected = await control.inject({ site: 'aws', service: 'store', kind: 'refuse', ttlMs: 60_000 });
  expect(injected).toMatchObject({ struck: 2, dark: ['witness'] });
  expect(await control.list()).toEqual([
    {
      id: injected.id,
      ...{ site: 'aws', service: 'store', kind: 'refuse', ttlMs: 60_000 },
      remainingMs: expect.any(Number),
    },
  ]);
  expect(await control.clear('another')).toBe(0);
  expect(await control.clear(injected.id)).toBe(1);
  expect(await control.list()).toEqual([]);
});

test('a fault ends by itself when its time is over, with nobody there to end it', async () => {
  const aws = await cloud('aws');
  await controlOf({ aws: aws.port }).inject({ site: 'aws', service: 'store', kind: 'refuse', ttlMs: 20 });
  while (aws.board.list().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

test('two faults say that the functions freeze: they thaw when both are over', async () => {
  const { board, functions } = await cloud('aws');
  await board.inject('one', order({ service: 'functions', kind: 'freeze' }));
  await board.inject('two', order({ service: 'functions', kind: 'freeze' }));
  await board.clear('one');
  expect(functions.freeze).toHaveBeenLastCalledWith(true);
  await board.clear('two');
  expect(functions.freeze).toHaveBeenLastCalledWith(false);
});

test('kill strikes the functions or the whole site that is named, and stays in no list', async () => {
  const { board, functions, kill } = await cloud('aws');
  expect(await board.inject('one', order({ site: 'azure', kind: 'kill' }))).toBe(0);
  expect(await board.inject('two', order({ service: 'functions', kind: 'kill' }))).toBe(1);
  expect([functions.kill, kill].map(({ mock }) => mock.calls.length)).toEqual([1, 0]);
  expect(await board.inject('three', order({ kind: 'kill' }))).toBe(1);
  expect(kill).toHaveBeenCalledTimes(1);
  expect(board.list()).toEqual([]);
});

test('what makes no sense is refused by every process, and named; with nobody there it says so', async () => {
  const aws = await cloud('aws');
  const control = controlOf({ aws: aws.port });
  await expect(control.inject({ site: 'aws', service: 'store', kind: 'hang' })).rejects.toMatchObject({
    code: 'refused',
    message: expect.stringContaining("none of aws/store's"),
  });
  await expect(control.inject({ site: 'azure', service: 'functions', kind: 'kill' })).rejects.toMatchObject({
    code: 'unreachable',
  });
  await expect(controlOf({}).list()).rejects.toMatchObject({ code: 'unreachable' });
});

test('a page of another origin can set nothing', async () => {
  const { port } = await cloud('aws');
  const put = (headers: Record<string, string>) =>
    fetch(`http://127.0.0.1:${port}/faults/x`, { method: 'PUT', headers, body: JSON.stringify(order({})) });
  expect((await put({ 'content-type': 'text/plain' })).status).toBe(415);
  expect((await put({ 'content-type': 'application/json' })).status).toBe(200);
});

const link = (direction?: FaultOrder['direction']) => order({ service: 'link', direction });
test.each<[FaultOrder, RouteSpec['from'], RouteSpec['site'], RouteSpec['service'], boolean]>([
  [link(), 'aws', 'azure', 'store', true],
  [link(), 'azure', 'aws', 'queue', true],
  [link('to'), 'aws', 'azure', 'store', false],
  [link('to'), 'azure', 'aws', 'store', true],
  [link('from'), 'aws', 'azure', 'store', true],
  [link('from'), 'azure', 'aws', 'store', false],
  [link(), 'aws', 'aws', 'store', false],
  [link(), 'aws', 'witness', 'store', false],
  [link(), 'observer', 'aws', 'store', false],
  [order({}), 'aws', 'witness', 'store', true],
  [order({}), 'client', 'aws', 'api', true],
  [order({}), 'azure', 'azure', 'store', false],
  [order({ service: 'queue' }), 'trigger', 'aws', 'queue', true],
  [order({ service: 'queue' }), 'aws', 'aws', 'store', false],
  [order({ site: 'witness' }), 'observer', 'witness', 'store', true],
])('%j strikes what %s calls of %s/%s: %s', (asked, from, site, service, struck) => {
  expect(isStruck(asked, { from, site, service, protocol: 's3' })).toBe(struck);
});

test('a direction is of bytes for a service, and of callers for a link', () => {
  const asked = { kind: 'blackhole', direction: 'from' } as const;
  expect(routeFault(order({ ...asked, service: 'store' }))).toEqual({ kind: 'blackhole', way: 'back' });
  expect(routeFault(order({ ...asked, service: 'link' }))).toEqual({ kind: 'blackhole' });
});

test.each([
  [{ site: 'gcp', kind: 'refuse' }, 'site'],
  [{ site: 'aws', kind: 'explode' }, 'kind'],
  [{ site: 'aws', service: 'queue', kind: 'readonly' }, 'kind: readonly'],
  [{ site: 'witness', service: 'store', kind: 'refuse' }, 'service'],
  [{ site: 'aws', service: 'store', kind: 'delay' }, 'delayMs'],
  [{ site: 'aws', service: 'store', kind: 'delay', delayMs: -1 }, 'delayMs'],
  [{ site: 'aws', service: 'store', kind: 'refuse', share: 0 }, 'share'],
  [{ site: 'aws', service: 'store', kind: 'refuse', model: 'm' }, 'model'],
  [{ site: 'aws', service: 'store', kind: 'reset', direction: 'to' }, 'direction'],
  [{ site: 'aws', service: 'functions', kind: 'kill', share: 0.5 }, 'kind: kill'],
  [{ site: 'aws', kind: 'refuse', ttlMs: 0 }, 'ttlMs'],
  [{ site: 'aws', kind: 'refuse', ttlMs: 1e12 }, 'ttlMs'],
  [{ site: 'aws', kind: 'refuse', colour: 'red' }, 'fault'],
  [null, 'fault'],
])('%j is no fault: what is wrong is named', (value, named) => {
  expect(parseFaultOrder(value)).toContain(named);
});
