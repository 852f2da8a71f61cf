import { ServiceBusAdministrationClient, ServiceBusClient } from '@azure/service-bus';
import { defaultCredential } from './credential.ts';
import { defaultTimeouts, type Timeouts } from './http.ts';

/** How a client reaches a Service Bus namespace. */
export interface ServiceBusConnection {
  /** `<name>.servicebus.windows.net`. */
  serviceBusNamespace: string;
  /** With the Manage right, where depth is asked for. Default: managed identity, or what else the Azure SDK finds. */
  serviceBusConnectionString?: string;
  /** Where the namespace's administration is, if elsewhere; `http:` is taken as such, which the SDK by itself is not. */
  administrationEndpoint?: string;
  timeouts?: Timeouts;
}

/** One AMQP connection, and how many calls are using it. */
interface Lent {
  client: ServiceBusClient;
  calls: number;
  discarded: boolean;
}

/**
 * The connection of a site to its namespace, opened by the first call and replaced after one that failed: the SDK
 * recovers from a connection that closes, but keeps one that merely stopped answering for as long as TCP does.
 */
export class ServiceBusConnector {
  readonly #connection: ServiceBusConnection;
  readonly #timeouts: Timeouts;
  #lent: Lent | undefined;
  #admin: ServiceBusAdministrationClient | undefined;
  readonly #closing = new Set<Promise<void>>();

  constructor(connection: ServiceBusConnection) {
    this.#connection = connection;
    this.#timeouts = connection.timeouts ?? defaultTimeouts;
  }

  /** Lends the client for one call. `isBroken` tells from the call's error whether to go on with another connection. */
  async use<T>(call: (client: ServiceBusClient) => Promise<T>, isBroken: (error: unknown) => boolean): Promise<T> {
    this.#lent ??= { client: this.#connect(), calls: 0, discarded: false };
    const lent = this.#lent;
    lent.calls++;
    try {
      return await call(lent.client);
    } catch (error) {
      if (isBroken(error)) this.#discard(lent);
      throw error;
    } finally {
      lent.calls--;
      if (lent.discarded && lent.calls === 0) this.#closeClient(lent.client);
    }
  }

  /** For counts and status; over HTTP. */
  get administration(): ServiceBusAdministrationClient {
    this.#admin ??= this.#administer();
    return this.#admin;
  }

  async close(): Promise<void> {
    if (this.#lent !== undefined) {
      this.#lent.discarded = true;
      this.#closeClient(this.#lent.client);
      this.#lent = undefined;
    }
    await Promise.all(this.#closing);
  }

  #discard(lent: Lent): void {
    lent.discarded = true;
    if (this.#lent === lent) this.#lent = undefined;
  }

  /** Waits for no longer than a reply: nobody may be there to say good-bye to. */
  #closeClient(client: ServiceBusClient): void {
    const late = new Promise<void>((resolve) => setTimeout(resolve, this.#timeouts.requestMs).unref());
    const closed = Promise.race([client.close().catch(() => {}), late]).then(() => {
      this.#closing.delete(closed);
    });
    this.#closing.add(closed);
  }

  #connect(): ServiceBusClient {
    const { serviceBusConnectionString, serviceBusNamespace } = this.#connection;
    // Also what a message that was under way when its connection broke is waited for.
    const options = { retryOptions: { maxRetries: 0, timeoutInMs: this.#timeouts.requestMs } };
    return serviceBusConnectionString === undefined
      ? new ServiceBusClient(serviceBusNamespace, defaultCredential(), options)
      : new ServiceBusClient(serviceBusConnectionString, options);
  }

  #administer(): ServiceBusAdministrationClient {
    const { serviceBusConnectionString, serviceBusNamespace, administrationEndpoint } = this.#connection;
    const host = administrationEndpoint === undefined ? undefined : new URL(administrationEndpoint).host;
    const options = { retryOptions: { maxRetries: 0 } };
    const client =
      serviceBusConnectionString === undefined
        ? new ServiceBusAdministrationClient(host ?? serviceBusNamespace, defaultCredential(), options)
        : new ServiceBusAdministrationClient(atHost(serviceBusConnectionString, host), options);
    if (administrationEndpoint?.startsWith('http:')) client.pipeline.addPolicy(plainHttp(), { afterPhase: 'Sign' });
    return client;
  }
}

function atHost(connectionString: string, host: string | undefined): string {
  return host === undefined ? connectionString : connectionString.replace(/Endpoint=[^;]*/i, `Endpoint=sb://${host}`);
}

/** The SDK makes `https:` addresses and nothing else. */
function plainHttp(): Parameters<ServiceBusAdministrationClient['pipeline']['addPolicy']>[0] {
  return {
    name: 'plainHttp',
    sendRequest(request, next) {
      request.url = request.url.replace(/^https:/, 'http:');
      request.allowInsecureConnection = true;
      return next(request);
    },
  };
}
