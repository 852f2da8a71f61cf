import { expect, test } from '@jest/globals';
import { simulate } from '../../local/simulator/run.ts';
import { short } from './seeds.ts';

test('a seed run twice: the same trace, byte for byte; another seed: another one', async () => {
  const run = (seed: string) => simulate({ seed, knobs: { ...short, hours: 0.3, batches: 4 }, keepTrace: 100_000 });
  const [first, again, other] = [await run('11'), await run('11'), await run('12')];
  expect(again.trace).toEqual(first.trace);
  expect(again.hash).toBe(first.hash);
  expect(other.hash).not.toBe(first.hash);
});
