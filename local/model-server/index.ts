/**
 * An OpenAI-compatible model server for one machine: real embeddings and extractive answers, so that results can be
 * checked, and settable latency, limits and faults per model, so that failures can be had on demand.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAdaptorServer } from '@hono/node-server';
import { ConfigError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/ports/clock.ts';
import type { Random } from '../../shared/ports/random.ts';
import type { DurationMs } from '../../shared/units.ts';
import { createApp } from './app.ts';
import { type ModelBehaviour, type ModelServerBehaviour, parseBehaviour, parseServerBehaviour } from './behaviour.ts';
import { Counters, type ModelServerCounters } from './counters.ts';
import { splitRandom } from './random.ts';
import { CallServer } from './serve-call.ts';
import { BehaviourSettings } from './settings.ts';

export {
  DEFAULT_BEHAVIOUR,
  type FaultKind,
  type ModelBehaviour,
  type ModelServerBehaviour,
  REFUSING_FAULTS,
  SPOILING_FAULTS,
} from './behaviour.ts';
export { type CallLogEntry, type EndpointCounts, hashLine, type ModelServerCounters } from './counters.ts';
export { seededRandom } from './random.ts';
export { countTokens } from './tokens.ts';

/** How to start a model server. */
export interface ModelServerOptions {
  /** Which cloud it stands in for, say `aws`; shown by health and counters. */
  readonly name: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Behaviour by model name; `*` holds for every model that says nothing else. Default {@link DEFAULT_BEHAVIOUR}. */
  readonly behaviour?: ModelServerBehaviour;
  /** The only models there are; others get 404 `model_not_found`. Default: any name is a model. */
  readonly models?: readonly string[];
  /** Largest body taken, in bytes; beyond it 413. Default 16 MiB. */
  readonly bodyBytesMax?: number;
  /** Default: the machine's. Moves latency, limits, time-outs of settings and `created`. */
  readonly clock?: Clock;
  /** Default: the machine's. Decides faults, latency, sample marks and ids, each through a stream of its own. */
  readonly random?: Random;
}

/** A model server that is listening. */
export interface ModelServer {
  /** What to give an OpenAI client as `baseURL`: `http://127.0.0.1:PORT/v1`. */
  readonly url: string;
  /** Where `/healthz` and `/control` are: `http://127.0.0.1:PORT`. */
  readonly origin: string;
  readonly port: number;
  /**
   * Changes some members of a model's behaviour, or with `*` of every model's, from the next call on, for good or for
   * `ttlMs`. The latest change wins.
   * @throws ConfigError naming the member that is wrong
   */
  setBehaviour(model: string, patch: Partial<ModelBehaviour>, options?: { ttlMs?: DurationMs }): void;
  /** Back to how the server was started: one model's own changes, or with `*` every change. */
  resetBehaviour(model: string): void;
  /** A copy of everything counted. */
  counters(): ModelServerCounters;
  resetCounters(): void;
  /** Stops listening and closes every connection, calls in flight included. Any number of times. */
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 16 * 1024 * 1024;

/** Longer than clients keep idle connections, so that they close first and never send into a closing one. */
const KEEP_ALIVE_MS = 65_000;

/** Hundreds of callers connecting in one instant must not meet a full backlog. */
const BACKLOG = 2_048;

const machineClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => void (await sleep(ms, undefined, signal ? { signal } : {})),
};

/**
 * Starts a model server and resolves when it listens.
 * @throws ConfigError if the behaviour is wrong, or if host and port cannot be had
 */
export async function startModelServer(options: ModelServerOptions): Promise<ModelServer> {
  const { name, host = '127.0.0.1', clock = machineClock, models = null } = options;
  const startedAt = clock.now();
  const settings = new BehaviourSettings(parseServerBehaviour(options.behaviour ?? {}));
  const counters = new Counters(name, startedAt);
  const random = splitRandom(options.random ?? Math.random);
  const bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_MAX;
  const calls = new CallServer({ clock, random, counters, settings, models, bodyBytesMax });
  const app = createApp({ name, clock, counters, settings, calls, models, startedAt });
  // Other servers live in this process: its global Request and Response stay as they are.
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  const port = await listen(server, host, options.port ?? 0);
  const origin = `http://${host.includes(':') ? `[${host}]` : host}:${port}`;

  return {
    url: `${origin}/v1`,
    origin,
    port,
    setBehaviour(model, patch, { ttlMs } = {}) {
      const now = clock.now();
      const parsed = parseBehaviour(patch, `behaviour.${model}`);
      settings.set({ model, patch: parsed, until: ttlMs === undefined ? null : now + ttlMs }, now);
    },
    resetBehaviour: (model) => settings.reset(model),
    counters: () => counters.read(),
    resetCounters: () => counters.reset(clock.now()),
    close: () => close(server),
  };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new ConfigError('port', `cannot listen on ${host}:${port}: ${cause.message}`, { cause }));
    });
    server.listen({ host, port, backlog: BACKLOG }, () => resolve((server.address() as AddressInfo).port));
  });
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise((resolve) => server.once('close', resolve));
  server.close();
  server.closeAllConnections();
  await closed;
}
