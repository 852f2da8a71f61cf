import { InMemoryObjectStore } from '../../../local/in-memory/object-store.ts';
import { registerKey } from '../../../shared/journal/keys.ts';
import type { Acceptor, RegisterOptions } from '../../../shared/journal/registers.ts';
import { silentLog } from '../../../shared/ports/log.ts';
import type { StateStore } from '../../../shared/ports/object-store.ts';
import { Schedule, seeded } from './schedule.ts';

export const name = 'publication/batch_1';
export const text = (bytes: Uint8Array | undefined) =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString();
export const bytesOf = (value: string) => new Uint8Array(Buffer.from(value));
export const keyAt = (id: string) => registerKey(`${id}-1`, name);

/** Three stores, and a judge that looks at every write and keeps what was ever decided. */
export class World {
  readonly ids = ['aws', 'azure', 'witness'];
  readonly stores = new Map(this.ids.map((id) => [id, new InMemoryObjectStore(`${id}/state`) as StateStore]));
  readonly schedule = new Schedule();
  /** Values accepted by two stores under one ballot. */
  readonly decided = new Set<string>();
  readonly #accepted = new Map<string, Map<string, string>>();
  #uuids = 0;

  /** Fresh for each call: the 128 random bits, made countable. */
  readonly uuid = () => (++this.#uuids * 7919).toString(16).padStart(32, '0');

  acceptorsFor(who: string): Acceptor[] {
    return this.ids.map((id) => ({
      id,
      incarnation: `${id}-1`,
      state: this.schedule.store(who, this.stores.get(id)!, () => void this.judge()),
    }));
  }

  /** The stores without a network between. */
  get acceptors(): Acceptor[] {
    return this.ids.map((id) => ({ id, incarnation: `${id}-1`, state: this.stores.get(id)! }));
  }

  optionsFor(who: string, seed: number, more: Partial<RegisterOptions> = {}): RegisterOptions {
    return {
      clock: this.schedule.clock(who),
      random: seeded(seed),
      ids: { uuid: this.uuid },
      log: silentLog,
      callMs: 5_000,
      prefer: ['aws', 'azure'],
      ...more,
    };
  }

  async judge(): Promise<void> {
    for (const id of this.ids) {
      const object = await this.stores.get(id)!.get(keyAt(id));
      const state = object === undefined ? undefined : JSON.parse(text(object.bytes)!);
      if (!state?.accepted) continue;
      const { ballot, value } = state.accepted;
      const ballotName = `${ballot.round}-${ballot.id}`;
      const voters = this.#accepted.get(ballotName) ?? new Map<string, string>();
      this.#accepted.set(ballotName, voters.set(id, value));
      const values = [...voters.values()];
      for (const one of values)
        if (values.filter((other) => other === one).length >= 2)
          this.decided.add(Buffer.from(one, 'base64').toString());
    }
  }
}

/** A store that replaces whatever is there: what a register must not be built on. */
export function ignoringConditions(inner: StateStore): StateStore {
  return instead(inner, {
    putIfMatch: async (key, body) => {
      const head = await inner.head(key);
      return inner.putIfMatch(key, body, head?.etag ?? '');
    },
  });
}

/** `inner`, but for what `change` does instead. */
export function instead(inner: StateStore, change: Partial<StateStore>): StateStore {
  return new Proxy(inner, {
    get: (store, property) => {
      const own = change[property as keyof StateStore] ?? store[property as keyof StateStore];
      return typeof own === 'function' ? own.bind(store) : own;
    },
  });
}
