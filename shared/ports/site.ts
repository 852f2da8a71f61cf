import type { ObjectStore, StateStore } from './object-store.ts';
import type { Queue } from './queue.ts';

/** `[a-z0-9]{1,16}`; default ids `aws` and `azure`. */
export type SiteId = string;

/** The two containers that a voter has: immutable facts, and small mutable things (registers, hints). */
export interface Stores {
  /** Site id, or `witness`. */
  readonly id: SiteId | 'witness';
  readonly journal: ObjectStore;
  readonly state: StateStore;
}

/** One cloud, one region, as its clients see it. `intake`: plan, publish and split pointers; `work`: chunks. */
export interface Site extends Stores {
  readonly id: SiteId;
  readonly cloud: 'aws' | 'azure';
  readonly intake: Queue;
  readonly work: Queue;
}
