import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  GetEventSourceMappingCommand,
  GetFunctionCommand,
  InvokeCommand,
  LambdaClient,
  ListEventSourceMappingsCommand,
  UpdateEventSourceMappingCommand,
} from '@aws-sdk/client-lambda';
import { SendMessageBatchCommand, SetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { silentLog } from '../../../../shared/ports/log.ts';
import { buildFixture } from '../../../../test/fixtures/functions/build.ts';
import { startDirector } from '../../../../test/fixtures/functions/director.ts';
import { type AwsEmulator, startAwsEmulator } from '../../../aws-emulator/index.ts';
import type { FunctionSpec } from '../function-spec.ts';
import { type LambdaHost, startLambdaHost } from '../host.ts';

interface SqsEvent {
  Records: { messageId: string; body: string; attributes: Record<string, string>; eventSourceARN: string }[];
}
interface Call<Event = SqsEvent> {
  event: Event;
  timeLeftMs: number;
  env: Record<string, string>;
}

const credentials = { accessKeyId: 'local', secretAccessKey: 'local' };
let bundle: string;
let removeBundle: () => Promise<void>;
let dataDir: string;
let director: Awaited<ReturnType<typeof startDirector<Call>>>;
let aws: AwsEmulator;
let sqs: SQSClient;
const open: { close(): unknown }[] = [];

beforeAll(async () => {
  const built = await buildFixture('lambda');
  bundle = built.bundle;
  removeBundle = built.remove;
});
afterAll(() => removeBundle());

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'holdfast-lambda-'));
  director = await startDirector<Call>();
  aws = await startAwsEmulator({
    dataDir,
    queues: [{ name: 'work', visibilityTimeoutS: 1, maxReceiveCount: 2, dlq: 'work-dlq' }],
  });
  sqs = new SQSClient({ region: 'us-east-1', endpoint: aws.endpoint, credentials });
});

afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  sqs.destroy();
  await director.close();
  await aws.close();
  await rm(dataDir, { recursive: true, force: true });
});

function functionOf(more: Partial<FunctionSpec> = {}): FunctionSpec {
  return {
    name: 'worker',
    bundle,
    handler: 'handler',
    timeoutMs: 1_000,
    memoryMb: 256,
    concurrencyMax: 2,
    environment: { DIRECTOR_URL: director.url, HOLDFAST_SITE: 'aws' },
    eventSources: [],
    url: false,
    ...more,
  };
}

const fromQueue = { queueName: 'work', batchSize: 10, windowMs: 0, reportsItemFailures: true };

async function start(...functions: FunctionSpec[]): Promise<LambdaHost> {
  const host = await startLambdaHost({
    functions,
    sqsEndpoint: aws.endpoint,
    region: 'us-east-1',
    dataDir,
    log: silentLog,
  });
  open.push(host);
  return host;
}

async function send(...bodies: string[]) {
  const Entries = bodies.map((MessageBody, i) => ({ Id: String(i), MessageBody }));
  await sqs.send(new SendMessageBatchCommand({ QueueUrl: aws.queueUrl('work'), Entries }));
}

function depth() {
  const { ready, delayed, inFlight } = aws.inspectQueue('work');
  return ready.length + delayed.length + inFlight.length;
}

async function until(claim: () => boolean) {
  while (!claim()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function control(host: LambdaHost) {
  const client = new LambdaClient({
    region: 'us-east-1',
    endpoint: `http://127.0.0.1:${host.controlPort}`,
    credentials,
  });
  open.push({ close: () => client.destroy() });
  return client;
}

test('a batch comes as one event of SQS records, with the time left and the environment of the function', async () => {
  await send('one', 'two');
  await start(functionOf({ eventSources: [fromQueue] }));
  const { body, direct } = await director.next();
  expect(body.event.Records.map((record) => record.body).sort()).toEqual(['one', 'two']);
  expect(body.event.Records[0]).toMatchObject({
    eventSource: 'aws:sqs',
    eventSourceARN: 'arn:aws:sqs:us-east-1:000000000000:work',
    attributes: { ApproximateReceiveCount: '1' },
  });
  expect(body.timeLeftMs).toBeGreaterThan(500);
  expect(body.timeLeftMs).toBeLessThanOrEqual(1_000);
  expect(body.env).toMatchObject({ HOLDFAST_SITE: 'aws', AWS_LAMBDA_FUNCTION_NAME: 'worker' });
  expect(body.env.HOME).toBeUndefined();
  direct({ returns: { batchItemFailures: [] } });
  await until(() => depth() === 0);
});

test('a message that is reported stays and comes again, the others are deleted', async () => {
  await send('good', 'bad');
  await start(functionOf({ eventSources: [fromQueue] }));
  const first = await director.next();
  const bad = first.body.event.Records.find((record) => record.body === 'bad')!;
  first.direct({ returns: { batchItemFailures: [{ itemIdentifier: bad.messageId }] } });
  const second = await director.next();
  expect(second.body.event.Records.map(({ body, attributes }) => [body, attributes.ApproximateReceiveCount])).toEqual([
    ['bad', '2'],
  ]);
  second.direct({ returns: null });
  await until(() => depth() === 0);
});

test.each([
  ['throws', { throws: 'no' }],
  ['runs out of time', { does: 'hang' }],
  ['exits', { does: 'exit' }],
  ['leaves an error uncaught', { does: 'crash' }],
  ['answers text', { returns: 'fine' }],
])(
  'a function that %s keeps its messages, works the next ones, and leaves the rest to the redrive policy',
  async (_, direction) => {
    await send('stubborn');
    await start(functionOf({ eventSources: [fromQueue] }));
    (await director.next()).direct(direction);
    const again = await director.next();
    expect(again.body.event.Records[0]!.attributes.ApproximateReceiveCount).toBe('2');
    again.direct(direction);
    await until(() => aws.inspectQueue('work-dlq').ready.length === 1);
  },
);

test('invocations run at once up to the concurrency of the function; what waits stays visible in the queue', async () => {
  // Nothing may come back by itself while this looks, however slow the machine is.
  const Attributes = { VisibilityTimeout: '300' };
  await sqs.send(new SetQueueAttributesCommand({ QueueUrl: aws.queueUrl('work'), Attributes }));
  await start(functionOf({ eventSources: [{ ...fromQueue, batchSize: 1 }] }));
  await send('1', '2', '3');
  const calls = [await director.next(), await director.next()];
  expect(aws.inspectQueue('work').ready).toHaveLength(1);
  expect(director.waitingCalls()).toBe(0);
  for (const call of calls) call.direct({ returns: {} });
  (await director.next()).direct({ returns: {} });
  await until(() => depth() === 0);
});

test('a batch window gathers messages that come one after another', async () => {
  await start(functionOf({ eventSources: [{ ...fromQueue, batchSize: 2, windowMs: 60_000 }] }));
  await send('1');
  await until(() => aws.inspectQueue('work').inFlight.length === 1);
  await send('2');
  const call = await director.next();
  expect(call.body.event.Records).toHaveLength(2);
  call.direct({ returns: {} });
});

test('a queue that shows a message again before the function times out is refused', async () => {
  const failed = start(functionOf({ timeoutMs: 3_000, eventSources: [fromQueue] }));
  await expect(failed).rejects.toThrow('visibility timeout: 1 seconds is less than Function timeout: 3 seconds');
});

test('a switched-off mapping receives nothing, stays off over a restart, and goes on when switched on', async () => {
  const host = await start(functionOf({ eventSources: [fromQueue] }));
  const client = control(host);
  const { EventSourceMappings } = await client.send(new ListEventSourceMappingsCommand({ FunctionName: 'worker' }));
  const UUID = EventSourceMappings![0]!.UUID!;
  expect(EventSourceMappings![0]).toMatchObject({
    State: 'Enabled',
    BatchSize: 10,
    FunctionResponseTypes: ['ReportBatchItemFailures'],
  });
  await client.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: false }));
  await open.splice(open.indexOf(host), 1)[0]!.close();

  const restarted = control(await start(functionOf({ eventSources: [fromQueue] })));
  expect(await restarted.send(new GetEventSourceMappingCommand({ UUID }))).toMatchObject({ State: 'Disabled' });
  await send('waits');
  // The closed host's last receive may still take it; it comes back.
  await until(() => aws.inspectQueue('work').ready.length === 1);
  expect(director.waitingCalls()).toBe(0);
  await restarted.send(new UpdateEventSourceMappingCommand({ UUID, Enabled: true }));
  (await director.next()).direct({ returns: {} });
});

test('Invoke answers what the function returned, or its error; GetFunction knows no other function', async () => {
  const client = control(await start(functionOf()));
  const invoke = async (direction: object) => {
    const answered = client.send(new InvokeCommand({ FunctionName: 'worker', Payload: JSON.stringify({ ask: 1 }) }));
    const call = await director.next();
    expect(call.body.event).toEqual({ ask: 1 });
    call.direct(direction);
    const { FunctionError, Payload } = await answered;
    return { FunctionError, payload: JSON.parse(Payload!.transformToString()) };
  };
  expect(await invoke({ returns: { done: true } })).toEqual({ payload: { done: true } });
  expect(await invoke({ throws: 'no' })).toMatchObject({
    FunctionError: 'Unhandled',
    payload: { errorType: 'TypeError', errorMessage: 'no' },
  });
  await expect(client.send(new GetFunctionCommand({ FunctionName: 'other' }))).rejects.toMatchObject({
    name: 'ResourceNotFoundException',
  });
  expect((await client.send(new GetFunctionCommand({ FunctionName: 'worker' }))).Configuration!.Timeout).toBe(1);
});

test('a scheduled function is called at once, and never twice at a time', async () => {
  await start(functionOf({ everyMs: 20, concurrencyMax: 5 }));
  const first = await director.next();
  expect(first.body.event).toMatchObject({ 'detail-type': 'Scheduled Event' });
  await new Promise((resolve) => setTimeout(resolve, 60));
  expect(director.waitingCalls()).toBe(0);
  first.direct({});
  (await director.next()).direct({});
});

test('a bundle without the handler fails every invocation, and says so', async () => {
  const client = control(await start(functionOf({ handler: 'absent' })));
  const { Payload } = await client.send(new InvokeCommand({ FunctionName: 'worker' }));
  expect(JSON.parse(Payload!.transformToString()).errorMessage).toContain('absent is undefined or not exported');
});
