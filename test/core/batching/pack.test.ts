import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { apportion, pack } from '../../../shared/batching/pack.ts';
import { parseRetryAfter } from '../../../shared/inference/openai.ts';

const limits = { itemsMax: 20, tokensMax: 1000 };
const packable = fc.record({ items: fc.integer({ min: 1, max: 5 }), tokens: fc.integer({ min: 1, max: 900 }) });

describe('packing', () => {
  test('every line is in exactly one call, and no call is over a limit', () => {
    fc.assert(
      fc.property(fc.array(packable, { maxLength: 60 }), (lines) => {
        const calls = pack(lines, limits);
        expect(calls.flat().length).toBe(lines.length);
        expect(new Set(calls.flat())).toEqual(new Set(lines));
        for (const call of calls) {
          expect(call.reduce((sum, { items }) => sum + items, 0)).toBeLessThanOrEqual(limits.itemsMax);
          expect(call.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(limits.tokensMax);
        }
      }),
    );
  });

  test('never more calls than next-fit', () => {
    fc.assert(
      fc.property(fc.array(packable, { maxLength: 60 }), (lines) => {
        let calls = lines.length === 0 ? 0 : 1;
        let room = { items: limits.itemsMax, tokens: limits.tokensMax };
        for (const { items, tokens } of lines) {
          if (items > room.items || tokens > room.tokens) {
            calls += 1;
            room = { items: limits.itemsMax, tokens: limits.tokensMax };
          }
          room = { items: room.items - items, tokens: room.tokens - tokens };
        }
        expect(pack(lines, limits).length).toBeLessThanOrEqual(calls);
      }),
    );
  });

  test('a line over the limit gets a call of its own', () => {
    expect(
      pack(
        [
          { items: 1, tokens: 5000 },
          { items: 1, tokens: 10 },
        ],
        limits,
      ),
    ).toHaveLength(2);
  });

  test('shares are whole, add up, and follow the weights', () => {
    fc.assert(
      fc.property(fc.nat(100_000), fc.array(fc.nat(1000), { minLength: 1, maxLength: 30 }), (total, weights) => {
        const shares = apportion(total, weights);
        expect(shares.reduce((a, b) => a + b, 0)).toBe(total);
        const sum = weights.reduce((a, b) => a + b, 0);
        if (sum > 0)
          for (const [i, share] of shares.entries())
            expect(Math.abs(share - (total * weights[i]!) / sum)).toBeLessThan(1);
      }),
    );
  });
});

test.each([
  ['5', 5000],
  ['1.5', 1500],
  ['0', 0],
  ['31536000', 600_000],
  ['Thu, 01 Jan 1970 00:00:10 GMT', 9000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['soon', undefined],
  ['-5', undefined],
  ['', undefined],
])('Retry-After "%s" is %s ms', (value, ms) => {
  expect(parseRetryAfter(value, 1000)).toBe(ms);
});
