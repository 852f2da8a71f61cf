import { expect, test } from '@jest/globals';
import { parseNcrontab } from '../ncrontab.ts';

test.each([
  ['*/10 * * * * *', '2026-01-01T00:00:03.500Z', '2026-01-01T00:00:10.000Z'],
  ['*/10 * * * * *', '2026-01-01T00:00:10.000Z', '2026-01-01T00:00:20.000Z'],
  ['0 */5 * * * *', '2026-01-01T00:05:00.000Z', '2026-01-01T00:10:00.000Z'],
  ['0 30 9 * * 1-5', '2026-01-02T09:30:00.000Z', '2026-01-05T09:30:00.000Z'],
  ['0 0 0 29 2 *', '2026-01-01T00:00:00.000Z', '2028-02-29T00:00:00.000Z'],
  ['5,15 0 0 * * 7', '2026-01-01T00:00:00.000Z', '2026-01-04T00:00:05.000Z'],
])('%s: after %s comes %s', (expression, at, next) => {
  expect(new Date(parseNcrontab(expression).next(Date.parse(at))).toISOString()).toBe(next);
});

test.each(['* * * * *', '60 * * * * *', '*/0 * * * * *', 'x * * * * *', '5-1 * * * * *', '0 0 0 31 2 *'])(
  '%s is refused',
  (expression) => {
    expect(() => parseNcrontab(expression)).toThrow(`schedule: '${expression}'`);
  },
);
