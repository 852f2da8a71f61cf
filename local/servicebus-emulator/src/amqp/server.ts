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

/** What a client has attached to a queue, so that it can be detached when the queue's status says so. */
interface Attachment {
  queue: Queue;
  link: AmqpLink;
  use: 'send' | 'receive' | 'manage';
  outgoing?: OutgoingLink;
}

/** The AMQP side: accepts connections, says which address a link is for, and hands the link to who serves it. */
export class AmqpServer {
  private readonly broker: Broker;
  private readonly logger: EmulatorLogger;
  private readonly container = rhea.create_container({ id: 'servicebus-emulator' });
  private readonly server: Server;
  private readonly connections = new Map<AmqpConnection, Socket>();
  private readonly attachments = new Map<AmqpLink, Attachment>();
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
    broker.onRevoked = (queue) => this.detachWhatIsForbidden(queue);
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
    for (const socket of this.connections.values()) socket.destroy();
    await closed;
  }

  private accept(socket: Socket): void {
    const connection = this.container.create_connection(CONNECTION_OPTIONS as never) as unknown as AmqpConnection;
    keepEncodedBytes(connection);
    corkWrites(connection, socket);
    watchFlow(connection, (session) => this.sessionFlowed(session));
    this.connections.set(connection, socket);
    // A destroyed socket ends without the `end` that rhea waits for before it stops its heartbeats.
    socket.on('close', () => connection._disconnected());
    connection.accept(socket);
  }

  private disconnected(connection: AmqpConnection): void {
    this.connections.delete(connection);
    for (const link of this.attachments.keys()) if (link.connection === connection) this.forget(link);
  }

  /** Locks outlive the link they were taken on. @source https://github.com/Azure/azure-sdk-for-python/issues/31187 2026-11 */
  private forget(link: AmqpLink): void {
    const attachment = this.attachments.get(link);
    this.attachments.delete(link);
    if (attachment?.outgoing) this.dispatcher(attachment.outgoing.sub).remove(attachment.outgoing);
  }

  private sessionFlowed(session: AmqpSession): void {
    session.each_link((link) => {
      const outgoing = this.attachments.get(link)?.outgoing;
      if (!outgoing) return;
      this.dispatcher(outgoing.sub).dispatch();
      outgoing.finishDrain();
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
      this.keep({ queue: address.queue, link, use: 'manage' });
      if (weSend) return;
      answerRequests({
        link,
        findReplyLink: (replyTo) => this.findReplyLink(link, replyTo),
        keys: MANAGEMENT_KEYS,
        handle: (request, reply) => handleManagement({ broker: this.broker, address, request, reply }),
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
    this.keep({ queue, link, use: 'send' });
    receiveSends(this.broker, queue, link);
  }

  private serveReceiver(link: AmqpLink, queue: Queue, sub: SubQueue): void {
    if (link.source?.filter?.['com.microsoft:session-filter'] !== undefined) {
      throw notImplemented('Sessions are not supported.');
    }
    queue.assertReceivable();
    link.local.attach.snd_settle_mode = link.snd_settle_mode;
    link.local.attach.rcv_settle_mode = link.rcv_settle_mode;
    const outgoing = new OutgoingLink({ broker: this.broker, queue, sub, link });
    this.keep({ queue, link, use: 'receive', outgoing });
    this.dispatcher(sub).add(outgoing);
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

  private keep(attachment: Attachment): void {
    this.attachments.set(attachment.link, attachment);
  }

  private detachWhatIsForbidden(queue: Queue): void {
    const isGone = this.broker.find(queue.name) !== queue;
    const { status } = queue;
    for (const { link, queue: attached, use } of [...this.attachments.values()]) {
      if (attached !== queue) continue;
      let fault: ServiceBusFault | undefined;
      if (isGone) fault = entityNotFound(queue.name);
      else if (use === 'send' && (status === 'Disabled' || status === 'SendDisabled')) {
        fault = entityDisabled(queue.name, 'Sending to');
      } else if (use === 'receive' && (status === 'Disabled' || status === 'ReceiveDisabled')) {
        fault = entityDisabled(queue.name, 'Receiving from');
      }
      if (!fault) continue;
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
