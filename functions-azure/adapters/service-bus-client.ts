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
  /** Aborted when the connection is gone. */
  broken: AbortController;
  discarded: boolean;
}

/**
 * The connection of a site to its namespace, opened by the first call and replaced when it breaks or a call over it
 * fails. The SDK by itself waits for replies to what it sent over a connection that closed, until their time is over,
 * and keeps one that merely stopped answering for as long as TCP does.
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

  /**
   * Lends the client for one call, with a signal that its connection broke. `isBroken` tells from the call's error
   * whether to go on with another connection.
   */
  async use<T>(
    call: (client: ServiceBusClient, broken: AbortSignal) => Promise<T>,
    isBroken: (error: unknown) => boolean,
  ): Promise<T> {
    this.#lent ??= this.#lend();
    const lent = this.#lent;
    lent.calls++;
    try {
      return await call(lent.client, lent.broken.signal);
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

  #lend(): Lent {
    const lent: Lent = { client: this.#connect(), calls: 0, broken: new AbortController(), discarded: false };
    whenDisconnected(lent.client, () => {
      this.#discard(lent);
      // Calls that the SDK itself ends now know better why: a connection that was refused breaks, too.
      setImmediate(() => lent.broken.abort(Object.assign(new Error('the connection broke'), { code: 'ECONNRESET' })));
    });
    return lent;
  }

  /** Nobody gets it any more; it is closed when its last call has ended. */
  #discard(lent: Lent): void {
    if (lent.discarded) return;
    lent.discarded = true;
    if (this.#lent === lent) this.#lent = undefined;
    if (lent.calls === 0) this.#closeClient(lent.client);
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

/** The SDK tells nobody; without what it hides here, a broken connection is noticed by time-outs alone. */
function whenDisconnected(client: ServiceBusClient, listener: () => void): void {
  const { _connectionContext: context } = client as unknown as {
    _connectionContext?: { connection?: { once?(event: string, listener: () => void): void } };
  };
  context?.connection?.once?.('disconnected', listener);
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
