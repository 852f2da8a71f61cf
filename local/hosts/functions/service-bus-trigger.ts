import { ServiceBusClient, type ServiceBusReceivedMessage } from '@azure/service-bus';
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
): { close(): Promise<void> } {
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
  receiver.subscribe(
    {
      processMessage: (message) =>
        invoker.invoke(registered, { data: { string: textOf(message.body) }, metadata: metadataOf(message) }),
      async processError({ error, errorSource }) {
        log.warn('trigger.failed', { function: name, queue: queueName, source: errorSource, error: error.message });
      },
    },
    { maxConcurrentCalls: settings.maxConcurrentCalls, autoCompleteMessages: settings.autoCompleteMessages },
  );
  return {
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
