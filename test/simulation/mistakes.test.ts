import { afterAll, describe, expect, test } from '@jest/globals';
import { Apart } from './apart.ts';
import { mistakes } from './mistakes.ts';

const apart = new Apart();
afterAll(() => apart.end());

describe('a deliberate mistake is caught, and its seed without the mistake is clean:', () => {
  test.each(mistakes.map(({ name }) => [name]))('one that %s', async (name) => {
    const { seed, without } = await apart.run('mistake', { name });
    expect(seed).toBeLessThanOrEqual(1_000);
    expect(without).toEqual([]);
  });
});

test('there are at least twelve mistakes', () => {
  expect(mistakes.length).toBeGreaterThanOrEqual(12);
});
