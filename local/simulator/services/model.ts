import type { Backend, BackendReply, BackendRequest } from '../../../shared/inference/backend.ts';
import type { DurationMs } from '../../../shared/units.ts';
import type { Process } from '../engine/process.ts';
import type { Stream } from '../engine/random.ts';
import { type Board, Route } from './board.ts';
import type { Network } from './wire.ts';

/** What a model server of one site can do. */
export interface ModelManners {
  p50Ms: DurationMs;
  p99Ms: DurationMs;
  /** Calls at once; more are answered with 429. */
  concurrencyMax: number;
  /** Share of answers that are none. */
  malformed: number;
}

/** Words in a request that a simulated model minds. */
export const marks = { poison: 'poison', killer: 'killer' } as const;

/** The models of one site. Answers never repeat themselves: the same line asked twice gets two texts. */
export class SimulatedModels {
  readonly site: string;
  /** Calls that were answered. */
  answered = 0;
  /** How often each line was answered well, by its text. */
  readonly asked = new Map<string, number>();
  readonly #network: Network;
  readonly #stream: Stream;
  readonly #manners: ModelManners;
  #running = 0;

  constructor(site: string, network: Network, stream: Stream, manners: ModelManners) {
    this.site = site;
    this.#network = network;
    this.#stream = stream;
    this.#manners = manners;
  }

  /** As one process calls them. */
  backendFor(process: Process, alias: string): Backend {
    const route = new Route(this.#network.board, process.place, this.site, 'model', alias);
    return { name: `${this.site}-models`, call: (request) => this.#call(process, alias, route, request) };
  }

  /** A call of one token, as a monitor makes it. */
  async probe(process: Process, alias: string): Promise<BackendReply> {
    const body = { model: alias, messages: [{ role: 'user', content: 'hi' }] };
    const { signal } = new AbortController();
    return this.backendFor(process, alias).call({ endpoint: '/v1/chat/completions', body, signal });
  }

  #call(process: Process, alias: string, route: Route, { endpoint, body }: BackendRequest): Promise<BackendReply> {
    const { scheduler, trace } = this.#network;
    const text = textOf(body);
    return new Promise((resolve) => {
      const reply = (afterMs: DurationMs, make: () => BackendReply) =>
        void scheduler.after(afterMs, () => {
          this.#running -= 1;
          const made = make();
          trace.write(
            scheduler.now,
            `${process.name} model ${this.site} ${'status' in made ? made.status : made.kind}`,
          );
          process.deliver(() => resolve(made));
        });
      if (text.includes(marks.killer)) {
        trace.write(scheduler.now, `${process.name} model ${this.site} kills its caller`);
        scheduler.after(50, () => process.kill());
        return;
      }
      this.#running += 1;
      const { p50Ms, p99Ms, concurrencyMax, malformed } = this.#manners;
      const fate = route.fate(process, alias, scheduler.now);
      // What is asked for one token is answered soon.
      const isSmall = text.length <= 'Say yes.'.length;
      const ms = this.#stream.latency(isSmall ? Math.min(p50Ms, 300) : p50Ms, isSmall ? 1_000 : p99Ms) + fate.delayMs;
      const draw = this.#stream.next();
      if (fate.silentMs !== undefined) {
        this.#running -= 1;
        if (!Number.isFinite(fate.silentMs)) return;
        this.#running += 1;
        return reply(fate.silentMs, () => ({ kind: 'timeout' }));
      }
      if (fate.isReplyLost) return reply(ms, () => ({ kind: 'unreachable', detail: 'reply lost' }));
      if (fate.error !== undefined) return reply(ms / 4, () => failed(fate.error!));
      if (this.#running > concurrencyMax) return reply(20, () => failed('429'));
      if (text.includes(marks.poison))
        return reply(ms, () => ({
          kind: 'answered',
          status: 400,
          body: { error: { message: 'refused', code: 'bad' } },
        }));
      if (draw < malformed) return reply(ms, () => ({ kind: 'malformed', status: 200, detail: 'cut off' }));
      reply(ms, () => {
        this.answered += 1;
        if (!isSmall) this.asked.set(text, (this.asked.get(text) ?? 0) + 1);
        const id = `${this.site}-${this.answered}`;
        return { kind: 'answered', status: 200, requestId: `req_${id}`, body: answerTo(endpoint, body, id) };
      });
    });
  }
}

/** What a line asks for, by which it is known. */
function textOf(body: BackendRequest['body']): string {
  const { messages, input } = body as { messages?: { content?: unknown }[]; input?: unknown };
  const asked = messages === undefined ? input : messages.at(-1)?.content;
  return typeof asked === 'string' ? asked : JSON.stringify(asked ?? '');
}

function failed(code: string): BackendReply {
  if (code === '429' || code === 'throttled')
    return { kind: 'answered', status: 429, retryAfterMs: 2_000, body: { error: { message: 'slow down' } } };
  if (/^[1-5]\d\d$/.test(code)) return { kind: 'answered', status: Number(code), body: { error: { message: code } } };
  if (code === '5xx') return { kind: 'answered', status: 503, body: { error: { message: 'unavailable' } } };
  return { kind: 'unreachable', detail: code };
}

function answerTo(
  endpoint: string,
  body: BackendRequest['body'],
  id: string,
): Extract<BackendReply, { body: unknown }>['body'] {
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
  if (endpoint === '/v1/embeddings') {
    const inputs = Array.isArray(body.input) ? body.input : [body.input];
    const data = inputs.map((_, index) => ({
      object: 'embedding',
      index,
      embedding: [index, Number(id.split('-')[1])],
    }));
    return { object: 'list', model: 'm-1', data, usage: { prompt_tokens: 3, total_tokens: 3 } };
  }
  const message = { role: 'assistant', content: `sample ${id}` };
  return {
    id,
    object: 'chat.completion',
    model: 'm-1',
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage,
  };
}

export type { Board };
