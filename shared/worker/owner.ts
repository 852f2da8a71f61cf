import type { Core } from '../core.ts';
import type { BatchView } from '../journal/batch.ts';
import type { ControlEntry, Dispatch } from '../journal/facts.ts';
import { compareText } from '../journal/keys.ts';
import type { SiteId } from '../ports/site.ts';

type Move = ControlEntry['moves'][number];

/** Who works a batch, and why. */
export interface Place {
  /** `undefined` while no site may work it. */
  owner: SiteId | undefined;
  /** True while a move of the control entry, not the batch's own history, says so. */
  isMoved: boolean;
  /** True while no site may work it: an owner then ends it when its time comes, and sends nothing out. */
  isWaiting: boolean;
}

/** Sites that may serve a batch's model; `undefined` or none: that is not known, and any may. */
export type Serving = readonly SiteId[] | undefined;

/** Waves that say where a batch belongs. A split or a spillover only says where some of its lines are for now. */
const settling: readonly Dispatch['reason'][] = ['plan', 'lost', 'redrive'];

/**
 * The site that works a batch now: the one of its latest dispatch while that may still finish work, else its home if
 * active, else the active site with the greatest weight (by id among equals); from there to wherever a move of the
 * control entry takes its model or itself, as long as that site is active. A pure function of facts and one control
 * entry and the model map, so that both sites answer alike without talking. A site that may not serve the batch's model is
 * passed over, whatever was sent there, so that work returns once one that may is active again.
 */
export function placeOf(
  view: Pick<BatchView, 'batch' | 'acceptance' | 'manifest' | 'plan'>,
  dispatches: readonly Pick<Dispatch, 'to' | 'epoch' | 'reason'>[],
  control: ControlEntry,
  serving: Serving,
): Place {
  const maySend = (site: SiteId) => serving === undefined || serving.length === 0 || serving.includes(site);
  const { boundTo } = view.manifest;
  const served = belongsTo(view, dispatches, control, maySend);
  // Somebody must end it when its time comes, also where nobody can work it.
  const base = served ?? (boundTo === null ? activeSites(control)[0] : undefined);
  const subject = { batch: view.batch, model: view.plan?.model ?? null, boundTo };
  const move = base === undefined ? undefined : moveFrom(control, base, subject);
  const isMoved = move !== undefined && maySend(move.to);
  const owner = isMoved ? move.to : base;
  return { owner, isMoved, isWaiting: served === undefined };
}

/** Sites that may serve the model of a batch; `undefined` while it is not planned. */
export function servingOf(core: Pick<Core, 'models'>, view: Pick<BatchView, 'manifest' | 'plan'>): Serving {
  const model = view.plan?.model;
  return model == null ? undefined : core.models.sitesFor(model, view.manifest.endpoint);
}

function belongsTo(
  view: Pick<BatchView, 'acceptance' | 'manifest'>,
  dispatches: readonly Pick<Dispatch, 'to' | 'epoch' | 'reason'>[],
  control: ControlEntry,
  maySend: (site: SiteId) => boolean,
): SiteId | undefined {
  const state = (site: SiteId) => control.sites[site]?.state;
  const { boundTo } = view.manifest;
  if (boundTo !== null) return state(boundTo) === 'fenced' ? undefined : boundTo;
  const settles = (one: (typeof dispatches)[number]) =>
    settling.includes(one.reason) && !isDead(one, control) && maySend(one.to);
  const latest = dispatches.findLast(settles)?.to;
  if (latest !== undefined && (state(latest) === 'active' || state(latest) === 'cordoned')) return latest;
  const { home } = view.acceptance;
  if (state(home) === 'active' && maySend(home)) return home;
  return activeSites(control).find(maySend);
}

/** True if pointers sent to this site under this epoch are stale there: it is fenced, or was fenced since. */
export function isDead({ to, epoch }: { to: SiteId; epoch: number }, control: ControlEntry): boolean {
  const site = control.sites[to];
  return site === undefined || site.state === 'fenced' || epoch < site.fencedEpoch;
}

/** The move that takes a batch, or its model, away from `site`; one of the batch itself goes before one of its model. */
export function moveFrom(
  control: ControlEntry,
  site: SiteId,
  subject: { batch: string; model: string | null; boundTo: SiteId | null },
): Move | undefined {
  if (subject.boundTo !== null) return undefined;
  const concerns = ({ scope, name, from, to }: Move) =>
    from === site &&
    control.sites[to]?.state === 'active' &&
    name === (scope === 'batch' ? subject.batch : subject.model);
  const moves = control.moves.filter(concerns);
  return moves.find(({ scope }) => scope === 'batch') ?? moves[0];
}

/** Active sites, greatest weight first, by id among equals. */
export function activeSites(control: ControlEntry): SiteId[] {
  return Object.entries(control.sites)
    .filter(([, site]) => site.state === 'active')
    .sort(([a, x], [b, y]) => y.weight - x.weight || compareText(a, b))
    .map(([id]) => id);
}

/** Sites that may be written to while serving: all but the fenced ones (the sweeper mirrors to those once they return). */
export function writableSites(control: ControlEntry, sites: Iterable<SiteId>): SiteId[] {
  return [...sites].filter((id) => control.sites[id]?.state !== 'fenced');
}
