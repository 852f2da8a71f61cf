import { isDrillTenant } from '../drill/tenant.ts';
import type { BatchView } from '../journal/batch.ts';
import type { Endpoint } from '../journal/facts.ts';
import type { QueueDepth } from '../ports/queue.ts';
import type { SiteId } from '../ports/site.ts';
import type { Settings } from '../settings.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { isCanary } from './canary-batch.ts';
import type { Backlog, Reading } from './types.ts';

/** An open batch as the names of its facts tell: no object is read for this. */
export interface OpenBatch {
  batch: string;
  /** Who works it now. */
  site: SiteId;
  /** `unplanned` until its model is known. */
  model: string;
  endpoint: Endpoint;
  lines: number;
  answered: number;
  /** Result objects that the site has written, those of repeated work too. */
  written: number;
  acceptedAt: EpochMs;
  /** Of a drill: its model is looked at as any other, and it is in no count of production (F49). */
  isDrill?: true;
}

const isWork = ({ isDrill }: OpenBatch) => isDrill !== true;

/** What a pass of the sweeper saw of all open batches, at one moment, and when work was last seen to move. */
export interface ProgressSample {
  at: EpochMs;
  open: OpenBatch[];
  /** Last moment at which something of a site and model was seen to move, by `site model`. */
  movedAt: Record<string, EpochMs>;
}

export const unplanned = 'unplanned';

/** One open batch; `undefined` for what is no work of anybody: canaries, and what has ended. */
export function openBatch(
  view: Pick<BatchView, 'tenant' | 'batch' | 'plan' | 'results' | 'publication' | 'acceptance' | 'manifest'>,
  owner: SiteId | undefined,
): OpenBatch | undefined {
  if (isCanary(view.tenant) || view.publication !== undefined || owner === undefined) return undefined;
  const best = new Map<string, number>();
  for (const { firstLine, lines, answered } of view.results) {
    const range = `${firstLine}-${lines}`;
    best.set(range, Math.max(best.get(range) ?? 0, answered));
  }
  const lines = view.plan?.lines ?? 0;
  const sum = [...best.values()].reduce((total, answered) => total + answered, 0);
  return {
    batch: view.batch,
    site: owner,
    model: view.plan?.model ?? unplanned,
    endpoint: view.manifest.endpoint,
    lines,
    answered: Math.min(sum, lines),
    written: view.results.filter(({ site }) => site === owner).length,
    acceptedAt: view.acceptance.at,
    ...(isDrillTenant(view.tenant) && { isDrill: true as const }),
  };
}

const nameOf = ({ site, model }: Pick<OpenBatch, 'site' | 'model'>) => `${site} ${model}`;

/** The sample after `previous`. What was not there before has only just begun to wait. */
export function nextSample(
  previous: ProgressSample | undefined,
  open: readonly OpenBatch[],
  at: EpochMs,
): ProgressSample {
  const before = new Map(previous?.open.map((one) => [one.batch, one]));
  const movedAt: Record<string, EpochMs> = {};
  for (const [name, group] of Map.groupBy(open, nameOf)) {
    const isMoving = group.some((one) => {
      const earlier = before.get(one.batch);
      // Lines answered again are no progress of the batch, and prove that somebody works.
      const isMore = earlier !== undefined && (earlier.answered < one.answered || earlier.written < one.written);
      return isMore && nameOf(earlier) === name;
    });
    // A batch that is gone from here was planned, published or moved: somebody did something.
    const stillOpen = new Set(group.map(({ batch }) => batch));
    const hasLeft = previous?.open.some((one) => nameOf(one) === name && !stillOpen.has(one.batch)) ?? false;
    const known = previous?.movedAt[name];
    movedAt[name] = known === undefined || isMoving || hasLeft ? at : known;
  }
  return { at, open: [...open], movedAt };
}

/** Models by site that were asked and not seen to answer, by the last look at each. */
export interface SilentModels {
  has(site: SiteId, model: string): boolean;
  /** Some model is silent at the site: what is asked of it may hold every place that takes messages there. */
  any(site: SiteId): boolean;
}

/** @param looks the last look at each model at its own site */
export function silentModels(looks: readonly Reading[]): SilentModels {
  const silent = looks.filter(({ signal, outcome }) => signal === 'model' && outcome !== 'ok');
  const names = new Set(silent.map(({ site, subject }) => `${site} ${subject}`));
  // What nothing serves is given back at once, and holds no place.
  const sites = new Set(silent.flatMap(({ site, code }) => (code === 'unserved' ? [] : [site])));
  return { has: (site, model) => names.has(`${site} ${model}`), any: (site) => sites.has(site) };
}

/** The longest that messages of one run are held, after which whatever waits behind it has its turn. */
export function turnMs({ runMs, leaseMs }: Pick<Settings, 'runMs' | 'leaseMs'>): DurationMs {
  return runMs + leaseMs;
}

/**
 * Whether what is waiting gets done, per site and model (F41: every call answers, and no job completes).
 *
 * `ok`: something of it moved since the sample before. `failed`, `stalled`: nothing moved, messages lie in the queue and
 * none of them is in work; or some are in work for longer than any run may last. `unknown`: there is no backlog, or
 * it waits for a good reason (all of it in work, or put off, or for a model that does not answer, or for one turn behind
 * such a model, whose calls may be about to end), or the depth is not known.
 * @param depths what is in work is in `inFlight`, also where the queue does not tell it (`held.ts`)
 */
export function progressReadings(
  observer: string,
  sites: readonly SiteId[],
  previous: ProgressSample | undefined,
  current: ProgressSample,
  depths: ReadonlyMap<SiteId, { intake?: QueueDepth; work?: QueueDepth }>,
  settings: Pick<Settings, 'runMs' | 'leaseMs'>,
  silent: SilentModels,
): Reading[] {
  const { at } = current;
  return sites.flatMap((site): Reading[] => {
    const common = { observer, site, signal: 'progress', at } as const;
    const models = [
      ...new Set(current.open.filter(isWork).flatMap((one) => (one.site === site ? [one.model] : []))),
    ].sort();
    return models.map((subject): Reading => {
      const movedAt = current.movedAt[nameOf({ site, model: subject })] ?? at;
      if (previous?.movedAt[nameOf({ site, model: subject })] === undefined)
        return { ...common, subject, outcome: 'unknown' };
      if (movedAt > previous.at) return { ...common, subject, outcome: 'ok' };
      const depth = subject === unplanned ? depths.get(site)?.intake : depths.get(site)?.work;
      if (depth === undefined || silent.has(site, subject)) return { ...common, subject, outcome: 'unknown' };
      const hadItsTurn = at - movedAt > turnMs(settings);
      const isIgnored = depth.visible > 0 && depth.inFlight === 0 && (hadItsTurn || !silent.any(site));
      const isHanging = depth.inFlight > 0 && hadItsTurn;
      if (isIgnored || isHanging) return { ...common, subject, outcome: 'failed', code: 'stalled' };
      return { ...common, subject, outcome: 'unknown' };
    });
  });
}

/** What is to do per site and model, for people and for whoever decides. */
export function backlogOf(previous: ProgressSample | undefined, current: ProgressSample): Backlog[] {
  const before = new Map(previous?.open.map((one) => [one.batch, one.answered]));
  const groups = Map.groupBy(current.open.filter(isWork), nameOf);
  return [...groups.keys()].sort().map((name) => {
    const group = groups.get(name)!;
    const { site, model } = group[0]!;
    return {
      site,
      model,
      openLines: group.reduce((sum, { lines, answered }) => sum + lines - answered, 0),
      oldestMs: current.at - Math.min(...group.map(({ acceptedAt }) => acceptedAt)),
      answeredOfLate: group.reduce(
        (sum, { batch, answered }) => sum + Math.max(0, answered - (before.get(batch) ?? answered)),
        0,
      ),
    };
  });
}
