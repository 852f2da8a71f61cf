import type { Clock } from '../../shared/ports/clock.ts';
import type { DurationMs } from '../../shared/units.ts';
import {
  type Admission,
  type Budget,
  decideAdmission,
  drawDelayMs,
  drawFault,
  FULL_BUDGET,
  rateLimitHeaders,
  retryAfterHeaders,
} from './admission.ts';
import type { FaultKind, ModelBehaviour, RefusingFault, SpoilingFault } from './behaviour.ts';
import { REFUSING_FAULTS } from './behaviour.ts';
import type { Answer, ModelCall } from './call.ts';
import { readChat } from './chat.ts';
import type { CountedCall, Counters, Endpoint } from './counters.ts';
import { readEmbeddings } from './embeddings.ts';
import type { Exchange } from './exchange.ts';
import { type Fields, readBody, readModel } from './fields.ts';
import { findMarker } from './markers.ts';
import { type RandomStreams, randomName } from './random.ts';
import { modelNotFound, Refusal } from './refusal.ts';
import { readResponses } from './responses.ts';
import type { BehaviourSettings } from './settings.ts';
import { endlessBody, hugeBody, spoilBody } from './spoil.ts';

/** What calls are served with. */
export interface CallServices {
  readonly clock: Clock;
  readonly random: RandomStreams;
  readonly counters: Counters;
  readonly settings: BehaviourSettings;
  /** The only models there are; null: any name is a model. */
  readonly models: readonly string[] | null;
  readonly bodyBytesMax: number;
}

/** How a call ended, for the counters. */
interface Ending {
  readonly outcome: string;
  readonly tokens?: { readonly input: number; readonly output: number };
}

/** What a model has in use: its limits' rest and the calls it works on. */
interface Use {
  budget: Budget;
  inFlight: number;
}

const READERS: Readonly<Record<Endpoint, (body: Fields, behaviour: ModelBehaviour) => ModelCall>> = {
  '/v1/chat/completions': readChat,
  '/v1/responses': readResponses,
  '/v1/embeddings': readEmbeddings,
};

/** Names whose use is kept apart; further ones share one. Any name is a model here, so names have no bound. */
const USES_MAX = 1_000;
const OTHER = '(other)';

/** Time between the pieces of an endless answer: it should fill a careless reader's memory, not use up the machine. */
const ENDLESS_PAUSE_MS = 5;

/**
 * Serves calls: read and check; meet an outage fault, if one is drawn; pass the limits; obey a marker in the text; work,
 * wait, answer. In that order, because a provider that is down says so to good and bad input alike.
 */
export class CallServer {
  readonly #services: CallServices;
  readonly #uses = new Map<string, Use>();

  constructor(services: CallServices) {
    this.#services = services;
  }

  /** Answers one call and counts it. Never rejects for anything a caller can send. */
  async serve(endpoint: Endpoint, exchange: Exchange): Promise<void> {
    const { clock, counters, random } = this.#services;
    const at = clock.now();
    const id = `req_${randomName(random.ids, 32)}`;
    const read = await this.#read(endpoint, exchange);
    const counted = counters.begin(endpoint, read.model, read.call?.lines ?? []);
    let ending: Ending = { outcome: 'failed' };
    try {
      if (!read.call) throw read.refusal;
      ending = await this.#run(read.call, read.model, counted, exchange, { 'x-request-id': id });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      exchange.send(error.status, { ...error.headers, 'x-request-id': id }, JSON.stringify({ error: error.error }));
      ending = { outcome: exchange.left.aborted ? 'abandoned' : String(error.status) };
    } finally {
      counters.end(counted, { id, at, ms: clock.now() - at, outcome: ending.outcome }, ending.tokens);
    }
  }

  async #read(
    endpoint: Endpoint,
    exchange: Exchange,
  ): Promise<{ model: string; call: ModelCall } | { model: string; call: null; refusal: unknown }> {
    const { clock, models, settings, bodyBytesMax } = this.#services;
    let model = '(none)';
    try {
      const body = readBody(await exchange.readText(bodyBytesMax));
      const asked = readModel(body);
      if (models !== null && !models.includes(asked)) throw modelNotFound(asked);
      model = asked;
      return { model, call: READERS[endpoint](body, settings.of(model, clock.now())) };
    } catch (refusal) {
      return { model, call: null, refusal };
    }
  }

  async #run(
    call: ModelCall,
    model: string,
    counted: CountedCall,
    exchange: Exchange,
    headers: Record<string, string>,
  ): Promise<Ending> {
    const { clock, counters, random, settings } = this.#services;
    const behaviour = settings.of(model, clock.now());
    const outage = drawFault(behaviour, random.faults);
    if (outage !== null && isRefusing(outage)) return this.#refuse(outage, behaviour, exchange);

    const use = this.#use(model);
    const admission = decideAdmission(use, behaviour, call.inputTokens + call.outputTokensMax, clock.now());
    use.budget = admission.budget;
    const limits = rateLimitHeaders(behaviour, use.budget);
    if (!admission.admitted) throw this.#overLimit(admission, model, behaviour, limits);

    const marked = findMarker(call.lines);
    if (marked && 'status' in marked) throw markedRefusal(marked.status);
    if (marked && isRefusing(marked.fault)) return this.#refuse(marked.fault, behaviour, exchange);
    const spoil = marked ? (marked.fault as SpoilingFault) : (outage as SpoilingFault | null);

    use.inFlight++;
    counters.computed(counted);
    try {
      return await this.#work(call, behaviour, spoil, exchange, { ...headers, ...limits });
    } finally {
      use.inFlight--;
    }
  }

  async #work(
    call: ModelCall,
    behaviour: ModelBehaviour,
    spoil: SpoilingFault | null,
    exchange: Exchange,
    headers: Record<string, string>,
  ): Promise<Ending> {
    const { clock, random } = this.#services;
    const startedAt = clock.now();
    const answer = call.answer({ behaviour, random, now: startedAt });
    const tokens = { input: call.inputTokens, output: answer.outputTokens };
    const delayMs = drawDelayMs(behaviour, tokens, random.latency);
    if (delayMs > 0 && !(await this.#wait(delayMs, exchange))) return { outcome: 'abandoned' };
    const timed = { ...headers, 'openai-processing-ms': String(Math.round(clock.now() - startedAt)) };
    if (spoil !== null) return this.#sendSpoilt(spoil, answer, behaviour, exchange, timed);
    exchange.send(200, timed, JSON.stringify(answer.body));
    return { outcome: 'answered', tokens };
  }

  /** True once the time is over, false as soon as the caller has gone. */
  async #wait(ms: DurationMs, exchange: Exchange): Promise<boolean> {
    try {
      await this.#services.clock.sleep(ms, exchange.left);
      return true;
    } catch (error) {
      if (exchange.left.aborted) return false;
      throw error;
    }
  }

  async #refuse(fault: RefusingFault, behaviour: ModelBehaviour, exchange: Exchange): Promise<Ending> {
    switch (fault) {
      case 'hang':
        await exchange.outlast();
        return { outcome: fault };
      case 'reset':
        exchange.reset();
        return { outcome: fault };
      case 'rate_limited':
        throw rateLimited('The service is busy. Please retry later.', this.#retryAfter(behaviour, null));
      case 'unauthorized':
        throw new Refusal(401, {
          message: 'Incorrect API key provided.',
          code: 'invalid_api_key',
        });
      case 'client_error':
        throw new Refusal(behaviour.clientErrorStatus, {
          message: 'The request could not be processed.',
          code: 'provider_fault',
        });
      case 'server_error': {
        const status = behaviour.serverErrorStatus;
        const headers = status === 503 ? this.#retryAfter(behaviour, null) : {};
        const message = 'The server had an error while processing your request. Sorry about that!';
        throw new Refusal(status, { message, type: 'server_error', code: 'internal_error' }, headers);
      }
    }
  }

  async #sendSpoilt(
    fault: SpoilingFault,
    answer: Answer,
    behaviour: ModelBehaviour,
    exchange: Exchange,
    headers: Record<string, string>,
  ): Promise<Ending> {
    const body = JSON.stringify(answer.body);
    switch (fault) {
      case 'truncated':
        await exchange.sendHalf(headers, body);
        break;
      case 'huge_body': {
        const length = Math.max(behaviour.hugeBytes, Buffer.byteLength(body));
        await exchange.sendPieces(headers, hugeBody(body, length), length);
        break;
      }
      case 'endless_stream': {
        const pause = () => this.#services.clock.sleep(ENDLESS_PAUSE_MS, exchange.left);
        await exchange.sendPieces(headers, endlessBody(pause));
        break;
      }
      default:
        exchange.send(200, headers, spoilBody(answer.body, fault));
    }
    return { outcome: fault };
  }

  #overLimit(
    admission: Admission & { admitted: false },
    model: string,
    behaviour: ModelBehaviour,
    limits: Record<string, string>,
  ): Refusal {
    const { limit, waitMs } = admission;
    const names = { concurrency: 'concurrent requests', requests: 'requests per min', tokens: 'tokens per min' };
    const headers = { ...limits, ...this.#retryAfter(behaviour, waitMs) };
    return rateLimited(`Rate limit reached for ${model} on ${names[limit]}. Please retry later.`, headers, limit);
  }

  #retryAfter(behaviour: ModelBehaviour, waitMs: DurationMs | null): Record<string, string> {
    return retryAfterHeaders(behaviour, waitMs, this.#services.clock.now());
  }

  #use(model: string): Use {
    const name = this.#uses.has(model) || this.#uses.size < USES_MAX ? model : OTHER;
    const use = this.#uses.get(name) ?? { budget: FULL_BUDGET, inFlight: 0 };
    this.#uses.set(name, use);
    return use;
  }
}

function rateLimited(message: string, headers: Record<string, string>, type = 'requests'): Refusal {
  return new Refusal(429, { message, type, code: 'rate_limit_exceeded' }, headers);
}

function markedRefusal(status: number): Refusal {
  const type = status >= 500 ? 'server_error' : 'invalid_request_error';
  return new Refusal(status, { message: `The input asks for status ${status}.`, type, code: 'marked_input' });
}

function isRefusing(fault: FaultKind): fault is RefusingFault {
  return REFUSING_FAULTS.some((refusing) => refusing === fault);
}
