import { hash } from 'node:crypto';
import type { DurationMs, EpochMs } from '../../shared/units.ts';

/** The endpoints that do model work. */
export type Endpoint = '/v1/chat/completions' | '/v1/responses' | '/v1/embeddings';

/** What one endpoint of one model has seen since start or reset. */
export interface EndpointCounts {
  /** Requests received. */
  calls: number;
  /** Lines in them: 1 for a chat completion or response, the number of inputs for embeddings. */
  lines: number;
  /** Lines that were worked on: let in, whether or not the answer arrived. */
  computedLines: number;
  /** Tokens of answered calls. */
  inputTokens: number;
  outputTokens: number;
  /** Calls by how they ended: `answered`, a status (`429`), a fault (`hang`), or `abandoned` by the caller. */
  outcomes: Record<string, number>;
}

/** How often one line was seen. */
export interface InputCounts {
  /** Calls that contained the line, whatever came of them. */
  received: number;
  /** Calls that were let in and worked on it: what a provider would charge for. */
  computed: number;
}

/** One call, as the log keeps it. */
export interface CallLogEntry {
  readonly at: EpochMs;
  readonly id: string;
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly lines: number;
  /** As in {@link EndpointCounts.outcomes}. */
  readonly outcome: string;
  readonly ms: DurationMs;
}

/** Everything counted since start or reset, as plain data. */
export interface ModelServerCounters {
  readonly name: string;
  readonly since: EpochMs;
  readonly inFlight: number;
  readonly inFlightMax: number;
  readonly totals: EndpointCounts;
  /** By model, then endpoint. Calls that name no model are under `(none)`, models beyond the 1,000th under `(other)`. */
  readonly models: Readonly<Record<string, Partial<Record<Endpoint, EndpointCounts>>>>;
  /** By {@link hashLine}; at most 200,000 lines. */
  readonly inputs: Readonly<Record<string, InputCounts>>;
  /** Sightings of lines that came when `inputs` was full: if not 0, `inputs` proves nothing about absence. */
  readonly inputsUncounted: number;
  /** Lines computed more than once. */
  readonly inputsRepeated: number;
  /** The latest calls, oldest first; at most 1,000. */
  readonly log: readonly CallLogEntry[];
}

const INPUTS_MAX = 200_000;
const LOG_MAX = 1_000;
const MODELS_MAX = 1_000;

/** First 16 hex digits of the SHA-256 of a line's text (see `lines` of the endpoint's call for what that is). */
export function hashLine(text: string): string {
  return hash('sha256', text, 'hex').slice(0, 16);
}

/** Counts calls and lines, within bounded memory. */
export class Counters {
  readonly #name: string;
  /** An object of its own for each reset, so that two resets in one millisecond differ. */
  #since: { readonly at: EpochMs };
  #inFlight = 0;
  #inFlightMax = 0;
  #totals = noCounts();
  #models = new Map<string, Map<Endpoint, EndpointCounts>>();
  #inputs = new Map<string, InputCounts>();
  #uncounted = 0;
  #repeated = 0;
  #log: CallLogEntry[] = [];

  constructor(name: string, now: EpochMs) {
    this.#name = name;
    this.#since = { at: now };
  }

  /** A call came in: counts it and its lines. Give what it returns to the other methods. */
  begin(endpoint: Endpoint, model: string, lines: readonly string[]): CountedCall {
    this.#inFlightMax = Math.max(this.#inFlightMax, ++this.#inFlight);
    const hashes = lines.map(hashLine);
    const call = { endpoint, model, hashes, counts: [this.#totals, this.#counts(model, endpoint)], since: this.#since };
    for (const counts of call.counts) {
      counts.calls++;
      counts.lines += lines.length;
    }
    for (const line of call.hashes) {
      const seen = this.#inputs.get(line);
      if (seen) seen.received++;
      else if (this.#inputs.size < INPUTS_MAX) this.#inputs.set(line, { received: 1, computed: 0 });
      else this.#uncounted++;
    }
    return call;
  }

  /** The call was let in and its lines are worked on. */
  computed(call: CountedCall): void {
    if (call.since !== this.#since) return;
    for (const counts of call.counts) counts.computedLines += call.hashes.length;
    for (const line of call.hashes) {
      const seen = this.#inputs.get(line);
      if (seen && ++seen.computed === 2) this.#repeated++;
    }
  }

  /** The call is over; `tokens` for those answered. */
  end(
    call: CountedCall,
    entry: { id: string; at: EpochMs; ms: DurationMs; outcome: string },
    tokens?: { input: number; output: number },
  ): void {
    this.#inFlight--;
    if (call.since !== this.#since) return;
    for (const counts of call.counts) {
      counts.outcomes[entry.outcome] = (counts.outcomes[entry.outcome] ?? 0) + 1;
      counts.inputTokens += tokens?.input ?? 0;
      counts.outputTokens += tokens?.output ?? 0;
    }
    this.#log.push({ ...entry, endpoint: call.endpoint, model: call.model, lines: call.hashes.length });
    if (this.#log.length >= 2 * LOG_MAX) this.#log = this.#log.slice(-LOG_MAX);
  }

  /** Model names seen, at most 1,000. */
  models(): string[] {
    return [...this.#models.keys()].filter((name) => !name.startsWith('('));
  }

  /** A copy of everything. Copying 200,000 lines takes a while: leave them out where they are not needed. */
  read({ inputs = true }: { inputs?: boolean } = {}): ModelServerCounters {
    return {
      name: this.#name,
      since: this.#since.at,
      inFlight: this.#inFlight,
      inFlightMax: this.#inFlightMax,
      totals: structuredClone(this.#totals),
      models: Object.fromEntries(
        [...this.#models].map(([model, endpoints]) => [model, structuredClone(Object.fromEntries(endpoints))]),
      ),
      inputs: inputs ? Object.fromEntries([...this.#inputs].map(([line, counts]) => [line, { ...counts }])) : {},
      inputsUncounted: this.#uncounted,
      inputsRepeated: this.#repeated,
      log: this.#log.slice(-LOG_MAX),
    };
  }

  /** Starts again from nothing. Calls in flight stay in flight, and are not counted when they end. */
  reset(now: EpochMs): void {
    this.#since = { at: now };
    this.#inFlightMax = this.#inFlight;
    this.#totals = noCounts();
    this.#models = new Map();
    this.#inputs = new Map();
    this.#uncounted = 0;
    this.#repeated = 0;
    this.#log = [];
  }

  #counts(name: string, endpoint: Endpoint): EndpointCounts {
    const model = this.#models.has(name) || this.#models.size < MODELS_MAX ? name : '(other)';
    const endpoints = this.#models.get(model) ?? new Map<Endpoint, EndpointCounts>();
    this.#models.set(model, endpoints);
    const counts = endpoints.get(endpoint) ?? noCounts();
    endpoints.set(endpoint, counts);
    return counts;
  }
}

/** A call between its begin and its end. */
export interface CountedCall {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly hashes: readonly string[];
  readonly counts: readonly EndpointCounts[];
  readonly since: { readonly at: EpochMs };
}

function noCounts(): EndpointCounts {
  return { calls: 0, lines: 0, computedLines: 0, inputTokens: 0, outputTokens: 0, outcomes: {} };
}
