import { InvariantError, SiteUnavailableError, TransientError } from '../errors.ts';
import type { BatchView, PlacedResult } from './batch.ts';
import type { FactFault, ResultHeader, TerminalRow } from './facts.ts';
import { compareText, compareWrites } from './keys.ts';
import { type JournalCore, takeAnywhere } from './replicas.ts';
import { parseResult, type ResultObject } from './results.ts';

/** Gives a result object by its key; `undefined` for one that is nowhere, or is no fact we can take. */
export type ReadResult = (key: string) => Promise<ResultObject | undefined>;

/** The result that counts for one line: where it lies, without its body. */
export interface ChosenLine {
  /** 0-based in the input file. */
  line: number;
  customId: string;
  outcome: TerminalRow['outcome'];
  /** Key of the result object. */
  from: string;
}

export interface Choice {
  /** Ascending by line; a line without a terminal result is not in it. */
  chosen: ChosenLine[];
  /** Lines that have more than one terminal result. */
  repeats: number;
  /** Objects that claim answers and were not taken, each with the reason; `torn` where it could not be read. */
  refused: { key: string; fault: FactFault }[];
}

export interface ChooseOptions {
  /** `custom_id` of each line, by line. Where given, an object that answers under another id is refused. */
  accepted?: readonly string[];
  /** Objects read, and so held, at once; default 4. */
  parallel?: number;
}

/**
 * Chooses one terminal result for each line: the first covering one in the order (epoch, site, uuid). A pure function
 * of the set of result objects: in whatever order and how often they are listed, the choice is the same. Bodies are not
 * kept: `chosenRows` reads them again, in line order.
 *
 * An object that answers a line which the batch does not have, or under another `custom_id`, is refused whole: it is
 * foreign or tampered with, and its other rows deserve no more trust.
 * @throws whatever `read` throws: a store that does not answer must not change the choice
 */
export async function chooseResults(
  view: Pick<BatchView, 'results'> & { plan: { lines: number } | undefined },
  read: ReadResult,
  options: ChooseOptions = {},
): Promise<Choice> {
  const candidates = inOrder(view.results).filter((result) => result.answered > 0);
  const lines = view.plan?.lines ?? Number.POSITIVE_INFINITY;
  const best = new Map<number, { rank: number; chosen: ChosenLine }>();
  const repeated = new Set<number>();
  const refused: Choice['refused'] = [];
  let next = 0;
  const reader = async () => {
    while (next < candidates.length) {
      const rank = next++;
      const key = candidates[rank]!.key;
      const object = await read(key);
      const fault: FactFault | undefined =
        object === undefined ? { fault: 'torn', detail: 'unreadable' } : foreign(object, lines, options.accepted);
      if (fault !== undefined) refused.push({ key, fault });
      else for (const row of object!.rows) if (row.outcome !== 'retry') offer(rank, key, row);
    }
  };
  const offer = (rank: number, key: string, row: TerminalRow) => {
    const seen = best.get(row.line);
    if (seen !== undefined) repeated.add(row.line);
    if (seen !== undefined && seen.rank < rank) return;
    const chosen = { line: row.line, customId: row.customId, outcome: row.outcome, from: key };
    best.set(row.line, { rank, chosen });
  };
  await Promise.all(Array.from({ length: options.parallel ?? 4 }, reader));
  return {
    chosen: [...best.values()].map(({ chosen }) => chosen).sort((a, b) => a.line - b.line),
    repeats: repeated.size,
    refused: refused.sort((a, b) => compareText(a.key, b.key)),
  };
}

/** A row that was chosen, and the attempt that wrote it. */
export interface WrittenRow {
  row: TerminalRow;
  by: Pick<ResultHeader, 'site' | 'epoch' | 'attempt'>;
}

/**
 * The rows that were chosen, bodies included, in line order. Few result objects are held at once (`held`, default 4,
 * the ones read ahead included), since one holds the bodies of a whole chunk.
 * @throws SiteUnavailableError `result_unreadable` if an object that was chosen from cannot be read any more
 */
export async function* chosenRows(
  chosen: readonly ChosenLine[],
  read: ReadResult,
  held = 4,
): AsyncGenerator<WrittenRow> {
  const runs = chosen.map(({ from }) => from).filter((key, i) => i === 0 || key !== chosen[i - 1]!.from);
  const cache = new Map<string, Promise<Map<number, WrittenRow>>>();
  const load = async (key: string) => {
    const object = await read(key);
    if (object === undefined) throw new SiteUnavailableError('result_unreadable', `cannot read ${key}`, key);
    const { site, epoch, attempt } = object.header;
    const by = { site, epoch, attempt };
    return new Map(object.rows.flatMap((row) => (row.outcome === 'retry' ? [] : [[row.line, { row, by }] as const])));
  };
  const touch = (key: string) => {
    const loading = cache.get(key) ?? load(key);
    // An error is met where the object is awaited; one that was only read ahead must not end the process.
    loading.catch(() => {});
    cache.delete(key);
    cache.set(key, loading);
    if (cache.size > held) cache.delete(cache.keys().next().value!);
    return loading;
  };
  let run = -1;
  let rows = new Map<number, WrittenRow>();
  for (const [i, { line, from }] of chosen.entries()) {
    if (i === 0 || from !== chosen[i - 1]!.from) {
      run += 1;
      const loading = touch(from);
      for (const ahead of runs.slice(run + 1, run + held)) touch(ahead);
      rows = await loading;
    }
    const row = rows.get(line);
    if (row === undefined) throw new InvariantError('fact_changed', `${from} no longer answers line ${line}`);
    yield row;
  }
}

/** Lines `0 … lines - 1` without a terminal row, as `[firstLine, lines]`, ascending. */
export function unfinishedRanges(lines: number, results: Iterable<ResultObject>): [number, number][] {
  const finished = new Set<number>();
  for (const { rows } of results) for (const row of rows) if (row.outcome !== 'retry') finished.add(row.line);
  return rangesWithout(lines, (line) => finished.has(line));
}

/** Lines `0 … lines - 1` for which `has` is false, as `[firstLine, lines]`, ascending. */
export function rangesWithout(lines: number, has: (line: number) => boolean): [number, number][] {
  const ranges: [number, number][] = [];
  for (let line = 0; line < lines; line++) {
    if (has(line)) continue;
    const last = ranges.at(-1);
    if (last !== undefined && last[0] + last[1] === line) last[1] += 1;
    else ranges.push([line, 1]);
  }
  return ranges;
}

/** What was spent on a line, in both clouds together. */
export interface LineAttempts {
  /** `retry` rows that count, and crashes. */
  attempts: number;
  /** Starts whose attempt left no result. */
  crashes: number;
}

/**
 * Counted attempts of every line that has any. A start whose attempt left no result counts for each of its lines.
 * @param running attempt that is under way: its own start is no crash
 */
export function attemptsOf(results: Iterable<ResultObject>, running?: string): Map<number, LineAttempts> {
  const objects = new Map<string, ResultObject>();
  for (const object of results) {
    const { epoch, site, uuid, firstLine, lines, start } = object.header;
    objects.set(`${epoch}-${site}-${uuid}-${firstLine}-${lines}-${start}`, object);
  }
  const answered = new Set<string>();
  for (const { header } of objects.values()) if (!header.start) answered.add(header.attempt);
  const spent = new Map<number, LineAttempts>();
  const add = (line: number, crashes: 0 | 1) => {
    const before = spent.get(line) ?? { attempts: 0, crashes: 0 };
    spent.set(line, { attempts: before.attempts + 1, crashes: before.crashes + crashes });
  };
  for (const { header, rows } of objects.values()) {
    if (header.start && header.attempt !== running && !answered.has(header.attempt))
      for (let i = 0; i < header.lines; i++) add(header.firstLine + i, 1);
    for (const row of rows) if (row.outcome === 'retry' && row.counts) add(row.line, 0);
  }
  return spent;
}

/**
 * The completeness gate before a publication is proposed: the ids that will be published are the ids that were
 * accepted, as sets, and none comes twice.
 * @throws InvariantError `publication_incomplete`, naming examples
 */
export function assertComplete(accepted: Iterable<string>, published: Iterable<{ customId: string }>): void {
  const missing = new Set(accepted);
  const seen = new Set<string>();
  const foreignIds: string[] = [];
  const twice: string[] = [];
  for (const { customId } of published) {
    if (seen.has(customId)) twice.push(customId);
    else if (!missing.delete(customId)) foreignIds.push(customId);
    seen.add(customId);
  }
  const faults = [
    ['missing', [...missing]],
    ['never accepted', foreignIds],
    ['more than once', twice],
  ] as const;
  const told = faults
    .filter(([, ids]) => ids.length > 0)
    .map(([what, ids]) => `${ids.length} ${what} (${ids.slice(0, 3).map((id) => JSON.stringify(id.slice(0, 80)))})`);
  if (told.length > 0) throw new InvariantError('publication_incomplete', told.join('; '));
}

/**
 * A `ReadResult` over the journals. What cannot be taken is quarantined with a report and given as `undefined`.
 * It throws TransientError `fact_unknown` at a version that this process does not know: to choose without it would be
 * to drop it, so the batch is left to a process that knows it (I15).
 */
export function resultReader(core: JournalCore): ReadResult {
  return async (key) => {
    const taken = await takeAnywhere(core, key, (bytes) => parseResult(key, bytes));
    if (taken === undefined || !('fault' in taken)) return taken;
    if (taken.fault === 'unknown') throw new TransientError('fact_unknown', `${key}: ${taken.detail}`);
    return undefined;
  };
}

function inOrder(results: readonly PlacedResult[]): PlacedResult[] {
  const unique = new Map(results.map((result) => [result.key, result]));
  return [...unique.values()].sort((a, b) => compareWrites(a, b) || compareText(a.key, b.key));
}

function foreign(object: ResultObject, lines: number, accepted: readonly string[] | undefined): FactFault | undefined {
  for (const row of object.rows) {
    if (row.line >= lines) return { fault: 'invalid', detail: `line ${row.line} of a batch of ${lines}` };
    if (accepted !== undefined && accepted[row.line] !== row.customId)
      return { fault: 'invalid', detail: `line ${row.line} is answered under another custom_id` };
  }
  return undefined;
}
