import { type End, type Input, Process, type ProcessSpec, type RegisterCode, type Request } from './process.ts';

/**
 * What one process was told so far, and what it did about it. A process knows nothing but its history, so two schedules
 * that tell it the same leave it in the same state: its real code has to run once for each history, and not once for
 * each of the many schedules that lead there.
 */
export interface History {
  id: number;
  parent: History | undefined;
  input: Input | undefined;
  /** Everything it sent; grows along a history. */
  requests: readonly Request[];
  /** Indexes of what it waits for. */
  open: readonly number[];
  isAsleep: boolean;
  end: End | undefined;
}

/** Histories of the processes of one search. */
export class Histories {
  readonly #specs: readonly ProcessSpec[];
  readonly #code: RegisterCode;
  readonly #next = new Map<string, History>();
  /** Running processes that have heard just this, to be told more. */
  readonly #running = new Map<History, Process>();
  #count = 0;
  /** How often real code was told something. */
  steps = 0;

  constructor(specs: readonly ProcessSpec[], code: RegisterCode) {
    this.#specs = specs;
    this.#code = code;
  }

  /** Histories met so far. */
  get count(): number {
    return this.#count;
  }

  /** A process that has only been started. */
  async start(index: number): Promise<History> {
    const known = this.#next.get(`start ${index}`);
    if (known !== undefined) return known;
    const process = await this.#run(index);
    return this.#note(`start ${index}`, process, undefined, undefined);
  }

  /** The history after `input`. */
  after(index: number, history: History, input: Input): History | Promise<History> {
    const name = `${history.id} ${inputName(input)}`;
    return this.#next.get(name) ?? this.#met(name, index, history, input);
  }

  async #met(name: string, index: number, history: History, input: Input): Promise<History> {
    const process = this.#running.get(history) ?? (await this.#replay(index, history));
    this.#running.delete(history);
    this.steps += 1;
    await process.feed(input);
    return this.#note(name, process, history, input);
  }

  async #run(index: number): Promise<Process> {
    const process = new Process(this.#specs[index]!, index, this.#code);
    await process.settled();
    return process;
  }

  async #replay(index: number, history: History): Promise<Process> {
    const inputs: Input[] = [];
    for (let at = history; at.input !== undefined; at = at.parent!) inputs.unshift(at.input);
    const process = await this.#run(index);
    this.steps += inputs.length;
    for (const input of inputs) await process.feed(input);
    return process;
  }

  #note(name: string, process: Process, parent: History | undefined, input: Input | undefined): History {
    const history: History = {
      id: this.#count++,
      parent,
      input,
      requests: [...process.requests],
      open: process.open,
      isAsleep: process.isAsleep,
      end: process.end,
    };
    this.#next.set(name, history);
    this.#running.set(history, process);
    // A search goes deep first: what is asked for next is mostly what was just met.
    if (this.#running.size > runningMax) this.#running.delete(this.#running.keys().next().value!);
    return history;
  }
}

const runningMax = 1_000;

function inputName(input: Input): string {
  if (input.kind === 'wake') return 'wake';
  if (input.kind !== 'reply') return `${input.kind} ${input.call}`;
  return `${input.call} ${input.isApplied} ${input.content ?? '-'}`;
}
