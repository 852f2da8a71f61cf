import { OutcomeUnknownError, SiteUnavailableError, TransientError } from '../../../shared/errors.ts';
import type { DurationMs } from '../../../shared/units.ts';
import { Faults } from '../../in-memory/faults.ts';
import type { StoreOp } from '../../in-memory/object-store.ts';
import type { QueueOp } from '../../in-memory/queue.ts';
import type { Process } from '../engine/process.ts';
import type { Stream } from '../engine/random.ts';
import type { Scheduler } from '../engine/scheduler.ts';
import type { Trace } from '../engine/trace.ts';
import { type Board, type Fate, Route } from './board.ts';

/** What all wires of a world share. */
export interface Network {
  scheduler: Scheduler;
  board: Board;
  trace: Trace;
  /** Told of every call before it leaves; may kill the caller, or have it killed once the call has had its effect. */
  onCall: ((call: WireCall) => void) | undefined;
  /** Calls made so far. */
  calls: number;
  /** Writes that took effect and whose answer was lost. */
  lostWrites: number;
}

export interface WireCall {
  process: Process;
  where: string;
  op: string;
  key: string;
  /** Kills the caller when the call has had its effect, before it hears of it. */
  killAfterEffect: () => void;
}

/** Operations as scenarios name them. */
const operationOf: Record<StoreOp | QueueOp, { service: 'store' | 'queue'; operation: string; isWrite: boolean }> = {
  putIfAbsent: { service: 'store', operation: 'put', isWrite: true },
  putStreamIfAbsent: { service: 'store', operation: 'put', isWrite: true },
  putIfMatch: { service: 'store', operation: 'put', isWrite: true },
  get: { service: 'store', operation: 'get', isWrite: false },
  getStream: { service: 'store', operation: 'get', isWrite: false },
  head: { service: 'store', operation: 'get', isWrite: false },
  list: { service: 'store', operation: 'list', isWrite: false },
  delete: { service: 'store', operation: 'put', isWrite: true },
  send: { service: 'queue', operation: 'send', isWrite: true },
  receive: { service: 'queue', operation: 'receive', isWrite: true },
  complete: { service: 'queue', operation: 'settle', isWrite: true },
  giveBack: { service: 'queue', operation: 'settle', isWrite: true },
  deadLetter: { service: 'queue', operation: 'settle', isWrite: true },
  extend: { service: 'queue', operation: 'settle', isWrite: true },
  depth: { service: 'queue', operation: 'receive', isWrite: false },
};

/** No adapter waits longer for a reply. @source functions-aws/adapters/http.ts, functions-azure/adapters/http.ts, `requestMs` */
const replyMaxMs: DurationMs = 5_000;

/** Half of a round trip between two places, in ms: within a site, between the clouds, to the witness or from elsewhere. */
const oneWayMs = { near: 4, clouds: 35, outside: 25 } as const;

/**
 * The way of one process to one store or queue: a request that takes time, its effect at the service, an answer that
 * takes time, each of which may fail as the board says. What a real adapter makes of it, `faultyStore` does.
 */
export class Wire<Op extends StoreOp | QueueOp> extends Faults<Op> {
  readonly #network: Network;
  readonly #process: Process;
  readonly #site: string;
  readonly #stream: Stream;
  readonly #halfMs: DurationMs;
  readonly #routes = new Map<string, Route>();
  /** Bytes of what lies under a key: what is large may fail where what is small does not. */
  readonly #size: (key: string) => number;

  constructor(network: Network, process: Process, site: string, stream: Stream, size: (key: string) => number) {
    super(process.clock, stream.next);
    this.#network = network;
    this.#process = process;
    this.#site = site;
    this.#stream = stream;
    this.#size = size;
    const clouds = ['aws', 'azure'];
    this.#halfMs =
      process.place === site
        ? oneWayMs.near
        : clouds.includes(process.place) && clouds.includes(site)
          ? oneWayMs.clouds
          : oneWayMs.outside;
  }

  override apply<T>(where: string, op: Op, key: string, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { scheduler, trace } = this.#network;
    const process = this.#process;
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.#network.calls += 1;
    let diesAfterEffect = false;
    this.#network.onCall?.({ process, where, op, key, killAfterEffect: () => (diesAfterEffect = true) });
    if (process.isDead) return new Promise(() => {});
    const { isWrite } = operationOf[op];
    const fate = this.#fate(op, key);
    const unheard = () => unanswered(where, op, isWrite);
    return new Promise<T>((resolve, reject) => {
      const fail = (error: unknown, afterMs: DurationMs) =>
        void scheduler.after(afterMs, () => process.deliver(() => reject(error)));
      const takeEffect = (answer: (value: T) => void, refuse: (error: unknown) => void) =>
        void call().then(
          (value) => {
            trace.write(scheduler.now, `${process.name} ${op} ${where} ${key} ${gist(value)}`);
            if (diesAfterEffect) process.kill();
            answer(value);
          },
          (error) => {
            trace.write(scheduler.now, `${process.name} ${op} ${where} ${key} refused`);
            refuse(error);
          },
        );
      const [thereMs, backMs] = this.#latency(fate);
      if (fate.silentMs !== undefined) {
        trace.write(scheduler.now, `${process.name} ${op} ${where} ${key} silence`);
        // A request that nobody answers may still arrive, even after its sender has given up.
        if (isWrite && this.#stream.chance(0.4) && Number.isFinite(fate.silentMs))
          scheduler.after(this.#stream.next() * 2 * fate.silentMs, () => takeEffect(nothing, nothing));
        return fail(unheard(), Math.min(fate.silentMs, replyMaxMs));
      }
      if (fate.error !== undefined) {
        trace.write(scheduler.now, `${process.name} ${op} ${where} ${key} ${fate.error}`);
        const isServerError = fate.error === '5xx';
        if (isServerError && isWrite && this.#stream.chance(0.2))
          scheduler.after(thereMs, () => takeEffect(nothing, nothing));
        return fail(errorOf(fate.error, where, op, isWrite), thereMs + backMs);
      }
      const isTooSlow = thereMs + backMs > replyMaxMs;
      if (isTooSlow) fail(unheard(), replyMaxMs);
      scheduler.after(thereMs, () =>
        takeEffect(
          (value) => {
            if (isTooSlow) return;
            if (fate.isReplyLost) {
              trace.write(scheduler.now, `${process.name} ${op} ${where} ${key} reply lost`);
              if (isWrite) this.#network.lostWrites += 1;
              return fail(unheard(), 2_000);
            }
            scheduler.after(backMs, () => process.deliver(() => resolve(value)));
          },
          (error) => fail(error, backMs),
        ),
      );
    });
  }

  #fate(op: Op, key: string): Fate {
    const { service, operation } = operationOf[op];
    let route = this.#routes.get(op);
    if (route === undefined) {
      route = new Route(this.#network.board, this.#process.place, this.#site, service, operation);
      this.#routes.set(op, route);
    }
    return route.fate(this.#process, key, this.#network.scheduler.now, this.#size(key));
  }

  #latency({ delayMs }: Fate): [number, number] {
    const draw = this.#stream.next();
    const tail = draw > 0.99 ? 8 : 1;
    const half = this.#halfMs * (0.6 + draw) * tail + delayMs / 2;
    return [half, half];
  }
}

const nothing = () => {};

/** The shape of an answer, for the trace. */
function gist(value: unknown): string {
  if (value === undefined) return '-';
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return `${value.length}`;
  const { status, entries, bytes } = value as { status?: string; entries?: unknown[]; bytes?: unknown };
  if (status !== undefined) return status;
  if (entries !== undefined) return `${entries.length} keys`;
  return bytes instanceof Uint8Array ? `${bytes.byteLength} B` : 'ok';
}

function unanswered(where: string, op: string, isWrite: boolean): Error {
  return isWrite
    ? new OutcomeUnknownError('reply_lost', `${where}: no answer to ${op}`)
    : new SiteUnavailableError('timeout', `${where}: no answer to ${op}`, where);
}

/** What an adapter makes of a code. */
function errorOf(code: string, where: string, op: string, isWrite: boolean): Error {
  const says = `${where}: ${op} answered ${code}`;
  if (code === '429' || code === 'throttled') return new TransientError('throttled', says);
  if (code === '401' || code === '403') return new SiteUnavailableError('credentials', says, where);
  if (code === '5xx')
    return isWrite
      ? new OutcomeUnknownError('server_error', says)
      : new SiteUnavailableError('server_error', says, where);
  if (code.startsWith('dns') || code === 'servfail') return new SiteUnavailableError('dns', says, where);
  return new SiteUnavailableError('refused', says, where);
}
