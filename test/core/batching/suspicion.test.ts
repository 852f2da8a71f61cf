import { expect, test } from '@jest/globals';
import { Suspicion } from '../../../shared/batching/suspicion.ts';

const minute = 60_000;

test('the word of another process doubts as long as it says, and never longer than a contradiction of now', () => {
  const one = new Suspicion();
  expect(one.isDoubted(0)).toBe(false);
  one.doubtUntil(2 * minute, 0);
  expect([one.isDoubted(2 * minute - 1), one.isDoubted(2 * minute)]).toEqual([true, false]);
  // A clock that is a day ahead.
  const other = new Suspicion();
  other.doubtUntil(24 * 60 * minute, 0);
  expect([other.isDoubted(5 * minute - 1), other.isDoubted(5 * minute)]).toEqual([true, false]);
  // What was doubted longer stays so.
  other.doubtUntil(minute, 0);
  expect(other.doubtedUntil).toBe(5 * minute);
});
