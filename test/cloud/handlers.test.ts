import { type HttpHandler, HttpRequest, type InvocationContext } from '@azure/functions';
import { describe, expect, test } from '@jest/globals';
import type { SQSRecord } from 'aws-lambda';
import { Hono } from 'hono';
import { functionUrlApi } from '../../functions-aws/handlers/api.ts';
import { minuteMonitor } from '../../functions-aws/handlers/monitor.ts';
import { sqsWorker } from '../../functions-aws/handlers/worker.ts';
import { httpApi } from '../../functions-azure/handlers/api.ts';
import { timerMonitor } from '../../functions-azure/handlers/monitor.ts';
import { serviceBusWorker } from '../../functions-azure/handlers/worker.ts';
import { ManualClock } from '../../local/in-memory/clock.ts';
import { InMemoryQueue } from '../../local/in-memory/queue.ts';
import type { ApiEnv } from '../../shared/api/env.ts';
import type { Core } from '../../shared/core.ts';
import type { Delivery, Settlement } from '../../shared/ports/delivery.ts';
import { silentLog } from '../../shared/ports/log.ts';
import { defaultSettings } from '../../shared/settings.ts';
import type { SweepReport, work } from '../../shared/worker/index.ts';

/** The parts of a core that handlers touch themselves. */
function fakeCore(clock = new ManualClock()): Core {
  return { self: 'aws', clock, log: silentLog, settings: defaultSettings } as unknown as Core;
}

const contextWith = (leftMs: number) => ({ getRemainingTimeInMillis: () => leftMs });
const noReport = {} as SweepReport;

describe('the worker on AWS', () => {
  const record = (messageId: string, queue: string): SQSRecord => ({
    messageId,
    receiptHandle: `AQEB${messageId}`,
    body: `{"from":"${queue}"}`,
    attributes: {
      ApproximateReceiveCount: '3',
      SentTimestamp: '1767225600000',
      SenderId: 'AIDAIENQZJOLO23YVJ4VO',
      ApproximateFirstReceiveTimestamp: '1767225600001',
    },
    messageAttributes: {},
    md5OfBody: 'e4e68fb7bd0e697a0ae8f1bb342846b3',
    eventSource: 'aws:sqs',
    eventSourceARN: `arn:aws:sqs:us-east-1:123456789012:${queue}`,
    awsRegion: 'us-east-1',
  });

  function setUp(run: typeof work) {
    const core = fakeCore();
    const asked: string[] = [];
    const queue = new InMemoryQueue({ name: 'aws/any', clock: core.clock });
    const handler = sqsWorker(
      async () => ({
        core,
        partOf: () => 'work',
        queueOf: ({ eventSourceARN }) => {
          asked.push(eventSourceARN);
          return queue;
        },
        leasedMessage: ({ messageId, body, attributes }) => ({
          id: messageId,
          body,
          deliveryCount: Number(attributes.ApproximateReceiveCount),
          lease: {},
        }),
      }),
      run,
    );
    return { core, asked, handler };
  }

  test('answers with what the core did not complete, and knows the queue of each message', async () => {
    const seen: Delivery[] = [];
    const { asked, handler } = setUp(async (_, deliveries) => {
      seen.push(...deliveries);
      for (const delivery of deliveries) await delivery.extend(1_000);
      await deliveries[0]!.settle({ kind: 'complete' });
    });
    const Records = [record('a', 'holdfast-work'), record('b', 'holdfast-intake')];
    expect(await handler({ Records }, contextWith(240_000))).toEqual({ batchItemFailures: [{ itemIdentifier: 'b' }] });
    expect(seen).toMatchObject([{ body: '{"from":"holdfast-work"}', deliveryCount: 3 }, { deliveryCount: 3 }]);
    expect(asked).toEqual(Records.map(({ eventSourceARN }) => eventSourceARN));
  });

  test.each([
    [240_000, 230_000],
    [20_000, 15_000],
    [0, 0],
  ])('with %i ms left the core must have returned within %i', async (left, within) => {
    let deadline: number | undefined;
    const { core, handler } = setUp(async (_core, _deliveries, options) => {
      deadline = options?.deadline;
    });
    await handler({ Records: [] }, contextWith(left));
    expect(deadline).toBe(core.clock.now() + within);
  });

  test('an event without records is answered', async () => {
    const { handler } = setUp(async () => {});
    expect(await handler({} as never, contextWith(1000))).toEqual({ batchItemFailures: [] });
  });

  test('a configuration that does not hold fails the invocation, so that every message comes again', async () => {
    const handler = sqsWorker(
      () => Promise.reject(new Error('config')),
      async () => {},
    );
    await expect(handler({ Records: [] }, contextWith(1000))).rejects.toThrow('config');
  });
});

describe('the worker on Azure', () => {
  const context = (triggerMetadata: Record<string, unknown>) => ({ triggerMetadata }) as unknown as InvocationContext;

  /** A worker whose every message ends as `settlements` say, in turn; tells how often it worked one. */
  function workerWith(...settlements: Settlement[]) {
    const seen = { worked: 0, copies: 0 };
    const sendCopy = async () => {
      seen.copies += 1;
    };
    const wire = async () => ({ core: fakeCore(), own: { work: { sendCopy } } }) as never;
    const handler = serviceBusWorker('work', wire, async (_, deliveries) => {
      await deliveries[0]!.settle(settlements[seen.worked++] ?? { kind: 'complete' });
    });
    const deliver = (messageId: string | undefined, deliveryCount: number) =>
      handler({ v: 1 }, context({ messageId, deliveryCount }));
    return { seen, deliver };
  }

  test.each<[string, Settlement]>([
    ['given back', { kind: 'giveBack', delayMs: 5000 }],
    ['completed', { kind: 'complete' }],
  ])(
    'a message that it has %s and that comes again is only completed: the broker had failed to',
    async (_, settlement) => {
      const { seen, deliver } = workerWith(settlement);
      for (let time = 1; time <= 3; time++) await deliver('a', time);
      expect(seen).toEqual({ worked: 1, copies: settlement.kind === 'giveBack' ? 1 : 0 });
      await deliver('a+1', 1);
      expect(seen.worked).toBe(2);
    },
  );

  test('a message that nobody could read, or that has no id, is worked each time', async () => {
    const { seen, deliver } = workerWith({ kind: 'deadLetter', reason: 'unreadable', description: 'x' });
    await expect(deliver('a', 1)).rejects.toThrow('unreadable');
    await deliver('a', 2);
    await deliver(undefined, 1);
    await deliver(undefined, 2);
    expect(seen.worked).toBe(4);
  });

  test.each(['intake', 'work'] as const)('gives what came from %s back to it', async (name) => {
    const copies: unknown[] = [];
    const queueCalled = (queue: string) => ({
      sendCopy: async (...copy: unknown[]) => {
        copies.push([queue, ...copy]);
      },
    });
    const own = { intake: queueCalled('intake'), work: queueCalled('work') };
    const handler = serviceBusWorker(
      name,
      async () => ({ core: fakeCore(), own }) as never,
      async (_, deliveries) => {
        await deliveries[0]!.settle({ kind: 'giveBack', delayMs: 5000 });
      },
    );
    // As the host hands it over: JSON parsed, the count from 1, properties as they were sent.
    await handler(
      { v: 1, kind: 'plan' },
      context({
        messageId: 'a',
        deliveryCount: 2,
        applicationProperties: { holdfastEarlierDeliveries: 4 },
        lockToken: 'f7d2',
      }),
    );
    expect(copies).toEqual([[name, { id: 'a', body: '{"v":1,"kind":"plan"}', deliveryCount: 6 }, 5000]]);
  });

  test('a message that the core did not settle is abandoned', async () => {
    const handler = serviceBusWorker(
      'work',
      async () => ({ core: fakeCore(), own: {} }) as never,
      async () => {},
    );
    await expect(handler('x', context({ deliveryCount: 1 }))).rejects.toThrow('not settled');
  });
});

describe('the monitor', () => {
  const tickOf = (count: () => number) => async () => {
    count();
    return noReport;
  };

  test('on AWS fills its minute with a sweep each tick', async () => {
    const clock = new ManualClock();
    let sweeps = 0;
    const running = minuteMonitor(
      async () => fakeCore(clock),
      tickOf(() => ++sweeps),
    )({}, contextWith(90_000));
    await clock.advance(60_000);
    await running;
    expect(sweeps).toBe(60_000 / defaultSettings.tickMs);
  });

  test('on AWS ends early where less time is left', async () => {
    const clock = new ManualClock();
    let sweeps = 0;
    const running = minuteMonitor(
      async () => fakeCore(clock),
      tickOf(() => ++sweeps),
    )({}, contextWith(35_000));
    await clock.advance(20_000);
    await running;
    expect(sweeps).toBe(2);
  });

  test('on Azure sweeps once a call by default', async () => {
    let sweeps = 0;
    await timerMonitor(
      async () => fakeCore(),
      tickOf(() => ++sweeps),
    )({} as never, context());
    expect(sweeps).toBe(1);
  });

  const context = () => ({}) as InvocationContext;
});

/** A front door that tells what reached it. */
function echo() {
  return new Hono<ApiEnv>().all('*', async (c) => {
    if (c.req.path === '/empty') return c.body(null, 204);
    if (c.req.path === '/bytes')
      return c.body(Buffer.from([0, 255, 128]), 200, { 'content-type': 'application/octet-stream' });
    const { method } = c.req;
    const body = Buffer.from(await c.req.arrayBuffer()).toString('hex');
    return c.json(
      {
        method,
        url: new URL(c.req.url).pathname + new URL(c.req.url).search,
        key: c.req.header('authorization'),
        body,
      },
      200,
      {
        'x-request-id': 'req_1',
      },
    );
  });
}

describe('the front door on AWS', () => {
  const handler = functionUrlApi(async () => echo());
  const event = (method: string, rawPath: string, more: object = {}) =>
    ({
      version: '2.0',
      routeKey: '$default',
      rawPath,
      rawQueryString: 'limit=2&after=x%2Fy',
      headers: {
        authorization: 'Bearer k',
        host: 'abc.lambda-url.us-east-1.on.aws',
        'content-type': 'application/octet-stream',
      },
      requestContext: {
        domainName: 'abc.lambda-url.us-east-1.on.aws',
        http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'x' },
      },
      isBase64Encoded: false,
      ...more,
    }) as never;

  test('passes method, path, query, headers and a body of any bytes', async () => {
    const body = Buffer.from([0, 255, 10, 128]);
    const answer = await handler(event('POST', '/v1/files', { body: body.toString('base64'), isBase64Encoded: true }));
    expect(answer).toMatchObject({ statusCode: 200, isBase64Encoded: false });
    expect(answer.headers).toMatchObject({ 'x-request-id': 'req_1' });
    expect(JSON.parse(answer.body)).toEqual({
      method: 'POST',
      url: '/v1/files?limit=2&after=x%2Fy',
      key: 'Bearer k',
      body: body.toString('hex'),
    });
  });

  test('answers bytes in base64, and nothing with an empty body', async () => {
    const bytes = await handler(event('GET', '/bytes'));
    expect(bytes).toMatchObject({ isBase64Encoded: true, body: Buffer.from([0, 255, 128]).toString('base64') });
    expect(await handler(event('GET', '/empty'))).toMatchObject({ statusCode: 204, body: '' });
  });
});

describe('the front door on Azure', () => {
  const call = async (handler: HttpHandler, request: HttpRequest) => {
    const answer = (await handler(request, {} as InvocationContext)) as {
      status: number;
      headers: Record<string, string>;
      body: ReadableStream<Uint8Array> | null;
    };
    return { ...answer, body: Buffer.from(await new Response(answer.body as never).arrayBuffer()) };
  };
  const echoing = httpApi(async () => (request) => echo().fetch(request));
  const url = 'https://holdfast.azurewebsites.net/v1/files?limit=2';

  test('passes method, path, query, headers and a body of any bytes', async () => {
    const bytes = Buffer.from([0, 255, 10, 128]);
    const request = new HttpRequest({ method: 'POST', url, headers: { authorization: 'Bearer k' }, body: { bytes } });
    const answer = await call(echoing, request);
    expect(answer).toMatchObject({ status: 200, headers: { 'x-request-id': 'req_1' } });
    expect(JSON.parse(answer.body.toString())).toEqual({
      method: 'POST',
      url: '/v1/files?limit=2',
      key: 'Bearer k',
      body: bytes.toString('hex'),
    });
  });

  test.each(['GET', 'DELETE', 'OPTIONS'])('passes a %s without a body', async (method) => {
    const answer = await call(echoing, new HttpRequest({ method, url }));
    expect(JSON.parse(answer.body.toString())).toMatchObject({ method, body: '' });
  });

  test('answers an empty body as none', async () => {
    const answer = await call(echoing, new HttpRequest({ method: 'GET', url: 'https://x.azurewebsites.net/empty' }));
    expect(answer).toMatchObject({ status: 204, body: Buffer.alloc(0) });
  });

  test('hands the first bytes of an answer on before the last are there', async () => {
    let finish = () => {};
    const slow = httpApi(async () => () => {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.from('first'));
          finish = () => {
            controller.enqueue(Buffer.from('last'));
            controller.close();
          };
        },
      });
      return new Response(body);
    });
    const answer = await slow(new HttpRequest({ method: 'GET', url }), {} as InvocationContext);
    const reader = (answer as { body: ReadableStream<Uint8Array> }).body.getReader();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('first');
    finish();
    expect(Buffer.from((await reader.read()).value!).toString()).toBe('last');
    expect((await reader.read()).done).toBe(true);
  });
});
