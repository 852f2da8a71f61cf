import type { Chunk, Dispatch } from '../../../shared/journal/facts.ts';
import type { SiteId } from '../../../shared/ports/site.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import { ChunkCutter } from '../../../shared/worker/cut.ts';
import type { Cloud, PlanLimits } from './limits.ts';
import type { Trace } from './trace.ts';

/** What one batch asks for, as whoever sends it knows it. */
export interface BatchSpec {
  name: string;
  /** When it is sent. */
  sentAt: EpochMs;
  /** Its first line, by its place in the trace; the others follow. */
  firstLine: number;
  lines: number;
  chunks: readonly Chunk[];
  inputBytes: number;
}

/** Bytes of a request beside its prompt: `custom_id`, method, address, model, settings. */
const envelopeBytes = 200;

/** Gathers arrivals into batches, as a batch system does, and cuts these into chunks, as the planner does. */
export function batchesOf(trace: Trace, { batch, settings }: PlanLimits): BatchSpec[] {
  const specs: BatchSpec[] = [];
  const rows = trace.at.length;
  for (let first = 0; first < rows; ) {
    const dueAt = trace.at[first]! + batch.every;
    let end = first;
    while (end < rows && end - first < batch.lines && trace.at[end]! <= dueAt) end++;
    const isFull = end - first === batch.lines;
    const cutter = new ChunkCutter(settings.chunks.text);
    let offset = 0;
    for (let line = first; line < end; line++) {
      const bytes = Math.round(trace.contextTokens[line]! * batch.bytesPerToken) + envelopeBytes;
      cutter.add({ index: line - first, offset, end: offset + bytes });
      offset += bytes;
    }
    const sentAt = isFull ? trace.at[end - 1]! : Math.min(dueAt, end === rows ? trace.at[end - 1]! : dueAt);
    const name = `batch_${String(specs.length).padStart(6, '0')}`;
    specs.push({ name, sentAt, firstLine: first, lines: end - first, chunks: cutter.finish(), inputBytes: offset });
    first = end;
  }
  return specs.sort((a, b) => a.sentAt - b.sentAt);
}

/** A batch on its way. */
export interface Batch {
  spec: BatchSpec;
  acceptedAt: EpochMs;
  home: Cloud;
  deadline: EpochMs;
  tasks: Task[];
  /** Waves, oldest first, as the journal holds them. */
  dispatches: { to: SiteId; epoch: number; reason: Dispatch['reason']; at: EpochMs }[];
  /** Chunks without a result. */
  left: number;
  isOver: boolean;
}

/** A chunk on its way: where its latest pointer was sent, and whether its result is there. */
export interface Task {
  batch: Batch;
  chunk: Chunk;
  to: Cloud;
  epoch: number;
  sentAt: EpochMs;
  reason: Dispatch['reason'];
  leaseEnds: EpochMs;
  /** Clouds whose store shows a result. */
  resultIn: Set<Cloud>;
}

/** Whether the result of a chunk is there, somewhere. */
export const isDone = ({ resultIn }: Task): boolean => resultIn.size > 0;

/** One run of a chunk by one worker. */
export interface Attempt {
  task: Task;
  epoch: number;
  deliveries: number;
  /** Next line of the chunk to call the model for. */
  next: number;
  /** Lines that have no answer yet. */
  open: number;
  startedAt: EpochMs;
}

/** Something that happens at a moment. */
export interface Due<T> {
  at: EpochMs;
  what: T;
}

/** Earliest first; of equal moments in no order. */
export class Agenda<T> {
  readonly #heap: Due<T>[] = [];

  get size(): number {
    return this.#heap.length;
  }

  get nextAt(): EpochMs | undefined {
    return this.#heap[0]?.at;
  }

  add(at: EpochMs, what: T): void {
    const heap = this.#heap;
    let i = heap.length;
    heap.push({ at, what });
    while (i > 0) {
      const above = (i - 1) >> 1;
      if (heap[above]!.at <= at) break;
      heap[i] = heap[above]!;
      i = above;
    }
    heap[i] = { at, what };
  }

  /** Takes the earliest if it is due. */
  take(now: EpochMs): Due<T> | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (first === undefined || first.at > now) return undefined;
    const last = heap.pop()!;
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let below = 2 * i + 1;
        if (below >= heap.length) break;
        if (below + 1 < heap.length && heap[below + 1]!.at < heap[below]!.at) below += 1;
        if (heap[below]!.at >= last.at) break;
        heap[i] = heap[below]!;
        i = below;
      }
      heap[i] = last;
    }
    return first;
  }

  /** Takes all, due or not. */
  drain(): Due<T>[] {
    return this.#heap.splice(0);
  }
}

/** How long a message waits until it is handed out again when its worker died. */
export const leaseOf = ({ settings }: PlanLimits): DurationMs => settings.leaseMs;
