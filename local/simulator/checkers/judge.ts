import type { Watcher } from '../record.ts';

/** One promise, held against the record. */
export interface Judge {
  /** Looks at every write as it takes effect. */
  watcher?: Watcher;
  /** Looks at everything, when the world has come to rest. */
  atEnd?(): void;
}
