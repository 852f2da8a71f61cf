import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { lambdaConsumers } from '../../functions-aws/adapters/consumers.ts';
import { serviceBusConsumers } from '../../functions-azure/adapters/consumers.ts';
import { ServiceBusConnector } from '../../functions-azure/adapters/service-bus-client.ts';
import { type ServiceBusEmulator, startServiceBusEmulator } from '../../local/servicebus-emulator/src/index.ts';
import { type Consumers, tendConsumers } from '../../shared/control/consumers.ts';
import type { SiteState } from '../../shared/journal/facts.ts';
import { firstEntry, World } from '../support/world.ts';

const idle = { connectMs: 1_000, requestMs: 10_000 };

describe('event-source mappings of Lambda', () => {
  let server: Server;
  let consumers: ReturnType<typeof lambdaConsumers>;
  /** By id: the state that the service tells. */
  let states: Record<string, string>;
  let asked: string[];
  let refuse: { status: number; code: string } | undefined;

  beforeEach(async () => {
    states = { one: 'Enabled', two: 'Enabled' };
    asked = [];
    refuse = undefined;
    server = createServer(async (request, response) => {
      const url = new URL(request.url!, 'http://lambda');
      let body = '';
      for await (const chunk of request) body += chunk;
      asked.push(`${request.method} ${url.pathname.split('/').at(-1)} ${body}`.trim());
      response.setHeader('content-type', 'application/json');
      if (refuse !== undefined && request.method === 'PUT') {
        response.writeHead(refuse.status, { 'x-amzn-errortype': refuse.code });
        return void response.end('{}');
      }
      if (request.method === 'PUT') {
        const id = url.pathname.split('/').at(-1)!;
        states[id] = JSON.parse(body).Enabled ? 'Enabling' : 'Disabling';
        return void response.end(JSON.stringify({ UUID: id, State: states[id] }));
      }
      // The work queue feeds nothing; intake feeds two functions, on two pages, so that the second one counts too.
      if (url.searchParams.get('EventSourceArn') !== 'arn:aws:sqs:us-east-1:000000000000:holdfast-intake')
        return void response.end(JSON.stringify({ EventSourceMappings: [] }));
      const isFirst = url.searchParams.get('Marker') === null;
      const [id, state] = Object.entries(states)[isFirst ? 0 : 1]!;
      response.end(
        JSON.stringify({ EventSourceMappings: [{ UUID: id, State: state }], ...(isFirst && { NextMarker: 'more' }) }),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    consumers = lambdaConsumers({
      id: 'aws',
      region: 'us-east-1',
      endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      credentials: { accessKeyId: 'a', secretAccessKey: 'b' },
      queueUrls: ['http://127.0.0.1/000000000000/holdfast-intake', 'http://127.0.0.1/000000000000/holdfast-work'],
      timeouts: idle,
    });
  });
  afterEach(async () => {
    consumers.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });

  test('all of them are switched off and on again, and only those that are not so already', async () => {
    expect(await consumers.isPaused()).toBe(false);
    states.one = 'Disabled';
    await consumers.pause();
    expect(asked.filter((one) => one.startsWith('PUT'))).toEqual(['PUT two {"Enabled":false}']);
    expect(await consumers.isPaused()).toBe(true);
    await consumers.resume();
    expect(states).toEqual({ one: 'Enabling', two: 'Enabling' });
    expect(await consumers.isPaused()).toBe(false);
  });

  test.each([
    [409, 'ResourceInUseException', 'TransientError', 'conflict'],
    [403, 'AccessDeniedException', 'SiteUnavailableError', 'credentials'],
    [503, 'ServiceException', 'TransientError', 'throttled'],
  ])('%i %s is %s', async (status, errorCode, name, code) => {
    refuse = { status, code: errorCode };
    await expect(consumers.pause()).rejects.toMatchObject({ name, code });
  });
});

describe('queue status of Service Bus', () => {
  let emulator: ServiceBusEmulator;
  let connector: ServiceBusConnector;
  let consumers: Consumers;
  const statusOf = async (queue: string) => (await connector.administration.getQueue(queue)).status;

  beforeEach(async () => {
    emulator = await startServiceBusEmulator({
      queues: ['intake', 'work'].map((name) => ({
        name,
        lockDurationMs: 60_000,
        maxDeliveryCount: 1_000,
        duplicateDetectionWindowMs: 3_600_000,
      })),
    });
    connector = new ServiceBusConnector({
      serviceBusNamespace: '127.0.0.1',
      serviceBusConnectionString: emulator.connectionString,
      administrationEndpoint: emulator.adminUrl,
    });
    consumers = serviceBusConsumers({ id: 'azure', connector, queues: ['intake', 'work'], timeouts: idle });
  });
  afterEach(async () => {
    await connector.close();
    await emulator.close();
  });

  test('receiving is disabled and enabled, and nothing else of the queue changes', async () => {
    const before = await connector.administration.getQueue('work');
    await consumers.pause();
    expect([await statusOf('intake'), await statusOf('work')]).toEqual(['ReceiveDisabled', 'ReceiveDisabled']);
    expect(await consumers.isPaused()).toBe(true);
    await consumers.resume();
    expect(await consumers.isPaused()).toBe(false);
    expect(await connector.administration.getQueue('work')).toMatchObject({
      maxDeliveryCount: before.maxDeliveryCount,
      lockDuration: before.lockDuration,
      requiresDuplicateDetection: true,
      duplicateDetectionHistoryTimeWindow: before.duplicateDetectionHistoryTimeWindow,
      status: 'Active',
    });
  });

  test('a queue that somebody disabled altogether stays disabled', async () => {
    const description = await connector.administration.getQueue('work');
    await connector.administration.updateQueue({ ...description, status: 'Disabled' });
    await consumers.resume();
    expect(await statusOf('work')).toBe('Disabled');
  });
});

describe('tending', () => {
  const world = new World();
  const core = world.core('aws');
  const entry = (state: SiteState, fencedEpoch: number) => {
    const control = firstEntry(0);
    return { ...control, sites: { ...control.sites, aws: { ...control.sites.aws!, state, fencedEpoch } } };
  };
  /** Consumers that count what they are asked, and fail on demand. */
  function counted(isPaused = false) {
    const calls: string[] = [];
    const state = { isPaused, fails: false };
    const run = (name: string, paused?: boolean) => async () => {
      calls.push(name);
      if (state.fails) throw new Error('control plane is down');
      if (paused !== undefined) state.isPaused = paused;
      return state.isPaused;
    };
    const consumers = {
      name: 'aws/consumers',
      isPaused: run('look'),
      pause: run('pause', true),
      resume: run('resume', false),
    };
    return { calls, state, consumers: consumers as unknown as Consumers };
  }

  test('a fenced site is paused once, and resumed once when it recovers', async () => {
    const { calls, consumers } = counted();
    const tend = (state: SiteState) => tendConsumers(core, entry(state, 2), consumers);
    expect([await tend('fenced'), await tend('fenced'), await tend('recovering'), await tend('active')]).toEqual([
      'paused',
      'nothing',
      'resumed',
      'nothing',
    ]);
    expect(calls).toEqual(['look', 'pause', 'look', 'resume']);
  });

  test('a control plane that fails keeps nobody waiting and is asked again', async () => {
    const { state, consumers } = counted();
    state.fails = true;
    expect(await tendConsumers(core, entry('fenced', 2), consumers)).toBe('failed');
    state.fails = false;
    expect(await tendConsumers(core, entry('fenced', 2), consumers)).toBe('paused');
  });

  test('what a person paused at a site that was never fenced stays paused', async () => {
    const { calls, consumers } = counted(true);
    expect(await tendConsumers(core, entry('active', 0), consumers)).toBe('nothing');
    expect(calls).toEqual([]);
  });

  test('a process that starts after the site returned resumes what an earlier one paused', async () => {
    const { consumers } = counted(true);
    expect(await tendConsumers(core, entry('active', 2), consumers)).toBe('resumed');
  });
});
