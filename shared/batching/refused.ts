import { canonicalBytes, type JsonObject, sha256 } from '../journal/json.ts';
import type { DurationMs } from '../units.ts';

const requestsMax = 1_000;

/**
 * Requests of one model that were refused and have not come to their end: to believe that takes several calls more. One
 * that is begun when there is no time for all of them costs its call for nothing, each time it comes again.
 */
export class RefusedLately {
  /** What the last call that was refused took, without the wait before it. */
  callMs: DurationMs = 0;
  readonly #calls: number;
  /** Hashes, the oldest first. */
  readonly #requests = new Set<string>();

  /** @param calls that it takes to end such a request, canaries counted in */
  constructor(calls: number) {
    this.#calls = calls;
  }

  has(body: JsonObject): boolean {
    return this.#requests.size > 0 && this.#requests.has(nameOf(body));
  }

  note(body: JsonObject): void {
    const name = nameOf(body);
    this.#requests.delete(name);
    this.#requests.add(name);
    if (this.#requests.size > requestsMax) this.#requests.delete(this.#requests.values().next().value!);
  }

  forget(body: JsonObject): void {
    if (this.#requests.size > 0) this.#requests.delete(nameOf(body));
  }

  /** About how long all its calls take; at most half of the time that there is, or it would never begin. */
  takesMs(thereIsMs: DurationMs): DurationMs {
    return Math.min(this.#calls * this.callMs, thereIsMs / 2);
  }
}

const nameOf = (body: JsonObject): string => sha256(canonicalBytes(body));
