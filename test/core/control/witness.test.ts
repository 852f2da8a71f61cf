import { describe, expect, test } from '@jest/globals';
import { InMemoryObjectStore } from '../../../local/in-memory/object-store.ts';
import { verifyWitness } from '../../../shared/control/witness.ts';
import type { StateStore } from '../../../shared/ports/object-store.ts';
import { ignoringConditions, instead } from '../journal/registers.support.ts';

let uuids = 0;
const ids = { uuid: () => String(uuids++).padStart(32, '0') };

const sound = () => new InMemoryObjectStore('witness/x');
const overwriting = () => {
  const store = sound();
  return instead(store, {
    putIfAbsent: async (key, body) => {
      await store.delete(key);
      return store.putIfAbsent(key, body);
    },
  });
};
const cached = () => {
  const store = sound();
  const seen = new Map<string, ReturnType<StateStore['get']>>();
  return instead(store, {
    get: (key) => {
      if (!seen.has(key)) seen.set(key, store.get(key));
      return seen.get(key)!;
    },
  });
};

describe('a witness', () => {
  test('that refuses a second create and a stale replace is taken, and keeps nothing of the trial', async () => {
    const witness = { journal: sound(), state: sound() };
    await verifyWitness(witness, ids);
    for (const store of [witness.journal, witness.state]) expect((await store.list('')).entries).toEqual([]);
  });

  test.each([
    ['its journal overwrites on create', { journal: overwriting(), state: sound() }, 'If-None-Match'],
    ['its state overwrites on create', { journal: sound(), state: overwriting() }, 'If-None-Match'],
    ['it replaces over any ETag', { journal: sound(), state: ignoringConditions(sound()) }, 'If-Match'],
    ['it answers reads from a cache', { journal: sound(), state: cached() }, 'cached'],
  ])('is refused when %s', async (_what, witness, told) => {
    await expect(verifyWitness(witness, ids)).rejects.toMatchObject({
      name: 'ConfigError',
      key: 'witness',
      message: expect.stringContaining(told),
    });
  });
});
