import { describe, expect, test } from '@jest/globals';
import { breakerLines } from '../../../cli/page.ts';
import { stylesFor } from '../../../cli/text.ts';
import type { StatusAnswer } from '../../../client/index.ts';

type HeldOff = StatusAnswer['breakers'][number];

const heldOff: HeldOff = {
  site: 'aws',
  backend: 'vendor',
  model: 'm-1',
  state: 'open',
  since: '2026-01-01T00:00:00Z',
  until: '2026-01-01T00:00:30Z',
  cause: 'backend',
  reason: 'status 500',
  concurrency: null,
};

describe('a backend on the page of whoever was woken', () => {
  test.each<[string, Partial<HeldOff>, string[]]>([
    [
      'held off',
      {},
      ['held off  m-1 of vendor at aws since 2026-01-01T00:00:00Z, tried again at 2026-01-01T00:00:30Z: status 500'],
    ],
    [
      'half open',
      { state: 'halfOpen' },
      ['half open m-1 of vendor at aws since 2026-01-01T00:00:00Z: the next call is a probe, and decides: status 500'],
    ],
    [
      'ramping',
      { state: 'ramping', concurrency: 24 },
      [
        'ramping   m-1 of vendor at aws answers again since 2026-01-01T00:00:00Z: calls began with one at once, 24 at once were borne before',
      ],
    ],
    ['closed for longer: it needs nobody', { state: 'closed' }, []],
  ])('%s', (_, change, lines) => {
    const shown = breakerLines({ breakers: [{ ...heldOff, ...change }] }, stylesFor(false));
    expect(shown.map(({ value }) => value)).toEqual(lines);
  });
});
