import { expect, test } from '@jest/globals';
import { type AccessToken, cacheToken } from '../../../shared/inference/token.ts';

const minute = 60_000;

function world() {
  let now = 0;
  const asked: { resolve(token: AccessToken): void; reject(error: Error): void }[] = [];
  const cache = cacheToken(
    () => new Promise((resolve, reject) => asked.push({ resolve, reject })),
    () => now,
  );
  return {
    cache,
    asked,
    at(moment: number) {
      now = moment;
    },
    async give(token: string, expiresAt: number) {
      asked.shift()!.resolve({ token, expiresAt });
      await new Promise(setImmediate);
    },
    async refuse() {
      asked.shift()!.reject(new Error('down'));
      await new Promise(setImmediate);
    },
  };
}

test('token: many callers at once, one is asked for', async () => {
  const { cache, asked, give } = world();
  const all = Promise.all([cache.get(), cache.get(), cache.get()]);
  expect(asked).toHaveLength(1);
  await give('a', 60 * minute);
  expect(await all).toEqual(['a', 'a', 'a']);
  expect(await cache.get()).toBe('a');
  expect(asked).toHaveLength(0);
});

test('token: near its end it is refreshed behind the callers, who wait for nothing', async () => {
  const { cache, asked, give, at } = world();
  const first = cache.get();
  await give('a', 60 * minute);
  await first;
  at(51 * minute);
  expect(await cache.get()).toBe('a');
  expect(asked).toHaveLength(1);
  await give('b', 110 * minute);
  expect(await cache.get()).toBe('b');
});

test('token: the giver is down, the old token serves to its end', async () => {
  const { cache, asked, give, refuse, at } = world();
  const first = cache.get();
  await give('a', 60 * minute);
  await first;
  at(51 * minute);
  expect(await cache.get()).toBe('a');
  await refuse();
  // Left alone for half a minute.
  expect(await cache.get()).toBe('a');
  expect(asked).toHaveLength(0);
  at(52 * minute);
  expect(await cache.get()).toBe('a');
  await refuse();
  at(59 * minute + 31_000);
  const late = expect(cache.get()).rejects.toThrow('down');
  await refuse();
  await late;
});

test('token: one that was refused is not sent again', async () => {
  const { cache, asked, give } = world();
  const first = cache.get();
  await give('a', 60 * minute);
  await first;
  cache.drop();
  const second = cache.get();
  expect(asked).toHaveLength(1);
  await give('b', 60 * minute);
  expect(await second).toBe('b');
});
