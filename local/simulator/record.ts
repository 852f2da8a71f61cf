import { canaryTenant } from '../../shared/health/canary-batch.ts';
import type { EpochMs } from '../../shared/units.ts';
import type { SimulatedStore, StoreWitness } from './services/store.ts';

/** A promise that was broken, and when. */
export interface Violation {
  /** `I1` … `I15`, `liveness`, or `crash` for an error nobody caught. */
  invariant: string;
  sentence: string;
  at: EpochMs;
}

/** What a client was told when its batch was accepted. */
export interface ReceiptSeen {
  tenant: string;
  batch: string;
  receipt: string;
  /** Site whose front door answered. */
  by: string;
  at: EpochMs;
}

/** What a client reads of a batch that has ended. */
export interface EndSeen {
  tenant: string;
  batch: string;
  gist: string;
  by: string;
  at: EpochMs;
}

/** One check that is told of every write, as it takes effect. */
export interface Watcher {
  created?(store: SimulatedStore, key: string, bytes: Uint8Array): void;
  deleted?(store: SimulatedStore, key: string): void;
  receipt?(seen: ReceiptSeen): void;
  /** A message was completed; `body` as it was sent. */
  completed?(queue: string, body: string): void;
}

/**
 * What can be seen from outside: every write as it took effect, what clients were told, and what processes said. Judges
 * read this and the stores, and nothing of what the code under test holds in its head.
 */
export class SimulationRecord implements StoreWitness {
  readonly violations: Violation[] = [];
  readonly receipts: ReceiptSeen[] = [];
  readonly ends: EndSeen[] = [];
  /** Answers of front doors that clients got, by status. */
  readonly statuses = new Map<number, number>();
  /** Callbacks, by batch: the different bodies that were sent. */
  readonly callbacks = new Map<string, Set<string>>();
  /** How often something happened that a campaign wants to have happened. */
  readonly reached = new Map<string, number>();
  /** When something was last written or deleted that tells of work: a fact, a vote, a hint, and of no canary. */
  lastWorkAt: EpochMs = 0;
  /** When a store lost what it held, by its site. */
  readonly wipedAt = new Map<string, EpochMs>();
  readonly #watchers: Watcher[] = [];
  readonly #now: () => EpochMs;

  constructor(now: () => EpochMs) {
    this.#now = now;
  }

  get now(): EpochMs {
    return this.#now();
  }

  watch(watcher: Watcher): void {
    this.#watchers.push(watcher);
  }

  reach(point: string): void {
    this.reached.set(point, (this.reached.get(point) ?? 0) + 1);
  }

  violated(invariant: string, sentence: string): void {
    // The first of a kind tells the story.
    if (this.violations.length < 100) this.violations.push({ invariant, sentence, at: this.#now() });
  }

  created(store: SimulatedStore, key: string, bytes: Uint8Array): void {
    if (tellsOfWork(key)) this.lastWorkAt = this.#now();
    for (const watcher of this.#watchers) watcher.created?.(store, key, bytes);
  }

  deleted(store: SimulatedStore, key: string): void {
    if (tellsOfWork(key)) this.lastWorkAt = this.#now();
    for (const watcher of this.#watchers) watcher.deleted?.(store, key);
  }

  completed(queue: string, body: string): void {
    for (const watcher of this.#watchers) watcher.completed?.(queue, body);
  }

  receipt(seen: ReceiptSeen): void {
    this.receipts.push(seen);
    for (const watcher of this.#watchers) watcher.receipt?.(seen);
  }
}

const tellsOfWork = (key: string): boolean => !key.startsWith('observations/') && !key.includes(`/${canaryTenant}/`);
