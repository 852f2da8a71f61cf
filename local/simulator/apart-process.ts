import type { ApartAnswer, ApartOptions } from './apart.ts';
import { simulate } from './run.ts';

/** The other end of `apart.ts`. */
process.on('message', async (options: ApartOptions) => {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  let answer: ApartAnswer;
  try {
    answer = { report: await simulate(Object.fromEntries(given) as unknown as ApartOptions) };
  } catch (error) {
    answer = { error: String((error as Error).stack ?? error) };
  }
  process.send!(answer);
});
// Ctrl-C reaches all processes of a terminal: whoever started this one decides, and waits for the seed under way.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit());
