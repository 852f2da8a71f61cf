import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type AwsSite, connectAwsSite } from '../../../functions-aws/adapters/site.ts';
import { type AzureSite, connectAzureSite } from '../../../functions-azure/adapters/site.ts';
import { openAiBackend } from '../../../shared/inference/openai.ts';
import { type AwsEmulator, startAwsEmulator } from '../../aws-emulator/index.ts';
import { connectionStringTo } from '../../azure-emulator/account.ts';
import { type AzureEmulator, startAzureEmulator } from '../../azure-emulator/index.ts';
import { serviceBusConnection } from '../../config.ts';
import { type ModelServer, startModelServer } from '../../model-server/index.ts';
import { type FaultProxy, type RouteSpec, startProxy } from '../../proxy/index.ts';
import { createFaultBoard, type FaultBoard } from '../board.ts';
import type { FaultOrder } from '../order.ts';

/** The real services behind the real routes, called by the real adapters. */
let aws: AwsEmulator;
let azure: AzureEmulator;
let model: ModelServer;
let proxy: FaultProxy;
let board: FaultBoard;
let s3: AwsSite;
let bus: AzureSite;
const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-faults-'));
const timeouts = { connectMs: 300, requestMs: 400 };
const bytes = new TextEncoder().encode('bytes');

beforeAll(async () => {
  aws = await startAwsEmulator({
    buckets: ['journal', 'state'],
    queues: [{ name: 'work', visibilityTimeoutS: 5, maxReceiveCount: 100, dlq: 'work-dlq' }],
  });
  azure = await startAzureEmulator({
    dataDir,
    containers: ['journal', 'state'],
    queues: [{ name: 'work', lockDurationMs: 5_000, maxDeliveryCount: 100 }],
  });
  model = await startModelServer({ name: 'aws' });
  const to = (port: number) => ({ port: 0, target: () => ({ host: '127.0.0.1', port }) });
  const specs: RouteSpec[] = [
    { from: 'aws', site: 'aws', service: 'store', protocol: 's3', ...to(aws.port) },
    { from: 'aws', site: 'aws', service: 'queue', protocol: 'sqs', ...to(aws.port) },
    {
      from: 'aws',
      site: 'azure',
      service: 'store',
      protocol: 'blob',
      ...to(azure.blob.port),
    },
    { from: 'aws', site: 'azure', service: 'queue', protocol: 'amqp', ...to(azure.serviceBus.amqpPort) },
    { from: 'aws', site: 'azure', service: 'queue-admin', protocol: 'atom', ...to(azure.serviceBus.adminPort) },
    { from: 'aws', site: 'aws', service: 'model', protocol: 'openai', ...to(model.port) },
  ];
  proxy = await startProxy(specs);
  board = createFaultBoard({ site: 'aws', proxy, kill: () => {} });
  const at = (route: number) => `http://127.0.0.1:${proxy.routes[route]!.port}`;
  const queueUrl = (name: string) => `${at(1)}/000000000000/${name}`;
  s3 = connectAwsSite({
    id: 'aws',
    region: 'us-east-1',
    endpoint: at(0),
    credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    journalBucket: 'journal',
    stateBucket: 'state',
    intakeQueueUrl: queueUrl('work'),
    workQueueUrl: queueUrl('work'),
    intakeDlqUrl: queueUrl('work-dlq'),
    workDlqUrl: queueUrl('work-dlq'),
    timeouts,
  });
  bus = connectAzureSite({
    id: 'azure',
    blobEndpoint: `${at(2)}/devstoreaccount1`,
    storageConnectionString: connectionStringTo(`${at(2)}/devstoreaccount1`),
    serviceBusNamespace: '127.0.0.1',
    serviceBusConnectionString: serviceBusConnection(proxy.routes[3]!.port),
    administrationEndpoint: at(4),
    journalContainer: 'journal',
    stateContainer: 'state',
    intakeQueue: 'work',
    workQueue: 'work',
    timeouts,
  });
});
afterEach(() => board.clear());
afterAll(async () => {
  await Promise.all([s3.close(), bus.close()]);
  await proxy.close();
  await Promise.all([aws.close(), azure.close(), model.close()]);
  rmSync(dataDir, { recursive: true, force: true });
});

let injected = 0;
const inject = (order: Partial<FaultOrder> & Pick<FaultOrder, 'kind' | 'site'>) =>
  board.inject(`fault-${injected++}`, { ttlMs: 60_000, ...order });

/** Name and code of what a call rejects with; `fine` where it does not. */
async function outcome(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'fine',
    ({ name, code }: { name: string; code: string }) => `${name} ${code}`,
  );
}

let keys = 0;
const site = (name: string) => (name === 'aws' ? s3 : bus);
const write = (name: string) => outcome(site(name).journal.putIfAbsent(`key-${keys++}`, bytes));
const read = (name: string) => outcome(site(name).journal.get('missing'));
const send = (name: string) => outcome(site(name).work.send([{ id: `m${keys++}`, body: '{}' }]));
const receive = (name: string) => outcome(site(name).work.receive({ max: 1, waitMs: 200 }));
const depth = (name: string) => outcome(site(name).work.depth());

const refused = 'SiteUnavailableError refused';
const credentials = 'SiteUnavailableError credentials';
const throttled = 'TransientError throttled';

describe.each(['aws', 'azure'] as const)('the store of %s', (name) => {
  test.each<[FaultOrder['kind'], string, RegExp]>([
    ['refuse', refused, /^SiteUnavailableError refused$/],
    ['reset', 'SiteUnavailableError connection_lost', /^(OutcomeUnknownError|SiteUnavailableError)/],
    ['blackhole', 'SiteUnavailableError', /^(OutcomeUnknownError|SiteUnavailableError)/],
    ['error', 'SiteUnavailableError server_error', /^(OutcomeUnknownError|SiteUnavailableError)/],
    ['throttle', throttled, /^TransientError throttled$/],
    ['expired-credentials', credentials, /^SiteUnavailableError credentials$/],
    ['readonly', 'fine', /^SiteUnavailableError credentials$/],
  ])(
    '%s: a read ends as "%s", a write as its adapter maps it, and both work when it is over',
    async (kind, reads, writes) => {
      await write(name);
      expect(await inject({ site: name, service: 'store', kind })).toBe(1);
      expect(await read(name)).toMatch(reads);
      expect(await write(name)).toMatch(writes);
      await board.clear();
      expect([await read(name), await write(name)]).toEqual(['fine', 'fine']);
    },
  );

  test('expired-credentials: a HEAD, whose reply has no body to say so, means the same', async () => {
    await inject({ site: name, service: 'store', kind: 'expired-credentials' });
    expect(await outcome(site(name).journal.head('missing'))).toBe(credentials);
  });

  test('a large body passes unharmed while a fault holds that strikes nothing of it', async () => {
    await inject({ site: name, service: 'store', kind: 'readonly' });
    await board.clear();
    const large = crypto.getRandomValues(new Uint8Array(60_000));
    const body = Buffer.concat(Array.from({ length: 100 }, () => large));
    await inject({ site: name, service: 'store', kind: 'delay', delayMs: 1, share: 0.5 });
    const key = `key-${keys++}`;
    expect(await site(name).journal.putIfAbsent(key, body)).toMatchObject({ status: 'created' });
    const { bytes: found } = (await site(name).journal.get(key))!;
    expect(Buffer.compare(found, body)).toBe(0);
  });

  test('partial: the same share of requests fails whenever the seed is the same', async () => {
    const run = async () => {
      await inject({ site: name, service: 'store', kind: 'partial', share: 0.5, seed: 7 });
      const all: string[] = [];
      for (let i = 0; i < 6; i++) all.push(await read(name));
      await board.clear();
      return all;
    };
    const first = await run();
    expect(await run()).toEqual(first);
  });
});

describe.each(['aws', 'azure'] as const)('the queue of %s', (name) => {
  test.each<[FaultOrder['kind'], RegExp]>([
    ['refuse', /^SiteUnavailableError refused$/],
    ['reset', /^SiteUnavailableError/],
    ['error', /^SiteUnavailableError/],
    ['throttle', /^TransientError throttled$/],
    ['expired-credentials', /^SiteUnavailableError credentials$/],
  ])(
    '%s: sending, receiving and counting reject as the adapter maps it, and work when it is over',
    async (kind, error) => {
      expect([await send(name), await receive(name), await depth(name)]).toEqual(['fine', 'fine', 'fine']);
      await inject({ site: name, service: 'queue', kind });
      for (const call of [send, receive, depth]) expect(await call(name)).toMatch(error);
      await board.clear();
      expect([await send(name), await receive(name), await depth(name)]).toEqual(['fine', 'fine', 'fine']);
    },
    60_000,
  );
});

describe('the model', () => {
  const ask = async (asked = 'm') => {
    const baseUrl = `http://127.0.0.1:${proxy.routes[5]!.port}/v1`;
    const backend = openAiBackend({ name: 'aws', baseUrl, fetch, now: Date.now });
    const body = { model: asked, input: 'a sentence' };
    const reply = await backend.call({ endpoint: '/v1/embeddings', body, signal: AbortSignal.timeout(500) });
    return 'status' in reply ? `${reply.kind} ${reply.status}` : reply.kind;
  };

  test.each<[FaultOrder['kind'], string]>([
    ['refuse', 'unreachable'],
    ['reset', 'unreachable'],
    ['blackhole', 'timeout'],
    ['hang', 'timeout'],
    ['error', 'answered 500'],
    ['throttle', 'answered 429'],
    ['expired-credentials', 'answered 401'],
  ])('%s: a call ends as %s, and is answered when it is over', async (kind, reply) => {
    await inject({ site: 'aws', service: 'model', kind });
    expect(await ask()).toBe(reply);
    await board.clear();
    expect(await ask()).toBe('answered 200');
  });

  test.each(['throttle', 'refuse'] as const)('%s of one model leaves the others alone', async (kind) => {
    await inject({ site: 'aws', service: 'model', kind, model: 'sick' });
    expect(await ask('well')).toBe('answered 200');
    expect(await ask('sick')).not.toBe('answered 200');
  });

  test('a call that has given up on a model that hangs is not made later', async () => {
    const before = model.counters().totals.calls;
    await inject({ site: 'aws', service: 'model', kind: 'hang' });
    expect(await ask()).toBe('timeout');
    // The end of its connection is on its way to the gate, through two sockets of this process.
    for (let turns = 0; turns < 100; turns++) await new Promise(setImmediate);
    await board.clear();
    expect(await ask()).toBe('answered 200');
    expect(model.counters().totals.calls).toBe(before + 1);
  });
});

test('what is under way when requests begin to be answered is finished first', async () => {
  const big = Buffer.alloc(3_000_000, 'x');
  const writes = Array.from({ length: 5 }, (_, i) => outcome(s3.journal.putIfAbsent(`under-way-${i}`, big)));
  await inject({ site: 'aws', service: 'store', kind: 'throttle' });
  expect((await Promise.all(writes)).filter((each) => each !== 'fine' && each !== throttled)).toEqual([]);
});
