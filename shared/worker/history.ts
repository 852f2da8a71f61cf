import type { Core } from '../core.ts';
import { attemptsOf, resultReader } from '../journal/choose.ts';
import { parseResultKey, resultsPrefix } from '../journal/keys.ts';
import { listEverywhere } from '../journal/replicas.ts';
import type { ResultObject } from '../journal/results.ts';

/** What is known of some lines before they are worked again. */
export interface RangeHistory {
  /** Lines with a terminal result in any store that answered. */
  answered: Set<number>;
  /** Attempts spent on a line, in both clouds: failures that count, and crashes in which it ran alone. */
  attempts: Map<number, number>;
  /** Starts over exactly these lines that left no result. */
  crashes: number;
}

/** Reads what the journals hold on lines `firstLine … firstLine + lines - 1`. One LIST a store, and the objects found. */
export async function readHistory(
  core: Core,
  tenant: string,
  batch: string,
  firstLine: number,
  lines: number,
): Promise<RangeHistory> {
  const { keys } = await listEverywhere(core, resultsPrefix(tenant, batch));
  const overlapping = keys.filter(({ key }) => {
    const name = parseResultKey(key);
    return name !== undefined && name.firstLine < firstLine + lines && firstLine < name.firstLine + name.lines;
  });
  const read = resultReader(core);
  const objects = (await Promise.all(overlapping.map(({ key }) => read(key)))).filter((one) => one !== undefined);
  return historyOf(objects, firstLine, lines);
}

/**
 * The pure part of `readHistory`. A crash counts against a line only when the line ran alone: what shares a chunk with
 * a line that kills processes must not be parked with it.
 */
export function historyOf(objects: readonly ResultObject[], firstLine: number, lines: number): RangeHistory {
  const answered = new Set<number>();
  for (const { rows } of objects) for (const row of rows) if (row.outcome !== 'retry') answered.add(row.line);
  const finished = new Set(objects.flatMap(({ header }) => (header.start ? [] : [header.attempt])));
  const crashes = objects.filter(
    ({ header }) =>
      header.start && header.firstLine === firstLine && header.lines === lines && !finished.has(header.attempt),
  ).length;
  const alone = objects.filter(({ header }) => !header.start || header.lines === 1);
  const attempts = new Map([...attemptsOf(alone)].map(([line, spent]) => [line, spent.attempts]));
  return { answered, attempts, crashes };
}
