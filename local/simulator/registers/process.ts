import { OutcomeUnknownError, SiteUnavailableError } from '../../../shared/errors.ts';
import type { Acceptor, decide, learn, RegisterOptions } from '../../../shared/journal/registers.ts';
import type { Clock } from '../../../shared/ports/clock.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import { resolveLostCreate, resolveLostReplace, writeUntilKnown } from '../../../shared/ports/lost-reply.ts';
import type { PutResult, ReplaceResult, StateStore, StoredObject } from '../../../shared/ports/object-store.ts';

/** What is put to the test: the core's own two functions, or a copy of them with a bug. */
export interface RegisterCode {
  decide: typeof decide;
  learn: typeof learn;
}

/** One call of `decide` (with a value) or `learn` (without one), by a process that does nothing else. */
export interface ProcessSpec {
  name: string;
  value: string | undefined;
  /** See `RegisterOptions`. */
  prefer?: readonly string[];
  attemptsMax: number;
  /** The 128 random bits of its ballots. Default: bits that no other process of the search has. */
  ballotId?: string;
}

/** What a store keeps under the one key of this register; also its ETag, since no two writes are of equal bytes. */
export type Content = string | undefined;

/** A call on its way to one store, as the network carries it. */
export interface Request {
  /** Index in `storeIds`. */
  store: number;
  op: 'get' | 'putIfAbsent' | 'putIfMatch';
  body: Content;
  etag: Content;
}

/** What a process is told next; nothing else ever reaches it. */
export type Input =
  | { kind: 'reply'; call: number; content: Content; isApplied: boolean }
  | { kind: 'refused' | 'lost' | 'timeout'; call: number }
  | { kind: 'wake' };

/** How the process ended. */
export type End = { value: string | undefined; own?: boolean } | { error: string };

export const storeIds = ['aws', 'azure', 'witness'] as const;

interface OpenCall {
  request: Request;
  resolve(reply: { content: Content; isApplied: boolean }): void;
  reject(error: unknown): void;
  /** Ends the wait for it, as its deadline does. */
  expire(): void;
}

/**
 * The real code, running, and cut off from everything: every call and every sleep stops here and goes on when it is fed.
 * What it does is a function of what it was fed, and in which order.
 *
 * The bits that make each write unlike any other are renamed on the way out and back: after the process, the store and
 * how many writes went there before, instead of how many bits were drawn before. So what a store holds does not tell in
 * which order a process wrote to others, and schedules that differ in nothing else lead to the same state.
 */
export class Process {
  /** Everything it ever sent, in order. */
  readonly requests: Request[] = [];
  readonly #index: number;
  /** By index in `requests`, what it still waits for. */
  readonly #open = new Map<number, OpenCall>();
  readonly #writes = storeIds.map(() => 0);
  readonly #bodies = new Renamed();
  #wake: (() => void) | undefined;
  #end: End | undefined;
  #draws = 0;
  #deadline: (() => void) | undefined;
  readonly #deadlines = new WeakMap<AbortSignal, () => void>();

  constructor(spec: ProcessSpec, index: number, code: RegisterCode) {
    this.#index = index;
    const acceptors = storeIds.map((id, store): Acceptor => ({ id, incarnation: id, state: this.#store(id, store) }));
    const ballotId = spec.ballotId ?? (index + 1).toString(16).padStart(32, '0');
    const options: RegisterOptions = {
      clock: this.#clock(),
      random: () => 0.5,
      // The first draw of a call is its ballots' id.
      ids: { uuid: () => (this.#draws++ === 0 ? ballotId : String(this.#draws)) },
      log: silentLog,
      callMs: 5_000,
      attemptsMax: spec.attemptsMax,
      prefer: spec.prefer,
    };
    const running =
      spec.value === undefined
        ? code.learn(acceptors, 'register', options).then((value): End => ({ value: value && textOf(value) }))
        : code
            .decide(acceptors, 'register', Buffer.from(spec.value), options)
            .then(({ value, own }): End => ({ value: textOf(value), own }));
    running.then(
      (end) => {
        this.#end = end;
      },
      (error: Error) => {
        this.#end = { error: error.name };
      },
    );
  }

  get end(): End | undefined {
    return this.#end;
  }

  get isAsleep(): boolean {
    return this.#wake !== undefined;
  }

  /** Indexes in `requests` of what it waits for. */
  get open(): number[] {
    return [...this.#open.keys()];
  }

  /** Runs it until it waits for something again. */
  async settled(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  async feed(input: Input): Promise<void> {
    if (input.kind === 'wake') {
      const wake = this.#wake;
      this.#wake = undefined;
      wake?.();
    } else {
      const call = this.#open.get(input.call)!;
      this.#open.delete(input.call);
      const where = storeIds[call.request.store]!;
      if (input.kind === 'reply') call.resolve({ ...input, content: this.#bodies.inner(input.content) });
      else if (input.kind === 'timeout') call.expire();
      else if (input.kind === 'lost') call.reject(new OutcomeUnknownError('reply_lost', where));
      else call.reject(new SiteUnavailableError('refused', where, where));
    }
    await this.settled();
  }

  #clock(): Clock {
    return {
      now: () => 0,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          // The turn that a deadline waits after its time, for what has arrived.
          if (ms === 0) return resolve();
          if (signal === undefined) {
            this.#wake = resolve;
            return;
          }
          // A deadline: the call that it bounds is made in the same breath.
          this.#deadline = resolve;
          signal.addEventListener('abort', () => reject(signal.reason), { once: true });
        }),
    };
  }

  #send(store: number, op: Request['op'], body: Content, etag: Content, signal: AbortSignal) {
    return new Promise<{ content: Content; isApplied: boolean }>((resolve, reject) => {
      signal.throwIfAborted();
      const expire = this.#deadlines.get(signal) ?? this.#deadline!;
      this.#deadlines.set(signal, expire);
      const request: Request = { store, op, body: this.#named(store, body), etag: this.#bodies.outer(etag) };
      const call = this.requests.push(request) - 1;
      this.#open.set(call, { request, resolve, reject, expire });
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
  }

  /** The name under which the world knows what is written. */
  #named(store: number, body: Content): Content {
    if (body === undefined) return undefined;
    const known = this.#bodies.outer(body);
    if (known !== body) return known;
    this.#writes[store]! += 1;
    const bits = `${this.#index} ${store} ${this.#writes[store]}`;
    return this.#bodies.add(body, JSON.stringify({ ...JSON.parse(body), bits }));
  }

  #store(name: string, store: number): StateStore {
    const get: StateStore['get'] = async (_key, options): Promise<StoredObject | undefined> => {
      const { content } = await this.#send(store, 'get', undefined, undefined, options!.signal!);
      return content === undefined ? undefined : { bytes: Buffer.from(content), etag: content };
    };
    // As every adapter does: what a lost reply leaves open is read back.
    const members: Pick<StateStore, 'name' | 'get' | 'putIfAbsent' | 'putIfMatch'> = {
      name,
      get,
      putIfAbsent: (key, bytes, options) =>
        writeUntilKnown(
          async (): Promise<PutResult> => {
            const body = textOf(bytes);
            const { isApplied } = await this.#send(store, 'putIfAbsent', body, undefined, options!.signal!);
            return isApplied ? { status: 'created', etag: body } : { status: 'exists' };
          },
          (cause) => resolveLostCreate(members, key, bytes, cause, options),
        ),
      putIfMatch: (key, bytes, etag, options) =>
        writeUntilKnown(
          async (): Promise<ReplaceResult> => {
            const body = textOf(bytes);
            const { isApplied } = await this.#send(store, 'putIfMatch', body, etag, options!.signal!);
            return isApplied ? { status: 'replaced', etag: body } : { status: 'stale' };
          },
          (cause) => resolveLostReplace(members, key, bytes, etag, cause, options),
        ),
    };
    // An acceptor uses no more of a store.
    return members as StateStore;
  }
}

/** What a process wrote, as it knows it (inner) and as the world knows it (outer). What others wrote has one name. */
class Renamed {
  readonly #outer = new Map<string, string>();
  readonly #inner = new Map<string, string>();

  add(inner: string, outer: string): string {
    this.#outer.set(inner, outer);
    this.#inner.set(outer, inner);
    return outer;
  }

  outer<T extends Content>(content: T): T | string {
    return (content !== undefined && this.#outer.get(content)) || content;
  }

  inner(content: Content): Content {
    return (content !== undefined && this.#inner.get(content)) || content;
  }
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();
