import { describe, expect, test } from '@jest/globals';
import { parseRateLimits, parseRetryAfter, retryAfterOf } from '../../../shared/inference/rate-limits.ts';

const now = Date.UTC(2026, 10, 25);
const headers = (fields: Record<string, string>) => new Headers(fields);

test.each([
  ['5', 5_000],
  ['1.5', 1_500],
  ['0', 0],
  ['31536000', 600_000],
  ['Wed, 25 Nov 2026 00:00:10 GMT', 10_000],
  ['Wednesday, 25-Nov-26 00:00:10 GMT', 10_000],
  ['Wed Nov 25 00:00:10 2026', 10_000],
  ['Sun, 25 Nov 2126 00:00:00 GMT', 600_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['soon', undefined],
  ['-5', undefined],
  ['1e9', undefined],
  ['NaN', undefined],
  ['', undefined],
  [null, undefined],
])('Retry-After %j is %s ms', (value, ms) => {
  expect(parseRetryAfter(value, now)).toBe(ms);
});

test('retry-after-ms goes before Retry-After, which rounds to seconds', () => {
  expect(retryAfterOf(headers({ 'retry-after-ms': '120', 'retry-after': '1' }), now)).toBe(120);
  expect(retryAfterOf(headers({ 'retry-after-ms': 'x', 'retry-after': '1' }), now)).toBe(1_000);
});

describe('x-ratelimit headers', () => {
  test('as OpenAI writes them', () => {
    const told = headers({
      'x-ratelimit-limit-requests': '60',
      'x-ratelimit-remaining-requests': '59',
      'x-ratelimit-reset-requests': '1s',
      'x-ratelimit-limit-tokens': '150000',
      'x-ratelimit-remaining-tokens': '149984',
      'x-ratelimit-reset-tokens': '6m0s',
    });
    expect(parseRateLimits(told, now)).toEqual({
      requests: { limit: 60, remaining: 59, resetMs: 1_000 },
      tokens: { limit: 150_000, remaining: 149_984, resetMs: 360_000 },
    });
  });

  test('as Azure writes them: seconds, or nothing but what is left', () => {
    expect(
      parseRateLimits(headers({ 'x-ratelimit-remaining-tokens': '120', 'x-ratelimit-reset-tokens': '17' }), now),
    ).toEqual({
      tokens: { remaining: 120, resetMs: 17_000 },
    });
    expect(parseRateLimits(headers({ 'x-ratelimit-remaining-requests': '5' }), now)).toEqual({
      requests: { remaining: 5 },
    });
  });

  test.each([
    ['20ms', 20],
    ['1h30m', 600_000],
    ['1m2.5s', 62_500],
    ['0', 0],
    ['2026-11-25T00:00:30Z', 30_000],
    ['1970-01-01T00:00:00Z', 0],
    ['later', undefined],
    ['-3s', undefined],
  ])('a reset of %j is %s ms', (text, resetMs) => {
    const told = headers({ 'x-ratelimit-remaining-requests': '1', 'x-ratelimit-reset-requests': text });
    expect(parseRateLimits(told, now)?.requests?.resetMs).toBe(resetMs);
  });

  test.each(['-1', 'many', '', '9'.repeat(400)])('%j left says nothing', (remaining) => {
    expect(parseRateLimits(headers({ 'x-ratelimit-remaining-requests': remaining }), now)).toBeUndefined();
  });
});
