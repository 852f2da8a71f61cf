import { createServer, type Socket } from 'node:net';
import rhea from 'rhea';
import { answerRequests } from '../servicebus-emulator/src/amqp/requests.ts';
import { type AmqpConnection, type AmqpLink, keepEncodedBytes } from '../servicebus-emulator/src/amqp/rhea.ts';
import { ServiceBusFault } from '../servicebus-emulator/src/fault.ts';
import type { Fault, LiveFault } from './faults.ts';
import type { Gate } from './gate.ts';

const CBS_KEYS = { status: 'status-code', description: 'status-description', condition: 'error-condition' };
const CBS_CREDIT = 100;

/**
 * Takes AMQP connections as Service Bus does, and then refuses every link with the condition of the fault that holds.
 * Expired credentials are refused where a client presents them, at `$cbs`.
 */
export async function startAmqpGate(faults: () => readonly LiveFault[]): Promise<Gate> {
  const container = rhea.create_container({ id: 'holdfast-fault' });
  const sockets = new Set<Socket>();
  // rhea throws what nobody listens for.
  for (const event of [
    'error',
    'protocol_error',
    'connection_error',
    'session_error',
    'sender_error',
    'receiver_error',
  ])
    container.on(event, () => {});
  const refusal = () => refusalOf(faults()[0]?.fault.kind);

  function attach(link: AmqpLink, weSend: boolean): void {
    link.set_source({ address: link.source?.address });
    link.set_target({ address: link.target?.address });
    const address = (weSend ? link.source : link.target)?.address ?? '';
    if (!/\$cbs$/i.test(address)) {
      const { condition, message } = refusal();
      link.close({ condition, description: message });
    } else if (!weSend) {
      answerRequests({
        link,
        findReplyLink: (replyTo) =>
          link.connection.find_sender((reply) => reply.target?.address === replyTo || reply.name === replyTo),
        keys: CBS_KEYS,
        handle: (_, reply) => {
          const fault = refusal();
          if (fault.status === 401) throw fault;
          reply({ status: 202, description: 'Accepted' });
        },
      });
      link.add_credit(CBS_CREDIT);
    }
  }
  container.on('sender_open', ({ sender }) => attach(sender as never, true));
  container.on('receiver_open', ({ receiver }) => attach(receiver as never, false));

  const server = createServer((socket) => {
    const options = { idle_time_out: 240_000, autoaccept: false, credit_window: 0, reconnect: false };
    const connection = container.create_connection(options as never) as unknown as AmqpConnection;
    keepEncodedBytes(connection);
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      connection._disconnected();
    });
    connection.accept(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot 2026-11 */
function refusalOf(kind: Fault['kind'] | undefined): ServiceBusFault {
  if (kind === 'throttle')
    return new ServiceBusFault('com.microsoft:server-busy', 503, 'The service is busy. Retry after 10 seconds.');
  if (kind === 'expired-credentials')
    return new ServiceBusFault('amqp:unauthorized-access', 401, 'ExpiredToken: The token is expired.');
  return new ServiceBusFault('amqp:internal-error', 500, 'The service was unable to process the request.');
}
