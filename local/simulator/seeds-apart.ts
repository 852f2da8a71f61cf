import { Apart, answerApart } from './apart.ts';
import { type RunOptions, type RunReport, simulate } from './run.ts';

/** A process that simulates seeds. Options that are functions do not cross to it: asking with one throws. */
export const seedsApart = () => new Apart<RunOptions, RunReport>(import.meta.filename);

if (process.argv[1] === import.meta.filename) answerApart(simulate);
