import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getRequestListener, type HttpBindings } from '@hono/node-server';
import { run } from '../../../cli/program.ts';
import type { InMemoryObjectStore } from '../../../local/in-memory/object-store.ts';
import { createApi } from '../../../shared/api/index.ts';
import { createApiKey } from '../../../shared/api/keys.ts';
import type { ModelCheck } from '../../../shared/api/ops-models.ts';
import { inputLines, World } from '../../support/world.ts';

export const secret = 'hf_test_operator';
export type Cloud = 'aws' | 'azure';

/** A request on its way to a front door. */
export interface Seen {
  cloud: Cloud;
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
}

/** What befalls a request: refused before it is looked at, answered otherwise, or carried out and its reply lost. */
export type Fate = 'loseReply' | 'reset' | Response | undefined;

/** The real front doors of both clouds over stores in memory, on real sockets, with the real workers behind them. */
export class Clouds {
  readonly world = new World();
  readonly seen: Seen[] = [];
  /** How a cloud's models answer when they are checked. */
  checkModel: (cloud: Cloud, alias: string) => Promise<ModelCheck | undefined> = async () => undefined;
  /** Asked about every request. */
  fate: (seen: Seen) => Fate = () => undefined;
  readonly url: Record<Cloud, string> = { aws: '', azure: '' };
  readonly #servers: Partial<Record<Cloud | 'store', Server>> = {};
  #works = true;
  #worker: Promise<void> | undefined;

  static async start(): Promise<Clouds> {
    const clouds = new Clouds();
    await createApiKey(clouds.world.core('aws'), { tenant: 'acme', role: 'operator', secret });
    const storeUrl = await clouds.#serveStore();
    for (const cloud of ['aws', 'azure'] as const) await clouds.#serve(cloud, storeUrl);
    clouds.#worker = clouds.#work();
    return clouds;
  }

  /** Connection flags for the command line. */
  get flags(): string[] {
    return ['--aws', this.url.aws, '--azure', this.url.azure, '--key', secret];
  }

  /** Ends one front door: nobody listens there any more. */
  async kill(cloud: Cloud): Promise<void> {
    const server = this.#servers[cloud]!;
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }

  /** From now on batches are accepted, and nobody works them. */
  async stopWorkers(): Promise<void> {
    this.#works = false;
    await this.#worker;
  }

  async close(): Promise<void> {
    await this.stopWorkers();
    for (const server of Object.values(this.#servers)) {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    }
  }

  async #serve(cloud: Cloud, storeUrl: string): Promise<void> {
    const presigner = {
      uploadTo: async (key: string) => ({ url: `${storeUrl}/${key}`, method: 'PUT' as const, headers: {} }),
      downloadFrom: async (key: string) => `${storeUrl}/${key}`,
    };
    const api = createApi(this.world.core(cloud), {
      checkModel: (alias) => this.checkModel(cloud, alias),
      bodyBytesMax: cloud === 'aws' ? 4_500_000 : 210 * 1024 * 1024,
      cors: { origins: [] },
      version: '0.0.0-test',
      ...(cloud === 'aws' && { presign: { state: presigner, journal: presigner }, responseBytesMax: 4_500_000 }),
    });
    const server = createServer(
      getRequestListener(
        async (request, env) => {
          const { incoming } = env as HttpBindings;
          const seen = {
            cloud,
            method: request.method,
            path: new URL(request.url).pathname,
            headers: incoming.headers,
          };
          this.seen.push(seen);
          const fate = this.fate(seen);
          if (fate instanceof Response) return fate;
          if (fate === 'reset') incoming.socket.destroy();
          if (fate === 'reset') return new Response(null);
          const response = await api.fetch(request);
          if (fate === 'loseReply') incoming.socket.destroy();
          return response;
        },
        { overrideGlobalObjects: false },
      ),
    );
    this.#servers[cloud] = server;
    this.url[cloud] = `${await listen(server)}/v1`;
  }

  /** What presigned addresses of AWS lead to: it refuses a bearer key beside them, as S3 does. */
  async #serveStore(): Promise<string> {
    const server = createServer(async (request, response) => {
      if (request.headers.authorization !== undefined) return void response.writeHead(400).end();
      const key = request.url!.slice(1);
      const { state, journal } = this.world.aws;
      if (request.method === 'PUT') {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk);
        await state.putIfAbsent(key, Buffer.concat(chunks));
        return void response.writeHead(200).end();
      }
      const found = await (journal as InMemoryObjectStore).get(key);
      response.writeHead(found === undefined ? 404 : 200).end(found?.bytes);
    });
    this.#servers.store = server;
    return listen(server);
  }

  async #work(): Promise<void> {
    while (this.#works) {
      await this.world.serveAll();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export interface Ran {
  exitCode: number;
  stdout: string;
  stderr: string;
  /** Stdout as the one JSON document that it must be. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what they get
  json: any;
}

/** Runs one command line off any terminal. */
export async function holdfast(
  argv: readonly string[],
  options: { env?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Ran> {
  const out = { stdout: '', stderr: '' };
  const sink = (name: 'stdout' | 'stderr') => ({
    write: (chunk: string) => {
      out[name] += chunk;
    },
  });
  const exitCode = await run(argv, {
    stdout: sink('stdout'),
    stderr: sink('stderr'),
    env: options.env ?? {},
    signal: options.signal ?? new AbortController().signal,
  });
  return {
    exitCode,
    ...out,
    get json() {
      return JSON.parse(out.stdout);
    },
  };
}

/** A folder that is gone after the test. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'holdfast-cli-'));

  file(name: string, content: string | Uint8Array = inputLines(12)): string {
    const path = join(this.path, name);
    writeFileSync(path, content);
    return path;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
