import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import rhea, { type Typed } from 'rhea';

/**
 * What we use of rhea beyond its typings, in one place, so that an upgrade has one file to check (written against rhea
 * 3.0.5). A broker needs things a client library does not offer: the bytes of a message, the session window, a
 * `drained` answer at zero credit, and settling a delivery twice over.
 */

/** Encoding and decoding of AMQP types; the constructors are missing from the typings. */
export const types = rhea.types as typeof rhea.types & {
  Reader: new (buffer: Buffer) => { read(): Typed; remaining(): number };
  Writer: new () => { write(typed: Typed): void; toBuffer(): Buffer };
};

export const message = rhea.message as typeof rhea.message & {
  accepted(): { described(): Typed };
  rejected(fields: { error: { condition: string; description: string } }): { described(): Typed };
};

export interface AmqpDelivery {
  readonly id: number;
  readonly tag: Buffer;
  readonly link: AmqpLink;
  /** The outcome the peer reported, fields still typed. */
  readonly remote_state?: { value: Typed[] };
  settled: boolean;
  remote_settled: boolean;
}

export interface AmqpSession {
  readonly outgoing: {
    readonly next_delivery_id: number;
    readonly next_pending_delivery: number;
    available(): number;
    transfer_window(): number;
  };
  is_open(): boolean;
  output(performative: object): void;
  each_link(action: (link: AmqpLink) => void): void;
}

interface Terminus {
  address?: string;
  filter?: Record<string, unknown>;
}

export interface AmqpLink extends EventEmitter {
  readonly name: string;
  readonly session: AmqpSession;
  readonly connection: AmqpConnection;
  readonly source?: Terminus;
  readonly target?: Terminus;
  readonly snd_settle_mode?: number;
  readonly rcv_settle_mode?: number;
  readonly local: { attach: Record<string, unknown> };
  readonly state: { readonly open_requests: number };
  credit: number;
  delivery_count: number;
  issue_flow: boolean;
  _draining?: boolean;
  _get_drain(): boolean;
  set_source(fields: Terminus): void;
  set_target(fields: Terminus): void;
  is_open(): boolean;
  is_receiver(): boolean;
  close(error?: { condition: string; description: string }): void;
  /** Sending links only. */
  send(payload: Buffer, tag: Buffer, format: number): AmqpDelivery;
  /** Receiving links only. */
  add_credit(credit: number): void;
}

export interface Frame {
  channel: number;
  performative: { message_format?: number };
}

export interface AmqpConnection extends EventEmitter {
  readonly remote_channel_map: Record<number, AmqpSession>;
  accept(socket: Socket): void;
  find_sender(filter: (link: AmqpLink) => boolean): AmqpLink | undefined;
  close(error?: { condition: string; description: string }): void;
  output(): void;
  on_transfer(frame: Frame): void;
  on_flow(frame: Frame): void;
  _register(): void;
  _disconnected(): void;
}

/** One batch: data sections, each an encoded message. @source https://github.com/Azure/azure-sdk-for-js (messageSender.ts) 2026-11 */
export const BATCH_FORMAT = 0x80013700;
/** Stands for format 0 inside this process, because rhea decodes what carries 0 and throws the bytes away. */
const RAW_FORMAT = 0xffff_ffff;

/** Makes `message` events of every link carry the encoded bytes, whatever the format. */
export function keepEncodedBytes(connection: AmqpConnection): void {
  const onTransfer = connection.on_transfer;
  connection.on_transfer = (frame) => {
    if (frame.performative.message_format === 0) frame.performative.message_format = RAW_FORMAT;
    onTransfer.call(connection, frame);
  };
}

/** Reports every flow frame: rhea has no event for one that opens the session window and names no link. */
export function watchFlow(connection: AmqpConnection, onSessionFlow: (session: AmqpSession) => void): void {
  const onFlow = connection.on_flow;
  connection.on_flow = (frame) => {
    onFlow.call(connection, frame);
    const session = connection.remote_channel_map[frame.channel];
    if (session) onSessionFlow(session);
  };
}

/** Gathers the frames of one turn into one write: rhea makes a system call for each. */
export function corkWrites(connection: AmqpConnection, socket: Socket): void {
  const output = connection.output;
  let corked = false;
  connection.output = () => {
    if (!corked) {
      corked = true;
      socket.cork();
      process.nextTick(() => {
        corked = false;
        socket.uncork();
      });
    }
    output.call(connection);
  };
}

/** Whether our attach is on the wire. rhea would send a transfer before it, when a flow came together with the peer's. */
export const isAttached = (link: AmqpLink): boolean => link.is_open() && link.state.open_requests === 0;

/** @source http://docs.oasis-open.org/amqp/core/v1.0/os/amqp-core-transport-v1.0-os.html#type-disposition 2026-11 */
const disposition = types.define_composite({
  name: 'disposition',
  code: 0x15,
  fields: [
    { name: 'role', type: 'boolean', mandatory: true },
    { name: 'first', type: 'uint', mandatory: true },
    { name: 'last', type: 'uint' },
    { name: 'settled', type: 'boolean' },
    { name: 'state', type: '*' },
  ],
});

/**
 * Settles a delivery on both sides, in a frame of its own. rhea's `update` would join the first two dispositions of a
 * turn whatever their outcomes, so that a refusal behind an acceptance went out as accepted; and in second settle mode,
 * where the peer never settles, it would keep the delivery for ever.
 */
export function settleDelivery(delivery: AmqpDelivery, state: Typed): void {
  const { id, link, remote_settled: needsNoAnswer } = delivery;
  delivery.settled = true;
  delivery.remote_settled = true;
  // A frame on a session that has ended would break the whole connection.
  if (!link.session.is_open()) return;
  if (!needsNoAnswer) {
    const fields = { role: link.is_receiver(), first: id, last: id, settled: true, state };
    link.session.output((disposition as unknown as { create(fields: object): object }).create(fields));
  }
  link.connection._register();
}

/** Spends the remaining credit and says so. rhea says nothing when none is left, and the SDK then waits in vain. */
export function answerDrain(link: AmqpLink): void {
  link.delivery_count += link.credit;
  link.credit = 0;
  link._draining = false;
  link._get_drain = () => {
    link._get_drain = () => false;
    return true;
  };
  link.issue_flow = true;
  link.connection._register();
}

export const acceptedState = (): Typed => message.accepted().described();

export const rejectedState = (condition: string, description: string): Typed =>
  message.rejected({ error: { condition, description } }).described();
