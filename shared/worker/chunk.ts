import type { LineRequest } from '../batching/core.ts';
import type { Core } from '../core.ts';
import { PermanentJobError, SiteUnavailableError } from '../errors.ts';
import { type ChunkPointer, factVersion, type ResultRow } from '../journal/facts.ts';
import { fileContentKey, resultKey } from '../journal/keys.ts';
import { getAnywhere, payloadSites, putEverywhere } from '../journal/replicas.ts';
import { resultBytes, splitRows } from '../journal/results.ts';
import type { Settlement } from '../ports/delivery.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { type WatchedBatch, watchBatch } from './batch-cache.ts';
import { tellIntake } from './dispatch.ts';
import { type RangeHistory, readHistory } from './history.ts';
import { LineSplitter, parseRequestLine } from './input.ts';
import { moveFrom, writableSites } from './owner.ts';
import { isStale } from './pointers.ts';
import { isFinished } from './progress.ts';

/** Batches of so few chunks are looked at after each chunk; of larger ones after about so many of all. */
const looksPerBatch = 20;
const noHistory: RangeHistory = { answered: new Set(), attempts: new Map(), crashes: 0 };

/**
 * Works one chunk and says how its message ends. Everything durable happens before the message is settled: a crash at
 * any point costs a repeat, never a line.
 * @throws SiteUnavailableError, TransientError when nothing could be read or written: give the message back
 */
export async function workChunk(
  core: Core,
  pointer: ChunkPointer,
  deliveryCount: number,
  deadline: EpochMs,
): Promise<Settlement> {
  try {
    return await workOnce(core, pointer, deliveryCount, deadline);
  } catch (error) {
    // Whoever throws has not crashed.
    noteEnding(core, pointer, deliveryCount);
    throw error;
  }
}

async function workOnce(
  core: Core,
  pointer: ChunkPointer,
  deliveryCount: number,
  deadline: EpochMs,
): Promise<Settlement> {
  const control = await core.control.current();
  if (isStale(pointer, control, core.self)) return complete(core, pointer, 'stale');
  const batch = await watchBatch(core, pointer.tenant, pointer.batch);
  if (batch === undefined || batch.isOver) return complete(core, pointer, batch === undefined ? 'unknown' : 'over');
  const { tenant, firstLine, lines } = pointer;
  // Its model or batch works elsewhere for now, and whoever works it there sends for it.
  const move = moveFrom(control, core.self, { ...pointer, boundTo: batch.manifest.boundTo });
  if (move !== undefined && pointer.epoch < move.since) return complete(core, pointer, 'moved');
  // Since the control entry that it was sent under, the same lines may have been given to somebody else.
  const mayRepeat = pointer.repeat || deliveryCount > 1 || pointer.epoch !== control.epoch;
  const history = mayRepeat ? await readHistory(core, tenant, pointer.batch, firstLine, lines) : noHistory;
  const open = lineNumbers(pointer).filter((line) => !history.answered.has(line));
  const todo = open.filter((line) => (history.attempts.get(line) ?? 0) < core.settings.attemptsMax);
  if (todo.length === 0) {
    await lookForEnd(core, pointer, batch);
    return complete(core, pointer, open.length === 0 ? 'answered' : 'parked');
  }
  if (history.crashes >= core.settings.crashesBeforeSplit && lines > 1) {
    await tellIntake(core, [{ v: factVersion, kind: 'split', ...range(pointer), epoch: control.epoch }]);
    return complete(core, pointer, 'split');
  }
  const attempt = { uuid: core.ids.uuid(), epoch: control.epoch, boundTo: batch.manifest.boundTo };
  // Before the start is noted: one that never came to its lines would count as a crash, and five of them park a line.
  const bytes = await readRange(core, pointer);
  const mayHaveCrashed = deliveryCount > 1 && !endedHere(core, pointer, deliveryCount - 1);
  if (mayHaveCrashed) await writeResult(core, pointer, attempt, [], true);
  const requests = linesIn(bytes, pointer, new Set(todo));
  const job = { endpoint: pointer.endpoint, model: pointer.model, lines: requests, deadline };
  const rows = await core.batching.run(job);
  const left = rows.filter((row) => row.outcome === 'retry');
  if (mayHaveCrashed || left.length < rows.length || left.some((row) => row.counts))
    await writeResult(core, pointer, attempt, rows, false);
  if (left.length > 0) return giveBack(core, pointer, deliveryCount, left);
  await lookForEnd(core, pointer, batch);
  return complete(core, pointer, 'worked');
}

/** Doubling from one second to five minutes with full jitter: a chunk must not spin while its backend is down. */
export function backoffMs(deliveryCount: number, random: () => number): DurationMs {
  const ceiling = Math.min(1000 * 2 ** Math.min(deliveryCount, 20), 300_000);
  return Math.round(ceiling / 2 + (random() * ceiling) / 2);
}

const endings = new WeakMap<Core, Map<string, number>>();
const endingsMax = 10_000;
const rangeName = (pointer: ChunkPointer) => `${pointer.batch}/${pointer.firstLine}+${pointer.lines}`;

/**
 * True if this very process ended the delivery before this one: then nothing crashed in between, and no start has to
 * be written. In a long outage that saves two facts a delivery.
 */
function endedHere(core: Core, pointer: ChunkPointer, deliveryCount: number): boolean {
  return endings.get(core)?.get(rangeName(pointer)) === deliveryCount;
}

function noteEnding(core: Core, pointer: ChunkPointer, deliveryCount: number): void {
  const known = endings.get(core) ?? new Map<string, number>();
  endings.set(core, known);
  known.delete(rangeName(pointer));
  known.set(rangeName(pointer), deliveryCount);
  if (known.size > endingsMax) known.delete(known.keys().next().value!);
}

function giveBack(core: Core, pointer: ChunkPointer, deliveryCount: number, left: ResultRow[]): Settlement {
  noteEnding(core, pointer, deliveryCount);
  const causes = [...new Set(left.map((row) => (row.outcome === 'retry' ? row.cause : '')))].join(',');
  const onlyTime = causes === 'deadline';
  const delayMs = onlyTime ? 0 : backoffMs(deliveryCount, core.random);
  core.log.info('chunk.givenBack', {
    batch: pointer.batch,
    line: pointer.firstLine,
    left: left.length,
    causes,
    delayMs,
  });
  return { kind: 'giveBack', delayMs };
}

function complete(core: Core, pointer: ChunkPointer, why: string): Settlement {
  core.log.debug('chunk.settled', { batch: pointer.batch, firstLine: pointer.firstLine, lines: pointer.lines, why });
  return { kind: 'complete' };
}

const range = ({ tenant, batch, firstLine, lines }: ChunkPointer) => ({ tenant, batch, firstLine, lines });

function lineNumbers({ firstLine, lines }: ChunkPointer): number[] {
  return Array.from({ length: lines }, (_, i) => firstLine + i);
}

/** @throws SiteUnavailableError `input_missing`, or the last store's error */
async function readRange(core: Core, { tenant, input, offset, length }: ChunkPointer): Promise<Uint8Array> {
  const key = fileContentKey(tenant, input);
  const found = await getAnywhere(core, key, { range: { offset, length } });
  if (found === undefined) throw new SiteUnavailableError('input_missing', `${key} is in no store`, key);
  return found.bytes;
}

/**
 * Parses the lines in `wanted`. The plan validated them, so a line that does not parse means that pointer and file do not
 * belong together: nothing of it is worked.
 */
function linesIn(bytes: Uint8Array, pointer: ChunkPointer, wanted: ReadonlySet<number>): LineRequest[] {
  const key = fileContentKey(pointer.tenant, pointer.input);
  const requests: LineRequest[] = [];
  let lines = 0;
  const splitter = new LineSplitter(
    (line) => {
      lines += 1;
      if (!wanted.has(line.index)) return;
      const request = parseRequestLine(line.bytes, pointer.endpoint);
      if ('code' in request)
        throw new PermanentJobError('input_mismatch', `line ${line.index + 1} of ${key}: ${request.message}`);
      requests.push({ line: line.index, customId: request.customId, body: request.body, bytes: line.bytes!.length });
    },
    0,
    pointer.firstLine,
  );
  splitter.push(bytes);
  splitter.finish();
  if (lines !== pointer.lines)
    throw new PermanentJobError('input_mismatch', `${lines} lines in a range of ${pointer.lines} of ${key}`);
  return requests;
}

/** Durable in at least one store that may hold it, tried in all; @throws the first error if none took it. */
async function writeResult(
  core: Core,
  pointer: ChunkPointer,
  attempt: { uuid: string; epoch: number; boundTo: string | null },
  rows: readonly ResultRow[],
  start: boolean,
): Promise<void> {
  const sites = writableSites(await core.control.current(), payloadSites(core, attempt.boundTo));
  for (const part of splitRows(rows)) {
    const { name, bytes } = resultBytes(
      {
        batch: pointer.batch,
        epoch: attempt.epoch,
        site: core.self,
        uuid: core.ids.uuid(),
        firstLine: pointer.firstLine,
        lines: pointer.lines,
        at: core.clock.now(),
        attempt: attempt.uuid,
        start,
      },
      part,
    );
    const key = resultKey(pointer.tenant, pointer.batch, name);
    const { written, failed } = await putEverywhere(core, key, bytes, sites);
    if (written.length === 0)
      throw failed[0]?.error ?? new SiteUnavailableError('no_store', 'no store may hold it', key);
    for (const { site } of failed) core.log.warn('mirror.failed', { key, site });
  }
}

/**
 * When every line seems to be answered, tells the intake queue to publish. A look costs a LIST, so a large batch is
 * looked at only now and then, and at its last chunk; what is missed here the sweeper sees within a tick.
 */
async function lookForEnd(core: Core, pointer: ChunkPointer, batch: WatchedBatch): Promise<void> {
  const chunks = batch.plan?.chunks.length ?? 0;
  const last = batch.plan?.chunks.at(-1)?.firstLine;
  if (chunks > looksPerBatch && pointer.firstLine !== last && core.random() > looksPerBatch / chunks) return;
  try {
    if (!(await isFinished(core, pointer.tenant, pointer.batch))) return;
    const { epoch } = await core.control.current();
    const { tenant } = pointer;
    await tellIntake(core, [{ v: factVersion, kind: 'publish', tenant, batch: pointer.batch, epoch }]);
  } catch (error) {
    core.log.warn('publish.untold', { batch: pointer.batch, error: String((error as Error)?.message).slice(0, 200) });
  }
}
