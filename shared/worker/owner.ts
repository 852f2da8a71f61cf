import type { BatchView } from '../journal/batch.ts';
import type { ControlEntry, Dispatch } from '../journal/facts.ts';
import { compareText } from '../journal/keys.ts';
import type { SiteId } from '../ports/site.ts';

/**
 * The site that works a batch now: the one of its latest dispatch while that may still finish work, else its home if
 * active, else the active site with the greatest weight (by id among equals). A pure function of facts and one control
 * entry, so that both sites answer alike without talking.
 */
export function ownerOf(
  view: Pick<BatchView, 'acceptance' | 'manifest'>,
  dispatches: readonly Pick<Dispatch, 'to' | 'at'>[],
  control: ControlEntry,
): SiteId | undefined {
  const state = (site: SiteId) => control.sites[site]?.state;
  const { boundTo } = view.manifest;
  if (boundTo !== null) return state(boundTo) === 'fenced' ? undefined : boundTo;
  const latest = dispatches.at(-1)?.to;
  if (latest !== undefined && (state(latest) === 'active' || state(latest) === 'cordoned')) return latest;
  if (state(view.acceptance.home) === 'active') return view.acceptance.home;
  return activeSites(control)[0];
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
