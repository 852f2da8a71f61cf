import type { Core } from '../core.ts';
import { type BatchView, type PlacedResult, viewBatch } from '../journal/batch.ts';
import { resultReader } from '../journal/choose.ts';

/** One byte a line: 1 where a terminal result is claimed. */
export type LineMap = Uint8Array;

/** Lines of a partial result, by key; facts do not change, so what was read once holds for ever. */
export type PartialCache = Map<string, readonly number[]>;

/**
 * Which lines have a terminal result, from the names of the result objects alone where they tell; only partial results
 * are read. A name is a claim: the publisher reads every object before it believes.
 */
export async function answeredLines(
  core: Core,
  results: readonly PlacedResult[],
  lines: number,
  cache: PartialCache = new Map(),
): Promise<LineMap> {
  const map = new Uint8Array(lines);
  const read = resultReader(core);
  for (const result of results) {
    if (result.answered === 0 || result.firstLine + result.lines > lines) continue;
    if (result.answered === result.lines) {
      map.fill(1, result.firstLine, result.firstLine + result.lines);
      continue;
    }
    let partial = cache.get(result.key);
    if (partial === undefined) {
      const object = await read(result.key);
      partial = object?.rows.flatMap((row) => (row.outcome === 'retry' ? [] : [row.line])) ?? [];
      cache.set(result.key, partial);
    }
    for (const line of partial) map[line] = 1;
  }
  return map;
}

/** True if a planned batch is not published and every line of it claims a terminal result. */
export async function isFinished(core: Core, tenant: string, batch: string): Promise<boolean> {
  const view = await viewBatch(core, tenant, batch);
  if (view?.plan === undefined || view.publication !== undefined) return false;
  return allAnswered(await answeredLines(core, view.results, view.plan.lines));
}

/** True if no line is left. */
export function allAnswered(map: LineMap): boolean {
  return !map.includes(0);
}

/** What makes a batch ready to end, before anything is read: why it may be published now, or that it may not. */
export type EndReason = 'refused' | 'answered' | 'cancelled' | 'expired';

/** Why a batch may end at `now`, the reason that wins first; `undefined` while it must go on. */
export function endReason(
  view: Pick<BatchView, 'plan' | 'cancelKeys' | 'acceptance' | 'manifest'>,
  isAnswered: boolean,
  now: number,
): EndReason | undefined {
  if (view.plan !== undefined && view.plan.errors.length > 0) return 'refused';
  if (view.plan !== undefined && isAnswered) return 'answered';
  if (view.cancelKeys.length > 0) return 'cancelled';
  if (now >= view.acceptance.at + view.manifest.windowMs) return 'expired';
  return undefined;
}
