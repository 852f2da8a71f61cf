import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, get, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { blobError, serviceBusError } from '../../functions-azure/adapters/errors.ts';
import { agentFor } from '../../functions-azure/adapters/http.ts';
import { copyId, timesDelivered } from '../../functions-azure/adapters/messages.ts';
import { type AzureSite, connectAzureSite } from '../../functions-azure/adapters/site.ts';
import type { BlobEmulator } from '../../local/azure-emulator/blob.ts';
import { type ServiceBusEmulator, startServiceBusEmulator } from '../../local/servicebus-emulator/src/index.ts';
import { type Door, startDoor } from './door.ts';
import { type EmulatorProcess, spawnEmulator } from './emulator-process.ts';
import { patternBytes, rejectionOf, utf8 } from './support.ts';

const MiB = 1024 * 1024;
const base = {
  id: 'azure',
  blobEndpoint: 'http://127.0.0.1:9/a',
  serviceBusNamespace: '127.0.0.1',
  journalContainer: 'journal',
  stateContainer: 'state',
  intakeQueue: 'intake',
  workQueue: 'work',
};

/** What the service answers, one after another; the last one stays. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

describe('blobStore', () => {
  let server: Server;
  let site: AzureSite;
  let answers: Answer[] = [];
  let asked: string[] = [];
  /** A site whose every call may take so long: more than a busy machine takes, but where a test waits for the end of it. */
  let connect: (requestMs: number) => AzureSite;
  const shortMs = 400;

  beforeEach(async () => {
    answers = [];
    asked = [];
    server = createServer((request, response) => {
      asked.push(`${request.method} ${(request.url ?? '').replace(/^[^?]*\??/, '').replace(/&blockid=.*/, '')}`.trim());
      request.resume();
      request.on('end', () => (answers.length > 1 ? answers.shift() : answers[0])?.(request, response));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const blobEndpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}/account`;
    connect = (requestMs) =>
      connectAzureSite({
        ...base,
        blobEndpoint,
        storageConnectionString: `DefaultEndpointsProtocol=http;AccountName=account;AccountKey=a2V5;BlobEndpoint=${blobEndpoint}`,
        timeouts: { connectMs: 10_000, requestMs },
      });
    site = connect(10_000);
  });
  afterEach(async () => {
    await site.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  /** As the service does: the code in a header, and in the body where there is one. */
  const refuse =
    (status: number, code: string, headers: Record<string, string> = {}): Answer =>
    ({ method }, response) => {
      const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>scripted</Message></Error>`;
      response.writeHead(status, { 'content-type': 'application/xml', 'x-ms-error-code': code, ...headers });
      response.end(method === 'HEAD' ? undefined : body);
    };
  const created: Answer = (_, response) => response.writeHead(201, { etag: '"0x1"' }).end();
  const found =
    (body: string): Answer =>
    (_, response) =>
      response.writeHead(200, { etag: '"0x1"', 'content-length': String(body.length) }).end(body);
  const silence: Answer = () => {};
  const page =
    (names: string[], marker: string): Answer =>
    (_, response) => {
      const blobs = names.map(
        (name) =>
          `<Blob><Name>${name}</Name><Properties><Etag>0x1</Etag><Content-Length>1</Content-Length></Properties></Blob>`,
      );
      const lists = `<Blobs>${blobs.join('')}</Blobs><NextMarker>${marker}</NextMarker>`;
      response.writeHead(200, { 'content-type': 'application/xml' });
      response.end(`<?xml version="1.0"?><EnumerationResults ContainerName="state">${lists}</EnumerationResults>`);
    };
  const threeBlocks = async function* () {
    for (let i = 0; i < 9; i++) yield patternBytes(i * MiB, MiB);
  };

  test('repeats a throttled call briefly, then rejects with TransientError and what Retry-After says', async () => {
    answers = [refuse(503, 'ServerBusy', { 'retry-after': '7' })];
    const error = await rejectionOf(site.state.get('k'));
    expect(error).toMatchObject({ name: 'TransientError', code: 'throttled', retryAfterMs: 7000 });
    expect(asked).toHaveLength(1);
    answers = [refuse(503, 'ServerBusy'), refuse(429, 'TooManyRequests'), found('body')];
    expect((await site.state.get('k'))?.bytes).toEqual(utf8('body'));
  });

  test.each([
    [403, 'AuthenticationFailed'],
    [403, 'AuthorizationPermissionMismatch'],
    [401, 'InvalidAuthenticationInfo'],
    [403, 'AuthorizationFailure'],
  ])('rejects with SiteUnavailableError credentials, without repeating, on %i %s', async (status, code) => {
    answers = [refuse(status, code)];
    const error = await rejectionOf(site.state.putIfAbsent('k', utf8('x')));
    expect(error).toMatchObject({ name: 'SiteUnavailableError', code: 'credentials', where: 'azure/state' });
    expect(asked).toHaveLength(1);
  });

  test('says that the store is missing where the container is, and undefined where the blob is', async () => {
    answers = [refuse(404, 'ContainerNotFound')];
    const missing = { name: 'SiteUnavailableError', code: 'store_missing' };
    expect(await rejectionOf(site.state.get('k'))).toMatchObject(missing);
    expect(await rejectionOf(site.state.head('k'))).toMatchObject(missing);
    expect(await rejectionOf(site.state.putIfMatch('k', utf8('x'), '0x1'))).toMatchObject(missing);
    expect(await rejectionOf(site.state.delete('k'))).toMatchObject(missing);
    answers = [refuse(404, 'BlobNotFound')];
    expect(await site.state.get('k')).toBeUndefined();
    expect(await site.state.head('k')).toBeUndefined();
    expect(await site.state.putIfMatch('k', utf8('x'), '0x1')).toEqual({ status: 'stale' });
  });

  test.each([
    [409, 'BlobAlreadyExists'],
    [412, 'ConditionNotMet'],
    [409, 'BlobImmutableDueToPolicy'],
  ])('takes %i %s to a create for exists, without a further look', async (status, code) => {
    answers = [refuse(status, code)];
    expect(await site.state.putIfAbsent('k', utf8('x'))).toEqual({ status: 'exists' });
    expect(asked).toHaveLength(1);
  });

  test('does not take a 500 to a write for a failure: what stands there tells', async () => {
    answers = [refuse(500, 'OperationTimedOut'), found('mine')];
    expect(await site.state.putIfAbsent('k', utf8('mine'))).toEqual({ status: 'created', etag: '0x1' });
  });

  test('takes 409 after a lost reply for its own write if the bytes are its own', async () => {
    answers = [
      refuse(500, 'InternalError'),
      refuse(404, 'BlobNotFound'),
      refuse(409, 'BlobAlreadyExists'),
      found('mine'),
    ];
    expect(await site.state.putIfAbsent('k', utf8('mine'))).toEqual({ status: 'created', etag: '0x1' });
  });

  test('a service that accepts and never answers ends a read as unavailable and a write as unknown', async () => {
    await site.close();
    site = connect(shortMs);
    answers = [silence];
    expect(await rejectionOf(site.state.get('k'))).toMatchObject({ name: 'SiteUnavailableError', code: 'timeout' });
    expect(asked).toHaveLength(1);
    expect(await rejectionOf(site.state.putIfAbsent('k', utf8('x')))).toMatchObject({ name: 'OutcomeUnknownError' });
  });

  test('a body that stalls in its middle ends as unavailable, however often it is asked for', async () => {
    await site.close();
    site = connect(shortMs);
    answers = [
      (_, response) => {
        response.writeHead(200, { etag: '"0x1"', 'content-length': '10' }).write('half');
      },
    ];
    expect(await rejectionOf(site.state.get('k'))).toMatchObject({ name: 'SiteUnavailableError' });
  });

  test('staged blocks that somebody discarded are exists where the blob is, else to be sent again', async () => {
    answers = [created, created, created, refuse(400, 'InvalidBlockList'), found('theirs')];
    expect(await site.state.putStreamIfAbsent('k', threeBlocks())).toEqual({ status: 'exists' });
    expect(asked.slice(0, 4)).toEqual(['PUT comp=block', 'PUT comp=block', 'PUT comp=block', 'PUT comp=blocklist']);
    answers = [created, created, created, refuse(400, 'InvalidBlockList'), refuse(404, 'BlobNotFound')];
    const error = await rejectionOf(site.state.putStreamIfAbsent('k', threeBlocks()));
    expect(error).toMatchObject({ name: 'TransientError', code: 'parts_lost' });
  });

  test('goes on through short and empty pages that say there is more', async () => {
    answers = [page([], 'm1'), page([], 'm2'), page(['p/a'], 'm3'), page(['p/b'], '')];
    expect(await site.state.list('p/')).toMatchObject({ entries: [{ key: 'p/a', etag: '0x1' }], more: true });
    expect(asked).toHaveLength(3);
  });

  test('asks for one entry more, from the key on, and leaves that one out', async () => {
    answers = [page(['p/a', 'p/b', 'p/c'], 'm')];
    const listed = await site.state.list('p/', { after: 'p/a', limit: 2 });
    expect(listed).toMatchObject({ entries: [{ key: 'p/b' }, { key: 'p/c' }], more: true });
    expect(asked).toEqual([expect.stringMatching(/prefix=p%2F.*maxresults=3.*startFrom=p%2Fa/)]);
  });

  test('asks nothing where no key can follow', async () => {
    expect(await site.state.list('p/', { after: 'q' })).toEqual({ entries: [], more: false });
    expect(asked).toEqual([]);
  });

  test('removes every version of a blob where the account keeps them, and of no other', async () => {
    const versioned = connectAzureSite({
      ...base,
      storageConnectionString: `DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:${(server.address() as AddressInfo).port}/a`,
      journalVersioned: true,
    });
    const versions = [
      ['k', 'v1'],
      ['k', 'v2'],
      ['k2', 'v3'],
    ].map(([name, version]) => `<Blob><Name>${name}</Name><VersionId>${version}</VersionId><Properties/></Blob>`);
    const deleted: Answer = (_, response) => response.writeHead(202).end();
    answers = [
      deleted,
      (_, response) =>
        response
          .writeHead(200, { 'content-type': 'application/xml' })
          .end(`<?xml version="1.0"?><EnumerationResults><Blobs>${versions.join('')}</Blobs></EnumerationResults>`),
      deleted,
    ];
    await versioned.journal.delete('k');
    await versioned.close();
    expect(asked).toEqual([
      'DELETE',
      expect.stringContaining('include=versions'),
      'DELETE versionid=v1',
      'DELETE versionid=v2',
    ]);
  });

  test('a request that Blob rejects as impossible is our own bug', async () => {
    answers = [refuse(400, 'InvalidResourceName')];
    expect(await rejectionOf(site.state.putIfAbsent('k', utf8('x')))).toMatchObject({
      name: 'InvariantError',
      code: 'request_rejected',
    });
  });
});

describe('blobPresigner', () => {
  let dataDir: string;
  let emulator: EmulatorProcess<BlobEmulator>;
  let site: AzureSite;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'holdfast-blob-'));
    emulator = await spawnEmulator<BlobEmulator>('local/azure-emulator/blob.ts', 'startBlobEmulator', {
      dataDir,
      containers: ['journal', 'state'],
    });
    site = connectAzureSite({ ...base, storageConnectionString: emulator.ready.connectionString });
  });
  afterEach(async () => {
    await site.close();
    await emulator.kill();
    await rm(dataDir, { recursive: true });
  });

  test('an upload creates its one blob, once, and reads nothing', async () => {
    const { url, ...request } = await site.presigners.state.uploadTo('staging/a b%c', {
      bytes: 5,
      expiresInMs: 60_000,
    });
    const put = async (to: string) => (await fetch(to, { ...request, body: 'hello' })).status;
    expect(await put(url.replace('a%20b', 'other'))).toBe(403);
    expect(await put(url)).toBe(201);
    expect(await put(url)).toBe(403);
    expect((await fetch(url)).status).toBe(403);
    expect((await site.state.get('staging/a b%c'))?.bytes).toEqual(utf8('hello'));
  });

  test('a download gives its one blob, under the name and type asked for, until it expires', async () => {
    await site.journal.putIfAbsent('t/x/outputs/1', utf8('body'));
    const naming = { fileName: 'my "file".jsonl', contentType: 'application/jsonl' };
    const url = await site.presigners.journal.downloadFrom('t/x/outputs/1', { expiresInMs: 60_000, ...naming });
    const reply = await fetch(url);
    expect(await reply.text()).toBe('body');
    expect(reply.headers.get('content-disposition')).toBe('attachment; filename="my__file_.jsonl"');
    expect(reply.headers.get('content-type')).toBe('application/jsonl');
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(403);
    const expired = await site.presigners.journal.downloadFrom('t/x/outputs/1', { expiresInMs: -1000 });
    expect((await fetch(expired)).status).toBe(403);
  });
});

describe('connections', () => {
  test('one that does not stand in time is unavailable, not a lost reply', async () => {
    const agent = agentFor('http://127.0.0.1', 50);
    // A name that is never resolved: nothing can be sent.
    const error = await new Promise<Error>((resolve) => {
      get({ agent, host: 'nowhere', lookup: () => {} }).on('error', resolve);
    });
    agent.destroy();
    expect(blobError(error, 'azure/state', 'once')).toMatchObject({ name: 'SiteUnavailableError', code: 'timeout' });
  });

  test.each([
    ['ECONNREFUSED', 'refused'],
    ['ENOTFOUND', 'dns'],
    ['EAI_AGAIN', 'dns'],
  ])('%s proves that a write was not sent', (code, ours) => {
    const error = Object.assign(new Error('x'), { code });
    expect(blobError(error, 'azure/state', 'once')).toMatchObject({ name: 'SiteUnavailableError', code: ours });
  });

  test.each(['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'REQUEST_SEND_ERROR'])('%s does not', (code) => {
    const error = Object.assign(new Error('x'), { code });
    expect(blobError(error, 'azure/state', 'once')).toMatchObject({ name: 'OutcomeUnknownError' });
    expect(blobError(error, 'azure/state', 'repeatable')).toMatchObject({ name: 'SiteUnavailableError' });
  });

  test('no token to be had is a matter of credentials', () => {
    for (const name of ['CredentialUnavailableError', 'AuthenticationError', 'AggregateAuthenticationError']) {
      expect(blobError(Object.assign(new Error('x'), { name }), 'azure/state', 'once')).toMatchObject({
        code: 'credentials',
      });
    }
  });
});

describe('serviceBusError', () => {
  test.each([
    ['UnauthorizedAccess', 'SiteUnavailableError', 'credentials'],
    ['MessagingEntityNotFound', 'SiteUnavailableError', 'store_missing'],
    ['MessagingEntityDisabled', 'SiteUnavailableError', 'queue_disabled'],
    ['ServiceBusy', 'TransientError', 'throttled'],
    ['QuotaExceeded', 'TransientError', 'quota_exceeded'],
    ['MessageSizeExceeded', 'InvariantError', 'message_too_large'],
    ['ServiceTimeout', 'SiteUnavailableError', 'connection_lost'],
    ['ServiceCommunicationProblem', 'SiteUnavailableError', 'connection_lost'],
    ['GeneralError', 'SiteUnavailableError', 'connection_lost'],
  ])('%s is %s %s', (code, name, ours) => {
    const error = Object.assign(new Error('x'), { name: 'ServiceBusError', code });
    expect(serviceBusError(error, 'azure/work')).toMatchObject({ name, code: ours });
  });

  test('finds the refused connection in the text of a general error', () => {
    const error = Object.assign(new Error('GeneralError: ECONNREFUSED: connect'), { code: 'GeneralError' });
    expect(serviceBusError(error, 'azure/work')).toMatchObject({ name: 'SiteUnavailableError', code: 'refused' });
  });
});

describe('serviceBusQueue', () => {
  let emulator: ServiceBusEmulator;
  let door: Door;
  let site: AzureSite;

  beforeEach(async () => {
    emulator = await startServiceBusEmulator({
      queues: [
        { name: 'work', lockDurationMs: 60_000, maxDeliveryCount: 1_000, duplicateDetectionWindowMs: 3_600_000 },
      ],
    });
    door = await startDoor(emulator.amqpPort);
    site = connectAzureSite({
      ...base,
      serviceBusConnectionString: emulator.connectionString.replace(`:${emulator.amqpPort}`, `:${door.port}`),
      administrationEndpoint: emulator.adminUrl,
    });
  });
  afterEach(async () => {
    await site.close();
    await door.close();
    await emulator.close();
  });

  test('neither connecting nor counting opens an AMQP connection', async () => {
    await door.refuse(true);
    expect(await site.work.depth()).toEqual({ visible: 0, inFlight: 0, delayed: 0, deadLettered: 0 });
    await door.refuse(false);
  });

  test('goes on over a new connection when one is dropped, and settles what the old one received', async () => {
    await site.work.send([
      { id: 'a', body: 'first' },
      { id: 'b', body: 'second' },
    ]);
    const [first, second] = await site.work.receive({ max: 2, waitMs: 10_000 });
    await door.refuse(true);
    await door.refuse(false);
    expect(await site.work.complete(first!)).toBe(true);
    expect(await site.work.giveBack(second!)).toBe(true);
    await site.work.send([{ id: 'c', body: 'third' }]);
    const bodies = (await site.work.receive({ max: 2, waitMs: 10_000 })).map(({ body }) => body);
    expect(bodies.sort()).toEqual(['second', 'third']);
  });

  test('what comes back after a refusal is served again', async () => {
    await site.work.send([{ id: 'a', body: 'first' }]);
    await door.refuse(true);
    expect(await rejectionOf(site.work.receive())).toMatchObject({ name: 'SiteUnavailableError', where: 'azure/work' });
    await door.refuse(false);
    expect(await site.work.receive({ waitMs: 10_000 })).toMatchObject([{ body: 'first', deliveryCount: 1 }]);
  });

  test('a copy remembers the deliveries of its originals', async () => {
    await site.work.sendCopy({ id: 'a', body: 'pointer', deliveryCount: 7 }, 0);
    expect(await site.work.receive({ waitMs: 10_000 })).toMatchObject([{ body: 'pointer', deliveryCount: 8 }]);
  });

  test.each([
    [{ holdfastEarlierDeliveries: 3 }, 3],
    [{ holdfastEarlierDeliveries: -3 }, 0],
    [{ holdfastEarlierDeliveries: '3' }, 0],
    [{ holdfastEarlierDeliveries: 1e300 }, 0],
    [{}, 0],
    [null, 0],
    [undefined, 0],
    ['text', 0],
  ])('application properties %j tell of %i earlier deliveries', (properties, count) => {
    expect(timesDelivered(2, properties)).toBe(2 + count);
  });

  test('a message has one copy, however often it is given back: the first may not have been completed', async () => {
    await site.work.send([{ id: 'a', body: 'pointer' }]);
    const [message] = await site.work.receive({ waitMs: 10_000 });
    await site.work.sendCopy(message!, 0);
    expect(await site.work.giveBack(message!, 1)).toBe(true);
    expect(await site.work.depth()).toMatchObject({ visible: 1, delayed: 0 });
    const [copy] = await site.work.receive({ waitMs: 10_000 });
    expect(copy).toMatchObject({ id: 'a+1', deliveryCount: 2 });
    await site.work.giveBack(copy!, 1);
    expect(await site.work.receive({ waitMs: 10_000 })).toMatchObject([{ id: 'a+2', deliveryCount: 3 }]);
  });

  test.each([
    ['a', 'a+1'],
    ['a+9', 'a+10'],
    ['a+b', 'a+b+1'],
    ['a+999999', 'a+1000000'],
    ['a+1000000', 'a+1000000+1'],
    ['+1', '+1+1'],
    ['a\n+1', 'a\n+2'],
    ['x'.repeat(126), `${'x'.repeat(126)}+1`],
    ['x'.repeat(127), undefined],
    ['', undefined],
  ])('the copy of message %j has the id %j', (id, next) => {
    expect(copyId(id)).toBe(next);
  });

  test('a queue that is not there is told from one that does not answer', async () => {
    expect(await rejectionOf(site.intake.send([{ id: 'a', body: 'x' }]))).toMatchObject({ code: 'store_missing' });
    expect(await rejectionOf(site.intake.depth())).toMatchObject({ code: 'store_missing' });
  });
});
