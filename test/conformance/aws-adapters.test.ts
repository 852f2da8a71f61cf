import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { awsError } from '../../functions-aws/adapters/errors.ts';
import { type AwsSite, connectAwsSite } from '../../functions-aws/adapters/site.ts';
import { patternBytes, rejectionOf, utf8 } from './support.ts';

/** What the service answers, one after another; the last one stays. */
type Answer = (request: IncomingMessage, response: ServerResponse) => void;

const MiB = 1024 * 1024;
let server: Server;
let site: AwsSite;
let answers: Answer[] = [];
let asked: string[] = [];
/** A site whose every call may take so long: more than a busy machine takes, but where a test waits for the end of it. */
let connect: (requestMs: number) => AwsSite;
const shortMs = 400;

beforeEach(async () => {
  answers = [];
  asked = [];
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.headers['x-amz-target'] ?? (request.url ?? '').replace(/.*[?&]/, '')}`);
    request.resume();
    request.on('end', () => (answers.length > 1 ? answers.shift() : answers[0])?.(request, response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  connect = (requestMs) =>
    connectAwsSite({
      id: 'aws',
      region: 'us-east-1',
      endpoint,
      credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
      journalBucket: 'journal',
      stateBucket: 'state',
      intakeQueueUrl: `${endpoint}/0/q`,
      workQueueUrl: `${endpoint}/0/q`,
      intakeDlqUrl: `${endpoint}/0/d`,
      workDlqUrl: `${endpoint}/0/d`,
      timeouts: { connectMs: 10_000, requestMs },
    });
  site = connect(10_000);
});
afterEach(async () => {
  await site.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

const s3Error =
  (status: number, code: string, headers: Record<string, string> = {}): Answer =>
  (_, response) =>
    response
      .writeHead(status, { 'content-type': 'application/xml', ...headers })
      .end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>scripted</Message></Error>`);
const s3Ok =
  (body = '', headers: Record<string, string> = { etag: '"e"' }): Answer =>
  (_, response) =>
    response.writeHead(200, headers).end(body);
const sqsOk =
  (body: unknown): Answer =>
  (_, response) =>
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0' }).end(JSON.stringify(body));
const silence: Answer = () => {};

describe('s3Store', () => {
  test('repeats a create that S3 answers with 409 ConditionalRequestConflict', async () => {
    answers = [s3Error(409, 'ConditionalRequestConflict'), s3Ok()];
    expect(await site.state.putIfAbsent('k', utf8('x'))).toEqual({ status: 'created', etag: '"e"' });
    expect(asked).toHaveLength(2);
  });

  test('repeats a throttled call briefly, then rejects with TransientError and what Retry-After says', async () => {
    answers = [s3Error(503, 'SlowDown', { 'retry-after': '7' })];
    const error = await rejectionOf(site.state.get('k'));
    expect(error).toMatchObject({ name: 'TransientError', code: 'throttled', retryAfterMs: 7000 });
    expect(asked).toHaveLength(1);
    answers = [
      s3Error(503, 'SlowDown'),
      s3Error(503, 'SlowDown'),
      s3Ok('body', { etag: '"e"', 'content-length': '4' }),
    ];
    expect((await site.state.get('k'))?.bytes).toEqual(utf8('body'));
  });

  test.each([
    [403, 'InvalidAccessKeyId'],
    [400, 'ExpiredToken'],
    [403, 'SignatureDoesNotMatch'],
    [403, 'RequestTimeTooSkewed'],
    [401, 'Whatever'],
  ])('rejects with SiteUnavailableError credentials, without repeating, on %i %s', async (status, code) => {
    answers = [s3Error(status, code)];
    const error = await rejectionOf(site.state.putIfAbsent('k', utf8('x')));
    expect(error).toMatchObject({ name: 'SiteUnavailableError', code: 'credentials', where: 'aws/state' });
    expect(asked).toHaveLength(1);
  });

  test('says that the store is missing where the bucket is, and undefined where the key is', async () => {
    answers = [s3Error(404, 'NoSuchBucket')];
    expect(await rejectionOf(site.state.get('k'))).toMatchObject({
      name: 'SiteUnavailableError',
      code: 'store_missing',
    });
    expect(await rejectionOf(site.state.putIfMatch('k', utf8('x'), '"e"'))).toMatchObject({ code: 'store_missing' });
    answers = [s3Error(404, 'NoSuchKey')];
    expect(await site.state.get('k')).toBeUndefined();
    expect(await site.state.putIfMatch('k', utf8('x'), '"e"')).toEqual({ status: 'stale' });
  });

  test('does not take a 500 to a write for a failure: what stands there tells', async () => {
    answers = [s3Error(500, 'InternalError'), s3Ok('mine', { etag: '"e"', 'content-length': '4' })];
    expect(await site.state.putIfAbsent('k', utf8('mine'))).toEqual({ status: 'created', etag: '"e"' });
  });

  test('takes 412 after a lost reply for its own write if the bytes are its own', async () => {
    answers = [
      s3Error(500, 'InternalError'),
      s3Error(404, 'NoSuchKey'),
      s3Error(412, 'PreconditionFailed'),
      s3Ok('mine', { etag: '"e"', 'content-length': '4' }),
    ];
    expect(await site.state.putIfAbsent('k', utf8('mine'))).toEqual({ status: 'created', etag: '"e"' });
    expect(asked).toEqual(['PUT x-id=PutObject', 'GET x-id=GetObject', 'PUT x-id=PutObject', 'GET x-id=GetObject']);
  });

  test('a service that accepts and never answers ends a read as unavailable and a write as unknown', async () => {
    await site.close();
    site = connect(shortMs);
    answers = [silence];
    expect(await rejectionOf(site.state.head('k'))).toMatchObject({ name: 'SiteUnavailableError' });
    expect(await rejectionOf(site.state.putIfAbsent('k', utf8('x')))).toMatchObject({ name: 'OutcomeUnknownError' });
  });

  test('a body that stops in the middle ends as unavailable', async () => {
    await site.close();
    site = connect(shortMs);
    answers = [
      (_, response) => {
        response.writeHead(200, { etag: '"e"', 'content-length': '100' }).write('some');
      },
    ];
    expect(await rejectionOf(site.state.get('k'))).toMatchObject({ name: 'SiteUnavailableError' });
  });

  test('a 409 to the completion of an upload is TransientError, and the parts are removed', async () => {
    const started = '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>';
    answers = [s3Ok(started), s3Ok(), s3Ok(), s3Error(409, 'ConditionalRequestConflict'), s3Ok()];
    const body = async function* () {
      for (let i = 0; i < 9; i++) yield patternBytes(0, MiB);
    };
    const error = await rejectionOf(site.state.putStreamIfAbsent('k', body()));
    expect(error).toMatchObject({ name: 'TransientError', code: 'conflict' });
    expect(asked.at(-1)).toBe('DELETE x-id=AbortMultipartUpload');
  });

  test('an upload that is gone when its completion is repeated was completed: the object tells', async () => {
    const started = '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>';
    const whole = Buffer.from(patternBytes(0, 9 * MiB));
    const found: Answer = (_, response) =>
      response.writeHead(200, { etag: '"whole-2"', 'content-length': String(whole.length) }).end(whole);
    answers = [s3Ok(started), s3Ok(), s3Ok(), s3Error(404, 'NoSuchUpload'), found];
    const body = async function* () {
      for (let i = 0; i < 9; i++) yield patternBytes(i * MiB, MiB);
    };
    expect(await site.state.putStreamIfAbsent('k', body())).toEqual({ status: 'created', etag: '"whole-2"' });
  });

  test('a request that S3 rejects as impossible is our own bug', async () => {
    answers = [s3Error(400, 'InvalidArgument')];
    expect(await rejectionOf(site.state.list(''))).toMatchObject({ name: 'InvariantError', code: 'request_rejected' });
  });
});

describe('sqsQueue', () => {
  const message = (id: string) => ({ id, body: `body of ${id}` });
  const md5 = (text: string) => createHash('md5').update(text).digest('hex');
  const received = (id: string) => ({
    MessageId: id,
    Body: 'x',
    MD5OfBody: md5('x'),
    ReceiptHandle: id,
  });

  test('sends again, once, the messages of a batch that were not taken', async () => {
    const refusal = { Id: '1', SenderFault: false, Code: 'InternalError' };
    answers = [sqsOk({ Successful: [], Failed: [refusal] }), sqsOk({ Successful: [] })];
    await site.work.send([message('a'), message('b'), message('c')]);
    expect(asked).toEqual(['POST AmazonSQS.SendMessageBatch', 'POST AmazonSQS.SendMessageBatch']);
  });

  test('rejects where a message is not taken the second time either', async () => {
    answers = [sqsOk({ Successful: [], Failed: [{ Id: '0', SenderFault: false, Code: 'InternalError' }] })];
    const error = await rejectionOf(site.work.send([message('a')]));
    expect(error).toMatchObject({ name: 'TransientError', code: 'send_incomplete' });
    answers = [sqsOk({ Successful: [], Failed: [{ Id: '0', SenderFault: true, Code: 'InvalidMessageContents' }] })];
    expect(await rejectionOf(site.work.send([message('a')]))).toMatchObject({ name: 'InvariantError' });
  });

  test('says that a queue is missing', async () => {
    answers = [
      (_, response) =>
        response
          .writeHead(400, { 'content-type': 'application/x-amz-json-1.0' })
          .end('{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"scripted"}'),
    ];
    const error = await rejectionOf(site.work.receive());
    expect(error).toMatchObject({ name: 'SiteUnavailableError', code: 'store_missing', where: 'aws/work' });
  });

  test('gives what it has leased where a further ask fails', async () => {
    const Messages = Array.from({ length: 10 }, (_, i) => received(`${i}`));
    const denied: Answer = (_, response) =>
      response.writeHead(403, { 'content-type': 'application/x-amz-json-1.0' }).end('{"__type":"AccessDenied"}');
    answers = [sqsOk({ Messages }), denied];
    expect(await site.work.receive({ max: 30 })).toHaveLength(10);
  });

  test('dead-letters before it deletes, so that a crash between loses nothing', async () => {
    answers = [sqsOk({ Messages: [received('a')] }), sqsOk({ MD5OfMessageBody: md5('x') }), sqsOk({})];
    const [leased] = await site.work.receive();
    expect(await site.work.deadLetter(leased!, 'reason', '')).toBe(true);
    expect(asked.slice(1)).toEqual(['POST AmazonSQS.SendMessage', 'POST AmazonSQS.DeleteMessage']);
  });
});

describe('awsError tells', () => {
  const network = (code: string) => Object.assign(new Error(`connect ${code}`), { code });
  const named = (name: string) => Object.assign(new Error('scripted'), { name });
  const answered = (httpStatusCode: number, name: string) =>
    Object.assign(named(name), { $metadata: { httpStatusCode } });

  test.each([
    ['a refused connection', network('ECONNREFUSED'), 'once', 'SiteUnavailableError', 'refused'],
    ['an unknown host', network('ENOTFOUND'), 'once', 'SiteUnavailableError', 'dns'],
    ['a reset of a write', network('ECONNRESET'), 'once', 'OutcomeUnknownError', 'write_outcome_unknown'],
    ['a reset of a read', network('ECONNRESET'), 'repeatable', 'SiteUnavailableError', 'connection_lost'],
    ['a hang-up on a write', new Error('socket hang up'), 'once', 'OutcomeUnknownError', 'write_outcome_unknown'],
    ['no credentials', named('CredentialsProviderError'), 'once', 'SiteUnavailableError', 'credentials'],
    ['a key that is refused', answered(400, 'KmsAccessDenied'), 'once', 'SiteUnavailableError', 'encryption_key'],
    ['a key that is throttled', answered(400, 'KmsThrottled'), 'once', 'TransientError', 'throttled'],
    ['nothing at all', undefined, 'repeatable', 'SiteUnavailableError', 'connection_lost'],
  ] as const)('%s', (_label, error, effect, name, code) => {
    expect(awsError(error, 'aws/journal', effect)).toMatchObject({ name, code });
  });
});
