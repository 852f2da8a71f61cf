import { type ProcessErrorArgs, ServiceBusClient, type ServiceBusReceivedMessage } from '@azure/service-bus';
import { ownTurn } from '../../../functions-azure/adapters/turns.ts';
import { ConfigError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/ports/log.ts';
import type { RegisteredFunction, TypedData } from './core-module.ts';
import type { HostJson } from './host-json.ts';
import { type Invoker, triggerBinding } from './invocation.ts';

/**
 * How the host's own client comes back after a lost connection.
 * @source https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus#hostjson-settings 2026-11 (clientRetryOptions)
 */
const RETRY = { maxRetries: 3, retryDelayInMs: 800, maxRetryDelayInMs: 10_000, mode: 0 };

/** A queue that calls a function. */
export interface ServiceBusTrigger {
  /** Off: nothing is received any more; what is being worked keeps its lock and is settled. */
  setPolling(on: boolean): void;
  close(): Promise<void>;
}

/**
 * Calls a function with every message of its queue: one message an invocation, up to `maxConcurrentCalls` at once, in
 * peek-lock, the lock renewed meanwhile; completed when the function returns, abandoned when it throws.
 * @throws ConfigError where the connection is no connection string
 */
export function startServiceBusTrigger(
  registered: RegisteredFunction,
  invoker: Invoker,
  settings: HostJson['serviceBus'],
  env: NodeJS.ProcessEnv,
  log: Log,
): ServiceBusTrigger {
  const { options } = triggerBinding(registered);
  const name = registered.metadata.name;
  const queueName = String(options.queueName).replace(/%([^%]+)%/g, (_, key) => env[key] ?? '');
  const connection = env[String(options.connection)];
  if (!connection)
    throw new ConfigError(String(options.connection), `${options.connection}: ${name} needs a connection string there`);
  if (options.cardinality === 'many' || options.isSessionsEnabled === true)
    throw new ConfigError(name, `${name}: only cardinality one without sessions is emulated`);

  const client = new ServiceBusClient(connection, { retryOptions: RETRY });
  const receiver = client.createReceiver(queueName, {
    receiveMode: 'peekLock',
    maxAutoLockRenewalDurationInMs: settings.maxAutoLockRenewalMs,
    // The SDK would parse JSON; the programming model does that itself, from the text on the wire.
    skipParsingBodyAsJson: true,
  });
  const handlers = {
    async processMessage(message: ServiceBusReceivedMessage) {
      try {
        await invoker.invoke(registered, { data: { string: textOf(message.body) }, metadata: metadataOf(message) });
      } finally {
        // The receiver settles right after this.
        await ownTurn();
      }
    },
    async processError({ error, errorSource }: ProcessErrorArgs) {
      log.warn('trigger.failed', { function: name, queue: queueName, source: errorSource, error: error.message });
    },
  };
  const { maxConcurrentCalls, autoCompleteMessages } = settings;
  const listen = () => receiver.subscribe(handlers, { maxConcurrentCalls, autoCompleteMessages });
  let listening: ReturnType<typeof listen> | undefined = listen();
  /** Changes happen one after another: ending to listen takes a round trip. */
  let changing = Promise.resolve();
  return {
    setPolling(on) {
      changing = changing.then(async () => {
        if (on) listening ??= listen();
        else await listening?.close().catch(() => {});
        if (!on) listening = undefined;
      });
    },
    async close() {
      await receiver.close();
      await client.close();
    },
  };
}

/** The body as text, as the host hands it to a worker that is not .NET. */
function textOf(body: unknown): string {
  if (typeof body === 'string') return body;
  if (body instanceof Uint8Array) return Buffer.from(body).toString('utf8');
  return JSON.stringify(body) ?? '';
}

/**
 * The wire counts deliveries from 0, the host from 1.
 * @source https://learn.microsoft.com/azure/azure-functions/functions-bindings-service-bus-trigger#message-metadata 2026-11
 */
function metadataOf(message: ServiceBusReceivedMessage): Record<string, TypedData> {
  const texts = {
    MessageId: message.messageId,
    LockToken: message.lockToken,
    SequenceNumber: message.sequenceNumber,
    EnqueuedTimeUtc: message.enqueuedTimeUtc?.toISOString(),
    ExpiresAtUtc: message.expiresAtUtc?.toISOString(),
    ContentType: message.contentType,
    CorrelationId: message.correlationId,
    Subject: message.subject,
  };
  return {
    ...Object.fromEntries(
      Object.entries(texts).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, { string: String(value) }]],
      ),
    ),
    DeliveryCount: { int: (message.deliveryCount ?? 0) + 1 },
    ApplicationProperties: { json: JSON.stringify(message.applicationProperties ?? {}) },
  };
}
