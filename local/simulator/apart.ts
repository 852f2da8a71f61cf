import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import type { RunOptions, RunReport } from './run.ts';

/** What of a run's options crosses to another process: all but functions. */
export type ApartOptions = Pick<RunOptions, 'seed' | 'knobs' | 'schedule' | 'keep' | 'keepTrace' | 'restHours'>;
export type ApartAnswer = { report: RunReport } | { error: string };

/** A Node process that simulates seeds, one after the other, on a core of its own. Ends with `end`, or with this process. */
export class ApartSimulator {
  // JSON knows no Infinity, which some faults last.
  readonly #child: ChildProcess = fork(join(import.meta.dirname, 'apart-process.ts'), { serialization: 'advanced' });

  /** One at a time. @throws Error with what the run threw, or if the process ends first */
  simulate({ seed, knobs, schedule, keep, keepTrace, restHours }: ApartOptions): Promise<RunReport> {
    return new Promise((resolve, reject) => {
      const died = (code: number | null) => reject(new Error(`the process that ran seed ${seed} ended with ${code}`));
      this.#child.once('exit', died);
      this.#child.once('message', (answer: ApartAnswer) => {
        this.#child.off('exit', died);
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.report);
      });
      this.#child.send({ seed, knobs, schedule, keep, keepTrace, restHours } satisfies ApartOptions);
    });
  }

  end(): void {
    this.#child.kill();
  }
}
