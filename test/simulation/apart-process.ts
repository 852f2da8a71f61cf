import { answerApart } from '../../local/simulator/apart.ts';
import { runs } from './runs.ts';

/** The other end of `apart.ts`. */
answerApart(({ name, question }: { name: keyof typeof runs; question: never }) =>
  (runs[name] as (question: never) => Promise<unknown>)(question),
);
