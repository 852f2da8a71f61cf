import { describe, expect, test } from '@jest/globals';
import { expectTakeover } from './killed.ts';
import { victims } from './support.ts';

describe.each(victims)('kill -9 of the whole of %s, never restarted', (victim) => {
  test.each([0.1, 0.5, 0.9])(
    'at %f of the run: every id once, first redriven result within 60 s',
    async (share) => {
      const { repeats } = await expectTakeover(victim, share);
      expect(repeats).toBeLessThanOrEqual(1_319);
    },
    900_000,
  );
});
