import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigError } from '../../shared/errors.ts';
import type { DurationMs } from '../../shared/units.ts';
import { type LiveFault, readsRequests } from './faults.ts';
import { type Gate, type Protocol, startGate } from './gate.ts';
import { joinPair, type Pair, reset } from './pair.ts';

/** One way to one service: who calls (`from`), what is called (`site`, `service`), where. */
export interface RouteSpec {
  /** A site's functions, its triggers, a third place that observes, or whoever calls from outside. */
  readonly from: 'aws' | 'azure' | 'trigger' | 'observer' | 'client';
  /** The site that is called, or `witness`. */
  readonly site: 'aws' | 'azure' | 'witness';
  readonly service: 'store' | 'queue' | 'queue-admin' | 'model' | 'api';
  /** What is spoken: the words in which faults answer. */
  readonly protocol: Protocol;
  /** Port to listen on at 127.0.0.1; 0 for any. */
  readonly port: number;
  /** Where it goes now; `undefined` while there is nothing (connections are then reset). */
  readonly target: () => { host: string; port: number } | undefined;
}

/** A route that listens. */
export interface Route {
  readonly spec: RouteSpec;
  readonly port: number;
  /** Adds a fault to those that hold. Resolves when no connection is without it any more. */
  strike(fault: LiveFault): Promise<void>;
  /** Takes a fault away; what it held back goes on. */
  heal(fault: LiveFault): Promise<void>;
  close(): Promise<void>;
}

/** What requests under way are given before a fault that answers requests cuts their connection. */
const DRAIN_MS: DurationMs = 300;
const DRAIN_TICK_MS: DurationMs = 10;

/**
 * Starts a pass-through that can be told to misbehave. Bytes pass untouched; only while a fault holds that must read
 * requests do connections lead through a gate that does.
 * @throws ConfigError when the port is taken
 */
export async function startRoute(spec: RouteSpec): Promise<Route> {
  const pairs = new Set<Pair>();
  const faults = new Set<LiveFault>();
  let gate: Gate | undefined;
  let closed = false;
  /** Changes happen one after another. */
  let changing = Promise.resolve();
  const isAmqp = spec.protocol === 'amqp';

  /** True for what is done to bytes, or to connections as a whole. AMQP has no requests to choose from. */
  const isOnWire = ({ fault }: LiveFault) =>
    isAmqp ? !readsRequests({ ...fault, share: undefined }) : !readsRequests(fault);
  const isClosing = ({ fault: { kind, share } }: LiveFault) => kind === 'refuse' && share === undefined;
  const isCutting = (live: LiveFault) =>
    isOnWire(live) && (live.fault.kind === 'reset' || live.fault.kind === 'refuse');
  const gateFaults = () => [...faults].filter((live) => !isOnWire(live));

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on('error', () => client.destroy());
    // Thrown once for each connection, so that a share of them is struck for as long as they stand.
    const struck = new Map<LiveFault, boolean>();
    const strikes = (live: LiveFault) => {
      const known = struck.get(live) ?? live.strikes();
      struck.set(live, known);
      return known;
    };
    const cut = () => [...faults].some((live) => isCutting(live) && strikes(live));
    const gated = gate !== undefined && gateFaults().some((live) => !isAmqp || strikes(live));
    const target = gated && gate ? { host: '127.0.0.1', port: gate.port } : spec.target();
    if (cut() || !target) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ ...target, allowHalfOpen: true, noDelay: true });
    const onWire = () => [...faults].filter((live) => isOnWire(live) && strikes(live)).map(({ fault }) => fault);
    const pair = joinPair(client, upstream, gated, onWire);
    const { apply } = pair;
    pair.apply = () => (cut() ? cutOff(pair) : apply());
    pairs.add(pair);
    client.once('close', () => pairs.delete(pair));
  });
  const port = await listen(server, spec.port, spec);

  function cutOff({ client, upstream }: Pair): void {
    reset(client);
    upstream.destroy();
  }

  /** Closes connections that do not lead through the gate, each when it is quiet; the rest after a while. */
  async function retire(): Promise<void> {
    const old = [...pairs].filter((pair) => !pair.gated);
    const ends = performance.now() + (isAmqp ? 0 : DRAIN_MS);
    while (old.some((pair) => pairs.has(pair))) {
      for (const pair of old) if (pair.isQuiet()) pair.client.destroy();
      if (performance.now() >= ends) {
        old.forEach(cutOff);
        return;
      }
      await sleep(DRAIN_TICK_MS);
    }
  }

  async function settle(): Promise<void> {
    const open = !closed && ![...faults].some((live) => isOnWire(live) && isClosing(live));
    if (open && !server.listening) await listen(server, port, spec);
    if (!open && server.listening) {
      const ended = new Promise((resolve) => server.close(resolve));
      pairs.forEach(cutOff);
      await ended;
    }
    for (const pair of pairs) pair.apply();
    const wantsGate = open && gateFaults().length > 0;
    if (wantsGate && !gate) gate = await startGate(spec, gateFaults);
    if (wantsGate) await retire();
    // The HTTP gate asks its clients to leave, with the next answer to each.
    else if (isAmqp) for (const pair of pairs) if (pair.gated) cutOff(pair);
  }

  function change(apply: () => void): Promise<void> {
    const next = () => {
      apply();
      return settle();
    };
    changing = changing.then(next, next);
    return changing;
  }
  return {
    spec,
    port,
    strike: (fault) => change(() => faults.add(fault)),
    heal: (fault) => change(() => faults.delete(fault)),
    async close() {
      await change(() => {
        closed = true;
        faults.clear();
      });
      await gate?.close();
    },
  };
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
