import type { Core } from '../core.ts';
import { type BatchView, readDispatches } from '../journal/batch.ts';
import { resultReader } from '../journal/choose.ts';
import type { ControlEntry, Dispatch, Plan, Publication } from '../journal/facts.ts';
import type { ResultObject } from '../journal/results.ts';
import type { SiteId } from '../ports/site.ts';
import { historyOf } from './history.ts';
import { neverDispatched, type OutstandingRange, outstandingRanges } from './outstanding.ts';
import { isDead, placeOf, servingOf } from './owner.ts';
import { allAnswered, answeredLines, endReason, type LineMap, type PartialCache } from './progress.ts';

/**
 * What an open batch needs from the site that looks at it, judged from the facts:
 * - `close`: decided here, or by a site that is fenced now; make it readable everywhere and call back
 * - `forget`: decided by another active `site`, which closes it; a hint that stays behind here is stale
 * - `plan`: accepted, and not planned or not sent yet; a plan pointer should be waiting
 * - `publish`: nothing is left to run
 * - `work`: some lines are open; `ranges` should be in queues, `uncovered` in none; `isMoved`: here by a move only
 * - `nothing`: it is another site's (`owner`, where it is open), or no active site may serve its model
 */
export type BatchNeed =
  | { need: 'close'; publication: Publication }
  | { need: 'forget'; site: SiteId }
  | { need: 'plan' }
  | { need: 'publish' }
  | WorkNeed
  | { need: 'nothing'; owner?: SiteId };

export interface WorkNeed {
  need: 'work';
  plan: Plan;
  answered: LineMap;
  ranges: OutstandingRange[];
  isUncovered: boolean;
  isMoved: boolean;
  dispatches: Dispatch[];
}

/** What a sweeping process remembers of facts it has read; only a saving. */
export interface FactMemory {
  partial: PartialCache;
  /** Result objects that hold retries or starts, by key. */
  tried: Map<string, ResultObject | undefined>;
}

/** Judges one open batch. Reads dispatch records and partial results; writes nothing. */
export async function assessBatch(
  core: Core,
  view: BatchView,
  control: ControlEntry,
  memory: FactMemory,
): Promise<BatchNeed> {
  if (view.publication !== undefined) {
    const { site } = view.publication;
    const isOurs = site === core.self || (control.sites[site]?.state ?? 'fenced') === 'fenced';
    return isOurs ? { need: 'close', publication: view.publication } : { need: 'forget', site };
  }
  const dispatches = await readDispatches(core, view);
  const { owner, isMoved, isWaiting } = placeOf(view, dispatches, control, servingOf(core, view));
  if (owner !== core.self) return { need: 'nothing', owner };
  const { plan } = view;
  const now = core.clock.now();
  if (plan === undefined || plan.errors.length > 0)
    return { need: plan !== undefined || endReason(view, false, now) !== undefined ? 'publish' : 'plan' };
  const answered = await answeredLines(core, view.results, plan.lines, memory.partial);
  if (endReason(view, allAnswered(answered), now) !== undefined) return { need: 'publish' };
  // Nobody's backlog: whoever ends it in the end is not slow because it waits.
  if (isWaiting) return { need: 'nothing' };
  if (dispatches.length === 0) return { need: 'plan' };
  const isParked = await parkedLines(core, view, memory);
  const ranges = outstandingRanges(dispatches, answered, isParked, (one) => isDead(one, control));
  const isUncovered = neverDispatched(plan.lines, dispatches);
  return { need: 'work', plan, answered, ranges, isUncovered, isMoved, dispatches };
}

/** Lines that have spent their attempts in both clouds together; they wait for a person or the deadline. */
async function parkedLines(core: Core, view: BatchView, memory: FactMemory): Promise<(line: number) => boolean> {
  const read = resultReader(core);
  const objects: ResultObject[] = [];
  for (const { key, answered, lines } of view.results) {
    if (answered === lines) continue;
    if (!memory.tried.has(key)) memory.tried.set(key, await read(key));
    const object = memory.tried.get(key);
    if (object !== undefined) objects.push({ header: object.header, rows: object.rows.map(withoutBody) });
  }
  const { attempts } = historyOf(objects, 0, view.plan!.lines);
  return (line) => (attempts.get(line) ?? 0) >= core.settings.attemptsMax;
}

const withoutBody = <R extends { outcome: string }>(row: R): R =>
  row.outcome === 'answered' ? { ...row, body: null } : row;
