import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import { Apart as Process } from '../../local/simulator/apart.ts';
import type { runs } from './runs.ts';

type Runs = typeof runs;

/**
 * Lets a function of `runs.ts` run in a Node process of its own. In the sandbox of the test runner each global is looked
 * up through it, which doubles what a simulation takes.
 */
export class Apart {
  readonly #process = new Process<{ name: keyof Runs; question: unknown }, unknown>(
    join(import.meta.dirname, 'apart-process.ts'),
  );

  constructor() {
    // Nothing here depends on the machine's speed, and what runs beside it may.
    setPriority(this.#process.pid, constants.priority.PRIORITY_LOW);
  }

  /** One at a time. @throws what the function threw, as text; an Error if the process ends first */
  async run<Name extends keyof Runs>(
    name: Name,
    question: Parameters<Runs[Name]>[0],
  ): Promise<Awaited<ReturnType<Runs[Name]>>> {
    return (await this.#process.ask({ name, question })) as Awaited<ReturnType<Runs[Name]>>;
  }

  end(): void {
    this.#process.end();
  }
}
