import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { apportion, embeddingLimits, lowerBound, nextFit, pack } from '../../../shared/batching/pack.ts';

const limits = { itemsMax: 20, tokensMax: 1000, itemTokensMax: 950 };
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

  test('never more calls than next-fit, whatever the limits', () => {
    const anyLimits = fc.record({
      itemsMax: fc.integer({ min: 5, max: 40 }),
      tokensMax: fc.integer({ min: 900, max: 4000 }),
      itemTokensMax: fc.constant(950),
    });
    fc.assert(
      fc.property(fc.array(packable, { maxLength: 200 }), anyLimits, (lines, some) => {
        expect(pack(lines, some).length).toBeLessThanOrEqual(nextFit(lines, some).count);
      }),
    );
  });

  test('where counts and tokens bind alike, lines of all sizes still fill as many calls as the bound asks for', () => {
    const some = { itemsMax: 100, tokensMax: 10_000, itemTokensMax: 8192 };
    const lines = Array.from({ length: 2_000 }, (_, i) => ({ items: 1, tokens: 1 + ((i * 7919) % 199) }));
    expect(lowerBound(lines, some)).toBe(20);
    expect(pack(lines, some).length).toBeLessThanOrEqual(21);
  });

  test('a line with an item that is too long for the model shares its call with nobody', () => {
    const long = { items: 3, tokens: 9_500, largest: 9_000 };
    const calls = pack([{ items: 1, tokens: 10 }, long, { items: 1, tokens: 10 }], embeddingLimits);
    expect(calls).toHaveLength(2);
    expect(calls).toContainEqual([long]);
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
