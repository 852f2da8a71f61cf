import { createServer, type Server, type Socket } from 'node:net';
import rhea from 'rhea';
import type { Broker } from '../broker.ts';
import { asFault, entityDisabled, entityNotFound, notImplemented, type ServiceBusFault } from '../fault.ts';
import { MESSAGE_BYTES_MAX } from '../limits.ts';
import type { EmulatorLogger } from '../logger.ts';
import type { Queue } from '../queue.ts';
import type { SubQueue } from '../sub-queue.ts';
import { Dispatcher } from './dispatcher.ts';
import { receiveSends } from './incoming.ts';
import { handleManagement } from './management.ts';
import { OutgoingLink } from './outgoing.ts';
import { answerRequests, type ReplyKeys } from './requests.ts';
import {
  type AmqpConnection,
  type AmqpLink,
  type AmqpSession,
  corkWrites,
  keepEncodedBytes,
  watchFlow,
} from './rhea.ts';

/** Sends a client may have under way on a link; the SDK waits a whole second whenever it finds none left. */
const SEND_CREDIT = 2_048;

/**
 * Unsettled deliveries a session may hold. A receiver that settles the newest first keeps all older ones in the buffer,
 * and rhea throws when it is full; the SDK's own window is 2,048.
 */
const SESSION_BUFFER = { incoming: 8_192, outgoing: 65_536 };

const CONNECTION_OPTIONS = {
  // What the service announces. @source https://github.com/vcabbage/amqp/issues/56 2026-11
  max_frame_size: 65_536,
  idle_time_out: 240_000,
  session_buffer_size: SESSION_BUFFER,
  autoaccept: false,
  // Credit is granted only once a link is known to be wanted.
  credit_window: 0,
  treat_modified_as_released: false,
  tcp_no_delay: true,
  reconnect: false,
};

/** @source https://docs.oasis-open.org/amqp/amqp-cbs/v1.0/csd01/amqp-cbs-v1.0-csd01.html 2026-11 */
const CBS_KEYS: ReplyKeys = { status: 'status-code', description: 'status-description', condition: 'error-condition' };
/** @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response 2026-11 */
const MANAGEMENT_KEYS: ReplyKeys = {
  status: 'statusCode',
  description: 'statusDescription',
  condition: 'errorCondition',
};

/** The AMQP side: accepts connections, says which address a link is for, and hands the link to who serves it. */
export class AmqpServer {
  private readonly broker: Broker;
  private readonly logger: EmulatorLogger;
  private readonly container = rhea.create_container({ id: 'servicebus-emulator' });
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  /** The links on which clients receive. */
  private readonly receivers = new Map<AmqpLink, OutgoingLink>();
  private readonly dispatchers = new WeakMap<SubQueue, Dispatcher>();

  constructor(broker: Broker, logger: EmulatorLogger) {
    this.broker = broker;
    this.logger = logger;
    this.server = createServer((socket) => this.accept(socket));
    // rhea throws what nobody listens for, and prints what it would rather not throw.
    for (const event of [
      'error',
      'protocol_error',
      'connection_error',
      'session_error',
      'sender_error',
      'receiver_error',
    ]) {
      this.container.on(event, (context) => this.logger.debug(`amqp ${event}`, { error: describe(context) }));
    }
    this.container.on('sender_open', ({ sender }) => this.attach(sender, true));
    this.container.on('receiver_open', ({ receiver }) => this.attach(receiver, false));
    this.container.on('sender_close', ({ sender }) => this.forget(sender));
    this.container.on('receiver_close', ({ receiver }) => this.forget(receiver));
    this.container.on('session_close', ({ session }) => session.each_link((link: AmqpLink) => this.forget(link)));
    this.container.on('disconnected', ({ connection }) => this.disconnected(connection));
    this.container.on('connection_close', ({ connection }) => this.disconnected(connection));
    broker.onChanged = (queue) => this.detachReceivers(queue);
  }

  /** @returns the port it listens on. */
  async listen(host: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, () => resolve());
    });
    return (this.server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }

  private accept(socket: Socket): void {
    const connection = this.container.create_connection(CONNECTION_OPTIONS as never) as unknown as AmqpConnection;
    keepEncodedBytes(connection);
    corkWrites(connection, socket);
    watchFlow(connection, (session) => this.sessionFlowed(session));
    this.sockets.add(socket);
    socket.on('close', () => {
      this.sockets.delete(socket);
      // A destroyed socket ends without the `end` that rhea waits for before it stops its heartbeats.
      connection._disconnected();
    });
    connection.accept(socket);
  }

  private disconnected(connection: AmqpConnection): void {
    for (const link of this.receivers.keys()) if (link.connection === connection) this.forget(link);
  }

  /** Locks outlive the link they were taken on. @source https://github.com/Azure/azure-sdk-for-python/issues/31187 2026-11 */
  private forget(link: AmqpLink): void {
    const receiver = this.receivers.get(link);
    this.receivers.delete(link);
    if (receiver) this.dispatcher(receiver.sub).remove(receiver);
  }

  private sessionFlowed(session: AmqpSession): void {
    session.each_link((link) => {
      const receiver = this.receivers.get(link);
      if (!receiver) return;
      // Not before rhea has written the attach, which it may have been about to.
      process.nextTick(() => {
        this.dispatcher(receiver.sub).dispatch();
        receiver.finishDrain();
      });
    });
  }

  private dispatcher(sub: SubQueue): Dispatcher {
    let dispatcher = this.dispatchers.get(sub);
    if (!dispatcher) {
      dispatcher = new Dispatcher(sub);
      this.dispatchers.set(sub, dispatcher);
    }
    return dispatcher;
  }

  private attach(link: AmqpLink, weSend: boolean): void {
    link.set_source({ address: link.source?.address });
    link.set_target({ address: link.target?.address });
    try {
      this.serve(link, pathOf((weSend ? link.source : link.target)?.address), weSend);
      if (!weSend) grantCredit(link);
    } catch (cause) {
      const fault = asFault(cause);
      this.logger.debug('amqp link refused', { link: link.name, error: fault.message });
      link.close({ condition: fault.condition, description: fault.message });
    }
  }

  private serve(link: AmqpLink, path: string, weSend: boolean): void {
    const parent = /^(?:(.*)\/)?(\$cbs|\$management)$/i.exec(path);
    const node = parent?.[2]?.toLowerCase();
    if (node === '$cbs') {
      if (!weSend) this.serveCbs(link);
      return;
    }
    const address = this.broker.resolve(parent?.[1] ?? path);
    if (node === '$management') {
      if (weSend) return;
      answerRequests({
        link,
        findReplyLink: (replyTo) => this.findReplyLink(link, replyTo),
        keys: MANAGEMENT_KEYS,
        handle: (request, reply) => handleManagement({ broker: this.broker, path: address.sub.path, request, reply }),
      });
      return;
    }
    if (weSend) this.serveReceiver(link, address.queue, address.sub);
    else this.serveSender(link, address.queue, address.sub);
  }

  private serveSender(link: AmqpLink, queue: Queue, sub: SubQueue): void {
    if (sub.isDeadLetter) throw notImplemented('Nothing can be sent to a dead-letter queue.');
    queue.assertSendable();
    link.local.attach.max_message_size = MESSAGE_BYTES_MAX;
    receiveSends(this.broker, queue.name, link);
  }

  private serveReceiver(link: AmqpLink, queue: Queue, sub: SubQueue): void {
    if (link.source?.filter?.['com.microsoft:session-filter'] !== undefined) {
      throw notImplemented('Sessions are not supported.');
    }
    queue.assertReceivable();
    link.local.attach.snd_settle_mode = link.snd_settle_mode;
    link.local.attach.rcv_settle_mode = link.rcv_settle_mode;
    const receiver = new OutgoingLink({ broker: this.broker, queue, sub, link });
    this.receivers.set(link, receiver);
    this.dispatcher(sub).add(receiver);
  }

  /** Any token is good, but as in the service there is none for a queue that does not exist. */
  private serveCbs(link: AmqpLink): void {
    answerRequests({
      link,
      findReplyLink: (replyTo) => this.findReplyLink(link, replyTo),
      keys: CBS_KEYS,
      handle: ({ properties }, reply) => {
        const audience = String(properties.name);
        const path = pathOf(audience).replace(/\/\$management$/i, '');
        if (path !== '') {
          try {
            this.broker.resolve(path);
          } catch {
            throw entityNotFound(audience);
          }
        }
        reply({ status: 202, description: 'Accepted' });
      },
    });
  }

  private findReplyLink(requests: AmqpLink, replyTo: string): AmqpLink | undefined {
    return requests.connection.find_sender((link) => link.target?.address === replyTo || link.name === replyTo);
  }

  private detachReceivers(queue: Queue): void {
    let fault: ServiceBusFault | undefined;
    if (this.broker.find(queue.name) !== queue) fault = entityNotFound(queue.name);
    else if (!queue.isReceivable) fault = entityDisabled(queue.name, 'Receiving from');
    if (!fault) return;
    for (const [link, receiver] of [...this.receivers]) {
      if (receiver.queue !== queue) continue;
      this.forget(link);
      link.close({ condition: fault.condition, description: fault.message });
    }
  }
}

/** Keeps the sender supplied, without a flow frame for every message. */
function grantCredit(link: AmqpLink): void {
  link.add_credit(SEND_CREDIT);
  link.on('message', () => {
    if (link.credit < SEND_CREDIT / 2) link.add_credit(SEND_CREDIT - link.credit);
  });
}

/** `queue` of `queue`, `/queue`, `amqps://host/queue` and `sb://host:port/queue`. */
function pathOf(address: string | undefined): string {
  if (!address) throw notImplemented('A link needs an address; dynamic nodes and transactions are not supported.');
  return address.replace(/^[a-z]+:\/\/[^/]*/i, '').replace(/^\/+|\/+$/g, '');
}

function describe(context: unknown): string {
  const error = (context as { error?: unknown })?.error ?? context;
  return error instanceof Error ? error.message : String((error as { description?: unknown })?.description ?? error);
}
