import { type ChildProcess, fork } from 'node:child_process';

type Told<A> = { answer: A } | { error: string };

/** A Node process that answers questions by `answerApart`, on a core of its own. Ends with `end`, or with this process. */
export class Apart<Q, A> {
  readonly #child: ChildProcess;

  /** @param module file that calls `answerApart` */
  constructor(module: string) {
    // JSON knows no Infinity, which some faults last.
    this.#child = fork(module, { serialization: 'advanced' });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** One at a time, and plain data. @throws Error with what was thrown there, or if the process ends first */
  ask(question: Q): Promise<A> {
    return new Promise((resolve, reject) => {
      const died = (code: number | null) => reject(new Error(`the simulation's process ended with ${code}`));
      this.#child.once('exit', died);
      this.#child.once('message', (told: Told<A>) => {
        this.#child.off('exit', died);
        if ('error' in told) reject(new Error(told.error));
        else resolve(told.answer);
      });
      this.#child.send(question as object);
    });
  }

  end(): void {
    this.#child.kill();
  }
}

/** The other end of `Apart`. */
export function answerApart<Q, A>(answer: (question: Q) => Promise<A>): void {
  process.on('message', async (question: Q) => {
    let told: Told<A>;
    try {
      told = { answer: await answer(question) };
    } catch (error) {
      told = { error: String((error as Error).stack ?? error) };
    }
    process.send!(told);
  });
  // Ctrl-C reaches all processes of a terminal: whoever started this one decides, and waits for what is under way.
  process.on('SIGINT', () => {});
  process.on('disconnect', () => process.exit());
}
