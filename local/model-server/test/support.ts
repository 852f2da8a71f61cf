import { afterEach } from '@jest/globals';
import OpenAI from 'openai';
import type { Clock } from '../../../shared/ports/clock.ts';
import type { EpochMs } from '../../../shared/units.ts';
import { type ModelServer, type ModelServerOptions, seededRandom, startModelServer } from '../index.ts';

const servers: ModelServer[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

/** A server that is closed after the test, with a seed, and the unmodified `openai` client pointed at it. */
export async function start(options: Partial<ModelServerOptions> = {}) {
  const server = await startModelServer({ name: 'aws', random: seededRandom(1), ...options });
  servers.push(server);
  const client = new OpenAI({ baseURL: server.url, apiKey: 'any', maxRetries: 0, timeout: 30_000 });
  return { server, client };
}

/** Posts a body as it stands, for what no client would send. */
export function post(server: ModelServer, path: string, body: string | Uint8Array<ArrayBuffer>): Promise<Response> {
  return fetch(`${server.url}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
}

/** A clock that moves only when told to. */
export class TestClock implements Clock {
  #now: EpochMs;
  readonly #sleepers = new Set<{ until: EpochMs; wake: () => void }>();
  readonly #watchers = new Set<() => void>();

  constructor(now: EpochMs = 1_700_000_000_000) {
    this.#now = now;
  }

  now(): EpochMs {
    return this.#now;
  }

  get sleeping(): number {
    return this.#sleepers.size;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { until: this.#now + ms, wake: resolve };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper);
        this.#changed();
        reject(signal.reason);
      });
      this.#changed();
    });
  }

  move(ms: number): void {
    this.#now += ms;
    for (const sleeper of this.#sleepers) {
      if (sleeper.until > this.#now) continue;
      this.#sleepers.delete(sleeper);
      sleeper.wake();
    }
  }

  /** Resolves once exactly `count` sleep. */
  async untilSleeping(count: number): Promise<void> {
    while (this.sleeping !== count) {
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher);
          resolve();
        };
        this.#watchers.add(watcher);
      });
    }
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Waits for what another socket brings about, looking after each turn of the event loop, half a minute at most. */
export async function until(holds: () => boolean): Promise<void> {
  const limit = AbortSignal.timeout(30_000);
  while (!holds()) {
    limit.throwIfAborted();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
