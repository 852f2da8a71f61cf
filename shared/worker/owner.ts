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
}

/** Waves that say where a batch belongs. A split or a spillover only says where some of its lines are for now. */
const settling: readonly Dispatch['reason'][] = ['plan', 'lost', 'redrive'];

/**
 * The site that works a batch now: the one of its latest dispatch while that may still finish work, else its home if
 * active, else the active site with the greatest weight (by id among equals); from there to wherever a move of the
 * control entry takes its model or itself, as long as that site is active. A pure function of facts and one control
 * entry, so that both sites answer alike without talking.
 */
export function placeOf(
  view: Pick<BatchView, 'batch' | 'acceptance' | 'manifest' | 'plan'>,
  dispatches: readonly Pick<Dispatch, 'to' | 'epoch' | 'reason'>[],
  control: ControlEntry,
): Place {
  const base = belongsTo(view, dispatches, control);
  const subject = { batch: view.batch, model: view.plan?.model ?? null, boundTo: view.manifest.boundTo };
  const move = base === undefined ? undefined : moveFrom(control, base, subject);
  return move === undefined ? { owner: base, isMoved: false } : { owner: move.to, isMoved: true };
}

/** As `placeOf`, without the reason. */
export function ownerOf(...args: Parameters<typeof placeOf>): SiteId | undefined {
  return placeOf(...args).owner;
}

function belongsTo(
  view: Pick<BatchView, 'acceptance' | 'manifest'>,
  dispatches: readonly Pick<Dispatch, 'to' | 'epoch' | 'reason'>[],
  control: ControlEntry,
): SiteId | undefined {
  const state = (site: SiteId) => control.sites[site]?.state;
  const { boundTo } = view.manifest;
  if (boundTo !== null) return state(boundTo) === 'fenced' ? undefined : boundTo;
  const latest = dispatches.findLast((one) => settling.includes(one.reason) && !isDead(one, control))?.to;
  if (latest !== undefined && (state(latest) === 'active' || state(latest) === 'cordoned')) return latest;
  if (state(view.acceptance.home) === 'active') return view.acceptance.home;
  return activeSites(control)[0];
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
