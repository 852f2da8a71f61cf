import { equalBytes } from '../../../shared/journal/json.ts';
import type { SimulatedStore } from '../services/store.ts';
import type { World } from '../world.ts';
import type { Judge } from './judge.ts';

/**
 * I5: bytes under a fact's key never differ between two writes, on any site, ever. What the witness holds sealed is no
 * fact: each sealing has a nonce of its own.
 */
export function factsNeverChange({ record }: World): Judge {
  const first = new Map<string, Uint8Array>();
  const created = ({ container, name }: SimulatedStore, key: string, bytes: Uint8Array) => {
    if (container !== 'journal' || key.endsWith('.sealed')) return;
    const known = first.get(key);
    if (known === undefined) first.set(key, bytes);
    else if (!equalBytes(known, bytes)) record.violated('I5', `${key} was written with other bytes to ${name}`);
  };
  return { watcher: { created } };
}
