import { createApi } from '../../../shared/api/index.ts';
import type { DurationMs } from '../../../shared/units.ts';
import type { Process } from '../engine/process.ts';
import type { Cloud, Running, World } from '../world.ts';
import { Route } from './board.ts';
import type { FunctionsApp } from './functions-app.ts';

export interface FrontRequest {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: Uint8Array | string;
}

export interface FrontAnswer {
  status: number;
  text: string;
}

/** A client's own bound. */
const patienceMs: DurationMs = 40_000;
const lambdaTimeoutMs: DurationMs = 60_000;

type Api = ReturnType<typeof createApi>;

/** The front doors of both clouds, as clients reach them. */
export class FrontDoors {
  readonly #world: World;
  readonly #app: FunctionsApp;
  readonly #apis = new WeakMap<Running, Api>();
  readonly #idle: Running[] = [];

  constructor(world: World, app: FunctionsApp) {
    this.#world = world;
    this.#app = app;
  }

  /** The answer, or `undefined` where none came: refused, cut off, or given up. */
  call(client: Process, site: Cloud, request: FrontRequest): Promise<FrontAnswer | undefined> {
    const { scheduler, board, trace } = this.#world;
    return new Promise((resolve) => {
      let isOver = false;
      const end = (answer: FrontAnswer | undefined, afterMs: DurationMs) =>
        void scheduler.after(afterMs, () =>
          client.deliver(() => {
            if (isOver) return;
            isOver = true;
            trace.write(
              scheduler.now,
              `${client.name} ${request.method} ${site}${request.path} ${answer?.status ?? '-'}`,
            );
            resolve(answer);
          }),
        );
      end(undefined, patienceMs);
      const fate = new Route(board, client.place, site, 'api').fate(client, request.path, scheduler.now);
      if (fate.silentMs !== undefined) return;
      if (fate.error !== undefined || board.strikes(site, 'functions', 'invoke'))
        return end({ status: 503, text: '' }, 60);
      scheduler.after(30 + fate.delayMs, () => {
        const running = this.#process(site);
        if (running === undefined) return end({ status: 503, text: '' }, 30);
        this.#serve(site, running, request, (answer) => {
          if (!fate.isReplyLost) end(answer, 30);
        });
      });
    });
  }

  #process(site: Cloud): Running | undefined {
    if (site === 'azure') return this.#app.instance;
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      if (idle.process.isDead) continue;
      idle.process.thaw();
      return idle;
    }
    return this.#world.board.strikes('aws', 'functions', 'scaleout') ? undefined : this.#world.spawn('api', 'aws');
  }

  #serve(site: Cloud, running: Running, request: FrontRequest, answer: (answer: FrontAnswer) => void): void {
    const { process, core } = running;
    const { scheduler } = this.#world;
    const api =
      this.#apis.get(running) ?? createApi(core, { bodyBytesMax: 4_000_000, cors: { origins: [] }, version: 'sim' });
    this.#apis.set(running, api);
    const timeout = site === 'aws' ? scheduler.after(lambdaTimeoutMs, () => process.kill()) : undefined;
    const { method, path, headers, body } = request;
    process.deliver(() => {
      void respond(api, new Request(`https://${site}.example${path}`, { method, headers, body: body as never })).then(
        (made) => {
          if (process.isDead) return;
          if (timeout !== undefined) scheduler.cancel(timeout);
          if (site === 'aws') {
            process.freeze();
            this.#idle.push(running);
          }
          answer(made);
        },
      );
    });
  }
}

async function respond(api: Api, request: Request): Promise<FrontAnswer> {
  const response = await api.fetch(request);
  return { status: response.status, text: await response.text() };
}

/** A form with one file, in plain bytes. */
export function uploadForm(content: string): { headers: Record<string, string>; body: Uint8Array } {
  const boundary = 'simulated-boundary-7d3f';
  const body = Buffer.from(
    `--${boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n` +
      `--${boundary}\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n` +
      `${content}\r\n--${boundary}--\r\n`,
  );
  return { headers: { 'content-type': `multipart/form-data; boundary=${boundary}` }, body };
}
