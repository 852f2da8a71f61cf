import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { ConfigError } from '../../shared/errors.ts';
import type { DurationMs } from '../../shared/units.ts';
import { type Fault, touches } from './faults.ts';

/** One way to one service: who calls (`from`), what is called (`site`, `service`), where. */
export interface RouteSpec {
  /** A site's functions, or whoever calls from outside. */
  readonly from: string;
  /** The site that is called, or `witness`. */
  readonly site: string;
  readonly service: 'store' | 'queue' | 'queue-admin' | 'model' | 'api' | 'control';
  /** Port to listen on at 127.0.0.1; 0 for any. */
  readonly port: number;
  /** Where it goes now; `undefined` while there is nothing (connections are then reset). */
  readonly target: () => { host: string; port: number } | undefined;
}

/** A route that listens. */
export interface Route {
  readonly spec: RouteSpec;
  readonly port: number;
  readonly fault: Fault | undefined;
  /** Replaces the fault. Without `ttlMs` it holds until replaced. Resolves when it holds (`refuse`: the port is closed). */
  setFault(fault: Fault | undefined, ttlMs?: DurationMs): Promise<void>;
  close(): Promise<void>;
}

/** A connection through the route. */
interface Pair {
  readonly client: Socket;
  readonly upstream: Socket;
  /** Takes the fault that holds now. */
  apply(): void;
}

/**
 * Starts a TCP pass-through that can be told to misbehave.
 * @throws ConfigError when the port is taken
 */
export async function startRoute(spec: RouteSpec): Promise<Route> {
  const pairs = new Set<Pair>();
  let fault: Fault | undefined;
  let ends: NodeJS.Timeout | undefined;
  let closed = false;
  /** Changes of the listening socket happen one after another. */
  let listening = Promise.resolve();

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => client.destroy());
    const target = spec.target();
    if (fault?.kind === 'reset' || fault?.kind === 'refuse' || !target) {
      client.resetAndDestroy();
      return;
    }
    const pair = join(client, connect({ ...target, allowHalfOpen: true, noDelay: true }), () => fault);
    pairs.add(pair);
    client.once('close', () => pairs.delete(pair));
  });
  const port = await listen(server, spec.port, spec);

  function resetAll(): void {
    for (const { client, upstream } of pairs) {
      client.resetAndDestroy();
      upstream.destroy();
    }
  }

  async function settle(): Promise<void> {
    const open = !closed && fault?.kind !== 'refuse';
    if (open && !server.listening) await listen(server, port, spec);
    if (!open && server.listening) {
      const ended = new Promise((resolve) => server.close(resolve));
      resetAll();
      await ended;
    }
  }

  const route: Route = {
    spec,
    port,
    get fault() {
      return fault;
    },
    async setFault(next, ttlMs) {
      clearTimeout(ends);
      fault = next;
      if (next && ttlMs !== undefined) {
        ends = setTimeout(() => void route.setFault(undefined).catch(() => {}), ttlMs);
        ends.unref();
      }
      if (next?.kind === 'reset') resetAll();
      for (const pair of pairs) pair.apply();
      listening = listening.then(settle, settle);
      await listening;
    },
    async close() {
      clearTimeout(ends);
      closed = true;
      listening = listening.then(settle, settle);
      await listening;
    },
  };
  return route;
}

/** Passes bytes both ways under the fault that holds when they arrive. */
function join(client: Socket, upstream: Socket, fault: () => Fault | undefined): Pair {
  const there = lane(client, upstream, 'there', fault);
  const back = lane(upstream, client, 'back', fault);
  client.once('close', () => upstream.destroy());
  upstream.on('error', () => client.resetAndDestroy());
  upstream.once('close', () => {
    if (!upstream.readableEnded) client.destroy();
  });
  return {
    client,
    upstream,
    apply() {
      there();
      back();
    },
  };
}

/** Bytes that one direction may hold back before it stops reading. */
const HELD_BYTES_MAX = 4 * 1024 * 1024;

/** One direction. Returns a function to be called when the fault has changed. */
function lane(source: Socket, sink: Socket, way: 'there' | 'back', fault: () => Fault | undefined): () => void {
  /** What waits for its time, oldest first. */
  const held: { chunk: Buffer; due: number }[] = [];
  let heldBytes = 0;
  let timer: NodeJS.Timeout | undefined;
  let ended = false;

  const isBlocked = () => {
    const now = fault();
    return now?.kind === 'blackhole' && touches(now, way);
  };
  const delayMs = () => {
    const now = fault();
    return now?.kind === 'delay' && touches(now, way) ? now.ms : 0;
  };

  /** Takes what has come, and passes on what is due, unless something forbids it. */
  function flow(): void {
    if (isBlocked() || sink.destroyed) return;
    while (heldBytes < HELD_BYTES_MAX && !sink.writableNeedDrain) {
      const chunk: Buffer | null = source.read();
      if (chunk === null) break;
      held.push({ chunk, due: performance.now() + delayMs() });
      heldBytes += chunk.length;
      pass();
    }
    pass();
  }

  function pass(): void {
    clearTimeout(timer);
    while (held[0] && !sink.writableNeedDrain) {
      const early = held[0].due - performance.now();
      if (early > 0) {
        timer = setTimeout(flow, early);
        return;
      }
      const { chunk } = held.shift()!;
      heldBytes -= chunk.length;
      sink.write(chunk);
    }
    if (ended && !held[0] && !sink.writableEnded) sink.end();
  }

  source.on('readable', flow);
  source.once('end', () => {
    ended = true;
    flow();
  });
  sink.on('drain', flow);
  sink.once('close', () => clearTimeout(timer));
  return flow;
}

function listen(server: Server, port: number, spec: RouteSpec): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error) => {
      const what = `${spec.from} → ${spec.site}/${spec.service}`;
      reject(new ConfigError('port', `cannot listen on 127.0.0.1:${port} (${what}): ${cause.message}`, { cause }));
    };
    server.once('error', failed);
    server.listen({ host: '127.0.0.1', port, backlog: 1_024 }, () => {
      server.off('error', failed);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
