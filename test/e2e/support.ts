import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { identityOf } from '../../local/identity.ts';
import { everyPort, type LocalPorts, portsOf } from '../../local/ports.ts';
import { type LocalClouds, type LocalOptions, startLocal } from '../../local/up.ts';
import { wireLocal } from '../../local/wire.ts';
import type { Core } from '../../shared/core.ts';

/** Both clouds on ports and in a folder of a test's own, and a core that looks at their stores past any route. */
export interface TestClouds {
  clouds: LocalClouds;
  ports: LocalPorts;
  dataDir: string;
  core: Core;
  client(cloud: 'aws' | 'azure'): OpenAI;
  /** `kill -9` of a cloud: its services and its functions, all at once. */
  kill(cloud: 'aws' | 'azure'): void;
  /** Starts a killed cloud again on what its disks hold; resolves when its front door answers. */
  restart(cloud: 'aws' | 'azure'): Promise<void>;
  stop(): Promise<void>;
}

/** Generous: a cold cache on two busy cores. */
export const bootMs = 180_000;

/** @param options `bundles`: as of `startLocal` */
export async function startClouds(options: Pick<LocalOptions, 'bundles'> = {}): Promise<TestClouds> {
  const dataDir = mkdtempSync(join(tmpdir(), 'holdfast-e2e-'));
  const portBase = await freeBase();
  const clouds = await startLocal({ ...options, dataDir, portBase, quiet: true });
  const ports = portsOf(portBase);
  const { core, close } = await wireLocal(dataDir, ports, identityOf(dataDir));
  const pids = { aws: clouds.aws!.pid, azure: clouds.azure!.pid };
  const restarted: LocalClouds[] = [];
  return {
    clouds,
    ports,
    dataDir,
    core,
    client: (cloud) => new OpenAI({ baseURL: clouds[cloud]!.api, apiKey: clouds.key, maxRetries: 4 }),
    kill(cloud) {
      // Found before their parent is gone.
      for (const pid of [pids[cloud], ...childrenOf(pids[cloud])]) process.kill(pid, 'SIGKILL');
    },
    async restart(cloud) {
      const one = await startLocal({ ...options, dataDir, portBase, only: cloud, quiet: true });
      pids[cloud] = one[cloud]!.pid;
      restarted.push(one);
    },
    async stop() {
      await close();
      await Promise.all([clouds, ...restarted].map((one) => one.stop()));
      rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

/** A base whose ports are all free, below those that systems give to outgoing connections (Linux: from 32,768). */
async function freeBase(): Promise<number> {
  const bases = Array.from({ length: 30 }, (_, i) => 20_000 + ((process.pid + i) % 30) * 400);
  for (const base of bases) if ((await Promise.all(everyPort(base).map(isFree))).every(Boolean)) return base;
  throw new Error('no free ports');
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/** Processes whose parent is `pid`: of a cloud, its function host. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => {
      try {
        const stat = readFileSync(`/proc/${child}/stat`, 'utf8');
        return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid;
      } catch {
        return false;
      }
    });
}

/** The project's shared example data where it is there, else the examples that come with the project. */
export function sampleFile(name: 'gsm8k-chat' | 'gsm8k-embeddings'): string {
  const shared = join(import.meta.dirname, '../../../shared/data', `${name}.jsonl`);
  const own = join(import.meta.dirname, '../../examples', name === 'gsm8k-chat' ? 'chat.jsonl' : 'embeddings.jsonl');
  return existsSync(shared) ? shared : own;
}

/** Waits for something that is polled; the limit is a safety net, not a measure. */
export async function until<T>(look: () => Promise<T | undefined>, what: string, ms = 120_000): Promise<T> {
  for (const end = Date.now() + ms; ; ) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}
