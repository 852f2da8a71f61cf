import * as z from 'zod';
import { SiteUnavailableError, type TransientError } from '../errors.ts';
import { factBytesMax } from '../limits.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { PutResult, ReplaceResult } from '../ports/object-store.ts';
import { type FactFault, factVersion, parseFact } from './facts.ts';
import { canonicalBytes } from './json.ts';
import type { Acceptor, RegisterOptions } from './registers.ts';

/** Greater is newer: by round, then by the 128 random bits of the call that made it. Never shared by two calls. */
export interface Ballot {
  round: number;
  id: string;
}

export function compareBallots(a: Ballot, b: Ballot): number {
  return a.round - b.round || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

/** What an acceptor accepted last. */
export interface Accepted {
  ballot: Ballot;
  value: Uint8Array;
}

/** It promised our ballot; only over this ETag may we ask it to accept. */
export interface Promised {
  handle: AcceptorHandle;
  etag: string;
  accepted: Accepted | null;
}

/** It has promised a newer ballot to somebody else. */
export interface Refused {
  refusedFor: Ballot;
}

// Far beyond any contest, and far below what a number can count: a store that shows more is not one of ours.
const roundMax = 1e12;
const ballotSchema = z.object({ round: z.int().min(1).max(roundMax), id: z.string().regex(/^[0-9a-f]{32}$/) });
const stateSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('register'),
  promised: ballotSchema,
  accepted: z.object({ ballot: ballotSchema, value: z.base64() }).nullable(),
  /** Fresh in every write: equal bytes, and an equal ETag, are the same write, so that nothing can come back (ABA). */
  bits: z.string(),
});

const triesMax = 4;
/** A store that asks for a longer pause than this counts as not answering. */
const pauseMsMax = 5_000;

/** One register in one store. Rejects where the store does not answer, or answers with something that is no register. */
export class AcceptorHandle {
  readonly acceptor: Acceptor;
  readonly #key: string;
  readonly #options: RegisterOptions;
  /** Lower is asked earlier. */
  readonly rank: number;
  /** Attempt in which it last failed to answer or to vote; 0 if it never did. */
  failedIn = 0;
  #touched = false;

  constructor(acceptor: Acceptor, rank: number, key: string, options: RegisterOptions) {
    this.acceptor = acceptor;
    this.rank = rank;
    this.#key = key;
    this.#options = options;
  }

  /** What it has promised and accepted; nothing of either where there is no object yet. */
  async read(): Promise<{ etag: string | undefined; promised: Ballot | null; accepted: Accepted | null }> {
    this.#touched = true;
    const found = await this.#call((signal) => this.acceptor.state.get(this.#key, { signal }));
    if (found === undefined) return { etag: undefined, promised: null, accepted: null };
    const parsed = parseFact(stateSchema, found.bytes, 2 * factBytesMax);
    if ('fault' in parsed) return this.#refuse(parsed);
    const { promised, accepted } = parsed.fact;
    if (accepted !== null && compareBallots(accepted.ballot, promised) > 0)
      return this.#refuse({ fault: 'invalid', detail: 'accepted a newer ballot than it promised' });
    return {
      etag: found.etag,
      promised,
      accepted:
        accepted === null
          ? null
          : { ballot: accepted.ballot, value: new Uint8Array(Buffer.from(accepted.value, 'base64')) },
    };
  }

  /**
   * Asks it to take nothing older than `ballot` from now on, and to tell what it accepted.
   * A register is mostly met for the first time, so the first thing tried is to create it.
   */
  async promise(ballot: Ballot): Promise<Promised | Refused> {
    let newest = ballot;
    for (let i = 0; i < triesMax; i++) {
      const seen = this.#touched ? await this.read() : { etag: undefined, promised: null, accepted: null };
      this.#touched = true;
      if (seen.promised !== null) {
        const order = compareBallots(seen.promised, ballot);
        // Ours already: its reply was lost.
        if (order === 0) return { handle: this, etag: seen.etag!, accepted: seen.accepted };
        if (order > 0) return { refusedFor: seen.promised };
        newest = seen.promised;
      }
      const etag = await this.#write(ballot, seen.accepted, seen.etag);
      if (etag !== undefined) return { handle: this, etag, accepted: seen.accepted };
    }
    return { refusedFor: newest };
  }

  /** Asks it to accept `value`, over nothing but the ETag that our promise of `ballot` left. */
  async accept(ballot: Ballot, value: Uint8Array, etag: string): Promise<{ voted: true } | Refused> {
    if ((await this.#write(ballot, { ballot, value }, etag)) !== undefined) return { voted: true };
    const seen = await this.read();
    if (seen.accepted !== null && compareBallots(seen.accepted.ballot, ballot) === 0) return { voted: true };
    return { refusedFor: seen.promised ?? ballot };
  }

  /** The new ETag; `undefined` if somebody else wrote meanwhile, or if it is unknown whether we did: read again. */
  async #write(promised: Ballot, accepted: Accepted | null, over: string | undefined): Promise<string | undefined> {
    const bytes = canonicalBytes({
      v: factVersion,
      kind: 'register',
      promised,
      accepted:
        accepted === null ? null : { ballot: accepted.ballot, value: Buffer.from(accepted.value).toString('base64') },
      bits: this.#options.ids.uuid(),
    });
    try {
      const put = await this.#call<PutResult | ReplaceResult>((signal) =>
        over === undefined
          ? this.acceptor.state.putIfAbsent(this.#key, bytes, { signal })
          : this.acceptor.state.putIfMatch(this.#key, bytes, over, { signal }),
      );
      return 'etag' in put ? put.etag : undefined;
    } catch (error) {
      if ((error as Error)?.name === 'OutcomeUnknownError') return undefined;
      throw error;
    }
  }

  /** One call in `callMs`. A store that asks us to wait (R2 takes one write a second per key) is asked again. */
  async #call<T>(call: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, random, callMs } = this.#options;
    for (let i = 1; ; i++) {
      try {
        return await withDeadline(clock, callMs, this.acceptor.id, call);
      } catch (error) {
        const pause = (error as Partial<TransientError> | undefined)?.retryAfterMs;
        if (pause === undefined || pause > pauseMsMax || i === triesMax) throw error;
        await clock.sleep(pause + Math.ceil(random() * 50));
      }
    }
  }

  async #refuse(fault: FactFault): Promise<never> {
    const { log, report } = this.#options;
    log.error('register.unreadable', { store: this.acceptor.id, key: this.#key, ...fault });
    await report?.(this.acceptor, this.#key, fault);
    throw new SiteUnavailableError('register_unreadable', `${this.#key}: ${fault.detail}`, this.acceptor.id);
  }
}
