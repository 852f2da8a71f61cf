import { expect, test } from '@jest/globals';
import { expectTakeover } from '../killed.ts';
import { victims } from '../support.ts';

test.each(victims)(
  'kill -9 of the whole of %s in the middle of a run: the other cloud completes it, each id once',
  async (victim) => {
    const { repeats } = await expectTakeover(victim, 0.5);
    expect(repeats).toBeLessThanOrEqual(1_319);
  },
  900_000,
);
