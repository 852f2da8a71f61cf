import { type ChildProcess, fork } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { join } from 'node:path';
import type { runs } from './runs.ts';

type Runs = typeof runs;
type Answer = { answer: unknown } | { error: string };

/**
 * Lets a function of `runs.ts` run in a Node process of its own. In the sandbox of the test runner each global is looked
 * up through it, which doubles what a simulation takes.
 */
export class Apart {
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'apart-process.ts'));

  constructor() {
    // Nothing here depends on the machine's speed, and what runs beside it may.
    setPriority(this.#child.pid!, constants.priority.PRIORITY_LOW);
  }

  /** One at a time. @throws what the function threw, as text; an Error if the process ends first */
  run<Name extends keyof Runs>(
    name: Name,
    question: Parameters<Runs[Name]>[0],
  ): Promise<Awaited<ReturnType<Runs[Name]>>> {
    return new Promise((resolve, reject) => {
      const died = (code: number | null) => reject(new Error(`the simulation's process ended with ${code}`));
      this.#child.once('exit', died);
      this.#child.once('message', (message: Answer) => {
        this.#child.off('exit', died);
        if ('error' in message) reject(new Error(message.error));
        else resolve(message.answer as Awaited<ReturnType<Runs[Name]>>);
      });
      this.#child.send({ name, question });
    });
  }

  end(): void {
    this.#child.kill();
  }
}
