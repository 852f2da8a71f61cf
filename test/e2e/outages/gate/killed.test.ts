import { expect, test } from '@jest/globals';
import { expectTakeover } from '../killed.ts';

// What the gate has time for; `npm run outages` does this and everything else to both clouds.
test('kill -9 of the whole of Azure in the middle of a run: AWS completes it, each id once', async () => {
  const { repeats } = await expectTakeover('azure', 0.5);
  expect(repeats).toBeLessThanOrEqual(1_319);
}, 900_000);
