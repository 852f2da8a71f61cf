import type { Json, JsonObject } from '../journal/json.ts';
import { answerBytesMax } from '../limits.ts';
import type { Clock } from '../ports/clock.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { Coalescer } from './coalescer.ts';
import type { LineRequest } from './core.ts';
import { CostModel } from './cost-model.ts';
import {
  addUnits,
  countInputs,
  distinctInputs,
  embeddingSize,
  estimateInputs,
  type InputUnits,
  promptTokens,
  unpackEmbeddings,
} from './embeddings.ts';
import { bugEnd, type End } from './ends.ts';
import { type Lane, lastStart, startReserveMs } from './lane.ts';
import { type Packable, type PackLimits, pack } from './pack.ts';
import { packLimitsOf } from './route.ts';

/** One line on its way through packed calls. */
export interface Task extends Packable {
  line: LineRequest;
  inputs: Json[];
  units: InputUnits;
  weight: number;
  deadline: EpochMs;
  /** Its run is over, whatever becomes of it. */
  isOver(): boolean;
  /** How it ended, as far as calls can tell. */
  resolve(end: End): void;
}

/** Of an embedding nobody has seen yet: 1,536 numbers. */
const firstGuess = { bytes: 20_000, nodes: 1_536 } as const;
/** An answer may hold so many numbers, about (`openai.ts`), and must stay clear of both bounds. */
const answerNodesMax = 2_000_000;
const answerFill = 0.8;
/** A call that is this full gains little by waiting. */
const fullEnough = 0.95;

/**
 * Lines that may share calls, gathered from all runs of a process: packed into few calls, halved where one of them is at
 * fault.
 */
export class PackedCalls {
  readonly #lane: Lane;
  readonly #clock: Clock;
  readonly #coalescer: Coalescer<Task>;
  readonly #cost = new CostModel();
  #embedding: { bytes: number; nodes: number } = { ...firstGuess };

  /** @param lingerMs longest wait of a line for others to share its call */
  constructor(lane: Lane, clock: Clock, lingerMs: DurationMs) {
    this.#lane = lane;
    this.#clock = clock;
    const limits = () => this.#limits();
    this.#coalescer = new Coalescer({
      clock,
      lingerMs,
      cost: this.#cost,
      get itemsMax() {
        return limits().itemsMax;
      },
      get weightMax() {
        return limits().tokensMax;
      },
      mayStart: () => lane.limiter.room > 0,
      nextEndAt: () => (lane.limiter.room > 1 ? undefined : lane.limiter.nextEndAt),
      send: (tasks, why) => this.#send(tasks, why),
    });
    lane.whenEnded(() => this.#coalescer.look());
  }

  /** The end of one line. */
  run(line: LineRequest, inputs: Json[], deadline: EpochMs, isOver: () => boolean): Promise<End> {
    const units = countInputs(inputs);
    const size = estimateInputs(inputs, units, this.#lane.tokens);
    return new Promise((resolve) => {
      const startBy = deadline - startReserveMs;
      this.#coalescer.add({ line, inputs, units, ...size, weight: size.tokens, deadline: startBy, isOver, resolve });
    });
  }

  /** What a call may hold: the backend's limits, and no more answer than can be taken. */
  #limits(): PackLimits {
    const { itemsMax, tokensMax, itemTokensMax } = packLimitsOf(this.#lane.route.limits);
    const byAnswer = Math.min(answerBytesMax / this.#embedding.bytes, answerNodesMax / this.#embedding.nodes);
    return {
      itemsMax: Math.max(1, Math.min(itemsMax, Math.floor(answerFill * byAnswer))),
      tokensMax: tokensMax / this.#lane.tokens.caution,
      itemTokensMax,
    };
  }

  #send(tasks: Task[], why: 'full' | 'due' | 'flushed'): Task[] {
    const limits = this.#limits();
    const calls = pack(
      tasks.filter((task) => !task.isOver()),
      limits,
    );
    const kept = why === 'full' && calls.length > 1 ? emptiest(calls, limits) : undefined;
    for (const call of calls) if (call !== kept) void this.#run(call);
    return kept ?? [];
  }

  /** One packed call; what goes wrong with several lines is halved until the line that causes it stands alone. */
  async #run(tasks: readonly Task[]): Promise<void> {
    try {
      const ends = await this.#ends(tasks.filter((task) => !task.isOver()));
      if (ends !== undefined) for (const [task, end] of ends) task.resolve(end);
    } catch (error) {
      for (const task of tasks) task.resolve(bugEnd(error));
    }
  }

  /** `undefined` where halves were sent in its place. */
  async #ends(tasks: readonly Task[]): Promise<[Task, End][] | undefined> {
    if (tasks.length === 0) return [];
    const all = (end: End): [Task, End][] => tasks.map((task) => [task, end]);
    const { inputs, positions } = distinctInputs(tasks.map((task) => task.inputs));
    const body: JsonObject = tasks.length === 1 ? tasks[0]!.line.body : { ...tasks[0]!.line.body, input: inputs };
    const tokens = tasks.reduce((sum, task) => sum + task.tokens, 0);
    // The call goes on as long as one of its lines has time; the others are over by themselves.
    const deadline = Math.max(...tasks.map((task) => task.deadline)) + startReserveMs;
    const from = this.#clock.now();
    const asked = tasks.length === 1 ? positionsAsWritten(tasks[0]!) : positions;
    const items = tasks.reduce((sum, task) => sum + task.items, 0);
    const takes = { expectedMs: this.#cost.expect(items), atMostMs: this.#cost.atMost(items) };
    const startBy = lastStart(from, deadline, () => takes.atMostMs);
    const end =
      tasks.length === 1
        ? await this.#lane.endAlone(body, tokens, deadline, takes)
        : await this.#lane.end(body, tokens, deadline, { expectedMs: takes.expectedMs, startBy });
    if (end.kind === 'answered') {
      const parts = unpackEmbeddings(end.body, asked, tasks);
      if (parts !== undefined) {
        this.#cost.learn(items, this.#clock.now() - from);
        this.#learn(tasks, end.body, items === (tasks.length === 1 ? items : inputs.length));
        return tasks.map((task, i) => [task, { ...end, body: parts[i]! }]);
      }
    } else if (end.kind === 'retry') return all(end);
    const fault: End = end.kind === 'answered' ? { kind: 'unusable', reason: 'not one embedding for each input' } : end;
    if (tasks.length === 1) return all(fault);
    // Halving is for one line among many. Where everything fails, it would make twice as many calls as lines.
    if (!(await this.#lane.isBelieved(deadline)))
      return all({ kind: 'retry', cause: 'backend', reason: 'all calls fail alike', counts: false });
    const half = Math.ceil(tasks.length / 2);
    await Promise.all([this.#run(tasks.slice(0, half)), this.#run(tasks.slice(half))]);
    return undefined;
  }

  #learn(tasks: readonly Task[], answer: Json, isDistinct: boolean): void {
    const size = embeddingSize(answer);
    if (size !== undefined) this.#embedding = size;
    const used = promptTokens(answer);
    // What is billed once for several lines says nothing about each of them.
    if (used > 0 && isDistinct)
      this.#lane.tokens.learn(
        ...addUnits(
          tasks.map(({ units }) => units),
          used,
        ),
      );
  }
}

/** A line alone is asked as it was written, its duplicates too. */
function positionsAsWritten({ inputs }: Task): number[][] {
  return [inputs.map((_, i) => i)];
}

/** The call with the most room, if waiting may fill it. */
function emptiest(calls: readonly Task[][], { itemsMax, tokensMax }: PackLimits): Task[] | undefined {
  const fill = (call: readonly Task[]) =>
    Math.max(
      call.reduce((sum, { items }) => sum + items, 0) / itemsMax,
      call.reduce((sum, { tokens }) => sum + tokens, 0) / tokensMax,
    );
  const least = calls.reduce((a, b) => (fill(b) < fill(a) ? b : a));
  return fill(least) < fullEnough ? least : undefined;
}
