import { InvariantError, SiteUnavailableError, TransientError } from '../errors.ts';
import type { Clock } from '../ports/clock.ts';
import type { Log } from '../ports/log.ts';
import type { StateStore } from '../ports/object-store.ts';
import type { Ids, Random } from '../ports/random.ts';
import type { DurationMs } from '../units.ts';
import { type Accepted, AcceptorHandle, type Ballot, compareBallots, type Promised, type Refused } from './acceptor.ts';
import type { FactFault } from './facts.ts';
import { equalBytes } from './json.ts';
import { registerKey } from './keys.ts';

/**
 * Write-once registers: single-decree Paxos in the manner of CASPaxos over the `state` of three stores, of which any
 * two decide. An acceptor is one small object that changes only by compare-and-swap (`acceptor.ts`).
 *
 * A round, for one ballot that nobody else has:
 *   prepare  each acceptor promises to take nothing older, and tells what it accepted last
 *   choose   the value accepted under the highest ballot told by two acceptors; only if there is none, our own
 *   accept   written over the very ETag that our promise left, so that any promise made since makes it fail
 * Two acceptances of one ballot decide. Two majorities share an acceptor, so every later round chooses the same value.
 *
 * Nothing here is safe because of time: clocks only space the attempts.
 *
 * @source https://arxiv.org/abs/1802.07000 (CASPaxos: Replicated State Machines without logs, Rystsov 2018) 2026-08
 */

/** One of the three voters. */
export interface Acceptor {
  /** Site id, or `witness`. */
  id: string;
  /** A store restored or replaced comes back under another one, so that what it forgot it never promised. */
  incarnation: string;
  state: StateStore;
}

export interface RegisterOptions {
  clock: Clock;
  random: Random;
  ids: Ids;
  log: Log;
  /** Bound of one store call; no new round begins for want of answers when so much time has gone by. */
  callMs: DurationMs;
  /** Rounds before giving up; default 8. */
  attemptsMax?: number;
  /** Ids asked first; the others only if one of these does not answer. Default: all are asked. */
  prefer?: readonly string[];
  /**
   * Called before asking `acceptor` to accept `value`: makes it hold the files that the value names. Not bounded in
   * time here. When it throws, no vote is asked of that acceptor.
   */
  beforeAccept?: (acceptor: Acceptor, value: Uint8Array) => Promise<void>;
  /** Told of an object that is no register; the acceptor then counts as not answering, never as empty. */
  report?: (acceptor: Acceptor, key: string, fault: FactFault) => Promise<void>;
}

const majority = 2;
const attemptsDefault = 8;
const backoffMs = { base: 50, max: 2_000 };

/**
 * The one value ever decided under `name`: `value`, or what was decided or half decided before.
 * @returns `own`: the decided bytes equal `value`, whoever got them decided
 * @throws SiteUnavailableError `no_majority` if no two acceptors answered; the value may yet be decided by another
 * @throws TransientError `register_contended` if others kept overtaking us
 */
export async function decide(
  acceptors: readonly Acceptor[],
  name: string,
  value: Uint8Array,
  options: RegisterOptions,
): Promise<{ value: Uint8Array; own: boolean }> {
  const decided = await new Proposer(acceptors, name, options).run(value);
  // A round that brings a value of its own always ends with one.
  return { value: decided!, own: equalBytes(decided!, value) };
}

/**
 * What was decided under `name`; finishes what it finds half decided. `undefined` if two acceptors answered and nothing
 * can have been decided when this call began.
 * @throws as `decide`
 */
export async function learn(
  acceptors: readonly Acceptor[],
  name: string,
  options: RegisterOptions,
): Promise<Uint8Array | undefined> {
  return new Proposer(acceptors, name, options).learn();
}

type RoundEnd = { decided: Uint8Array } | { nothing: true } | { unreachable: unknown } | { overtaken: true };

/** One call of `decide` or `learn`. */
class Proposer {
  readonly #handles: AcceptorHandle[];
  readonly #options: RegisterOptions;
  readonly #name: string;
  /** Fresh for each call, never the name of a process or site: two calls can not share a ballot (F50). */
  readonly #id: string;
  #round = 0;
  #attempt = 0;

  constructor(acceptors: readonly Acceptor[], name: string, options: RegisterOptions) {
    const ids = acceptors.map(({ id }) => id);
    const different = Math.min(new Set(ids).size, new Set(acceptors.map(({ state }) => state)).size);
    if (different !== acceptors.length || acceptors.length > 3)
      throw new InvariantError('acceptors_invalid', `at most three different stores can vote, not ${ids}`);
    const rank = ({ id }: Acceptor) => (options.prefer === undefined || options.prefer.includes(id) ? 0 : 1);
    this.#options = options;
    this.#name = name;
    this.#id = options.ids.uuid();
    this.#handles = acceptors.map(
      (one) => new AcceptorHandle(one, rank(one), registerKey(one.incarnation, name), options),
    );
  }

  async run(value: Uint8Array | undefined): Promise<Uint8Array | undefined> {
    return this.#untilDone(() => this.#playRound(value));
  }

  async learn(): Promise<Uint8Array | undefined> {
    return this.#untilDone(async () => {
      const seen = await this.#look();
      return 'halfDecided' in seen ? this.#playRound(undefined) : seen;
    });
  }

  async #untilDone(attempt: () => Promise<RoundEnd>): Promise<Uint8Array | undefined> {
    const { clock, random, callMs, attemptsMax = attemptsDefault } = this.#options;
    const startedAt = clock.now();
    let last: RoundEnd | undefined;
    // Two that swallow calls would swallow those of eight rounds, one after the other, and somebody waits for a word.
    const isPatient = () => last === undefined || !('unreachable' in last) || clock.now() - startedAt < callMs;
    while (this.#attempt < attemptsMax && isPatient()) {
      const pause = Math.min(backoffMs.max, backoffMs.base * 2 ** this.#attempt);
      if (this.#attempt > 0) await clock.sleep(Math.ceil(random() * pause));
      this.#attempt += 1;
      last = await attempt();
      if ('decided' in last) return last.decided;
      if ('nothing' in last) return undefined;
    }
    if (last !== undefined && 'unreachable' in last)
      throw new SiteUnavailableError('no_majority', `no two voters answer for ${this.#name}`, 'registers', {
        cause: last.unreachable,
      });
    throw new TransientError('register_contended', `others keep overtaking us at ${this.#name}`);
  }

  /**
   * Reads only. Two acceptors that show the same accepted ballot have decided its value: a ballot belongs to one round
   * of one call and carries one value, an acceptor shows only what it did accept, and two of three acceptances decide,
   * at whatever moments they happened. So old or cached reads cannot make this wrong, they can only make it late.
   *
   * Two acceptors that accepted nothing: had a value been decided before this call, one of the two would show it. (A
   * witness that answers from a cache may hide it, F26. Nothing is granted by that: whoever goes on to propose has to
   * write to two stores, and meets the value there.)
   */
  async #look(): Promise<RoundEnd | { halfDecided: true }> {
    const seen = await this.#ask(
      (handle) => handle.read(),
      () => true,
    );
    if (seen.answers.length < majority) return { unreachable: seen.failure };
    if (seen.answers.every(({ accepted }) => accepted === null)) return { nothing: true };
    const value = valueOfTwo(seen.answers);
    if (value !== undefined) return { decided: value };
    const rest = this.#handles.filter((handle) => !seen.asked.includes(handle));
    const third = await Promise.all(rest.map((handle) => handle.read().catch(() => undefined)));
    const late = valueOfTwo([...seen.answers, ...third]);
    if (late !== undefined) return { decided: late };
    return { halfDecided: true };
  }

  async #playRound(value: Uint8Array | undefined): Promise<RoundEnd> {
    this.#round += 1;
    const ballot: Ballot = { round: this.#round, id: this.#id };
    const seen = await this.#ask(
      (handle) => handle.promise(ballot),
      (answer) => 'etag' in answer,
    );
    for (const answer of seen.answers) if ('refusedFor' in answer) this.#outbid(answer);
    const promises = seen.answers.filter((answer): answer is Promised => 'etag' in answer);
    if (promises.length < majority) return this.#lost(seen.answers, seen.failure);
    const highest = promises
      .flatMap(({ accepted }) => (accepted === null ? [] : [accepted]))
      .sort((a, b) => compareBallots(b.ballot, a.ballot))[0];
    const chosen = highest?.value ?? value;
    return chosen === undefined ? { nothing: true } : this.#collectVotes(promises, ballot, chosen);
  }

  /** The first two that promised are asked; the third only if one of them gives no vote, since a vote costs copies. */
  async #collectVotes(promises: Promised[], ballot: Ballot, value: Uint8Array): Promise<RoundEnd> {
    const answers: ({ voted: true } | Refused)[] = [];
    let failure: unknown;
    const vote = async ({ handle, etag }: Promised) => {
      try {
        await this.#options.beforeAccept?.(handle.acceptor, value);
        const answer = await handle.accept(ballot, value, etag);
        if ('refusedFor' in answer) this.#outbid(answer);
        answers.push(answer);
      } catch (error) {
        failure = error;
        handle.failedIn = this.#attempt;
        this.#options.log.warn('register.vote_missed', {
          register: this.#name,
          store: handle.acceptor.id,
          error: String((error as Error)?.message).slice(0, 200),
        });
      }
    };
    const votes = () => answers.filter((answer) => 'voted' in answer).length;
    const inOrder = promises.toSorted((a, b) => byTurn(a.handle, b.handle));
    await Promise.all(inOrder.slice(0, majority).map(vote));
    for (const promise of inOrder.slice(majority)) if (votes() < majority) await vote(promise);
    return votes() < majority ? this.#lost(answers, failure) : { decided: value };
  }

  #lost(answers: readonly object[], failure: unknown): RoundEnd {
    return answers.length < majority ? { unreachable: failure } : { overtaken: true };
  }

  #outbid({ refusedFor }: Refused): void {
    this.#round = Math.max(this.#round, refusedFor.round);
  }

  /**
   * Asks acceptors by turns, those of one turn at once, until two have answered: the preferred, the others, then those
   * that failed before in this call, the oldest failure first, so that two that fail in different ways take turns.
   */
  async #ask<T extends object>(
    call: (handle: AcceptorHandle) => Promise<T>,
    serves: (answer: T) => boolean,
  ): Promise<{ asked: AcceptorHandle[]; answers: T[]; failure: unknown }> {
    const asked: AcceptorHandle[] = [];
    const answers: T[] = [];
    let failure: unknown;
    const askOne = async (handle: AcceptorHandle) => {
      try {
        const answer = await call(handle);
        answers.push(answer);
        return serves(answer);
      } catch (error) {
        failure = error;
        handle.failedIn = this.#attempt;
        return false;
      }
    };
    const waiting = this.#handles.toSorted(byTurn);
    while (answers.length < majority && waiting.length > 0) {
      const turn = [waiting.shift()!];
      const tooFew = () => turn.length + answers.length < majority;
      while (waiting.length > 0 && (tooFew() || byTurn(turn.at(-1)!, waiting[0]!) === 0)) turn.push(waiting.shift()!);
      asked.push(...turn);
      await untilEnough(turn.map(askOne), majority);
    }
    // A straggler must not add to what is decided upon from here on.
    return { asked, answers: [...answers], failure };
  }
}

/** The value that two acceptors show under one ballot. */
function valueOfTwo(answers: readonly ({ accepted: Accepted | null } | undefined)[]): Uint8Array | undefined {
  const accepted = answers.flatMap((one) => (one?.accepted == null ? [] : [one.accepted]));
  return accepted.find((one, i) => accepted.slice(i + 1).some((two) => compareBallots(one.ballot, two.ballot) === 0))
    ?.value;
}

const byTurn = (a: AcceptorHandle, b: AcceptorHandle) => a.failedIn - b.failedIn || a.rank - b.rank;

/** Resolves when `enough` of `calls` gave true, or all have ended. None of them rejects. */
function untilEnough(calls: Promise<boolean>[], enough: number): Promise<void> {
  return new Promise((resolve) => {
    let served = 0;
    let open = calls.length;
    if (open === 0) resolve();
    for (const call of calls)
      void call.then((ok) => {
        open -= 1;
        if (ok) served += 1;
        if (served >= enough || open === 0) resolve();
      });
  });
}
