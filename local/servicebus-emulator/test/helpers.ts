import { ServiceBusClient, type ServiceBusReceivedMessage, type ServiceBusReceiver } from '@azure/service-bus';
import { afterEach } from '@jest/globals';
import {
  type EmulatorOptions,
  type QueueConfig,
  type ServiceBusEmulator,
  startServiceBusEmulator,
} from '../src/index.ts';

const openThings: (() => Promise<unknown>)[] = [];

/** Closed after the test, last opened first. */
export function closeAfterTest(close: () => Promise<unknown>): void {
  openThings.push(close);
}

afterEach(async () => {
  for (const close of openThings.splice(0).reverse()) await close();
});

/** A clock that stands still until it is moved. It starts at the real time, since the SDK compares with its own. */
export function createClock() {
  let now = Date.now();
  return {
    now: () => now,
    advance(ms: number) {
      now += ms;
    },
  };
}

export interface Setup {
  emulator: ServiceBusEmulator;
  client: ServiceBusClient;
}

/** An emulator with the queue `q` and a client that does not retry, so that an error is seen as the service gave it. */
export async function setUp(queue: Partial<QueueConfig> = {}, options: Partial<EmulatorOptions> = {}): Promise<Setup> {
  const emulator = await startServiceBusEmulator({ queues: [{ name: 'q', ...queue }], ...options });
  closeAfterTest(() => emulator.close());
  return { emulator, client: connect(emulator) };
}

export function connect(emulator: Pick<ServiceBusEmulator, 'connectionString'>): ServiceBusClient {
  const client = new ServiceBusClient(emulator.connectionString, {
    retryOptions: { maxRetries: 0, retryDelayInMs: 50 },
  });
  closeAfterTest(() => client.close());
  return client;
}

/** The one message that is there; throws when none comes. */
export async function receiveOne(receiver: ServiceBusReceiver): Promise<ServiceBusReceivedMessage> {
  const [message] = await receiver.receiveMessages(1, { maxWaitTimeInMs: 10_000 });
  if (!message) throw new Error('no message came');
  return message;
}

/** Asks for messages where none is expected. */
export const receiveNone = (receiver: ServiceBusReceiver) => receiver.receiveMessages(1, { maxWaitTimeInMs: 100 });

export async function sendOne(client: ServiceBusClient, body: unknown = 'hello', rest: object = {}): Promise<void> {
  const sender = client.createSender('q');
  await sender.sendMessages({ body, messageId: 'm1', ...rest });
  await sender.close();
}

/** The code of the error a promise ends with; `undefined` where it succeeds. */
export async function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  try {
    await promise;
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
}

/** A promise with its handles, to await events. */
export function deferred<T>() {
  return Promise.withResolvers<T>();
}
