import { type Core, type ModelEntry, ownSite } from '../core.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { Random } from '../ports/random.ts';
import type { SiteId } from '../ports/site.ts';
import { activeSites } from '../worker/owner.ts';
import { unavailable } from './errors.ts';

/** What decides where a new batch goes. */
export interface HomeChoice {
  control: ControlEntry;
  /** The only site that may hold its payload; `null`: any. */
  boundTo: SiteId | null;
  /** Sites that may serve its model; none where the model is not known, which the planner will say. */
  serving: readonly SiteId[];
  /** What the model map says of its model. */
  entry: ModelEntry | undefined;
}

/**
 * The site that plans and works a new batch first: among the active ones that may serve its model, by weight or the
 * cheapest. While none of them is active, the first that may serve it, which the batch then waits for.
 */
export function drawHome(core: Pick<Core, 'self' | 'sites'> & { random: Random }, choice: HomeChoice): SiteId {
  const { control, boundTo, serving, entry } = choice;
  if (boundTo !== null) return boundTo;
  const active = activeSites(control).sort();
  const able = serving.length === 0 ? active : active.filter((id) => serving.includes(id));
  if (able.length === 0) return serving[0] ?? ownSite(core).id;
  const wanted = entry?.placement === 'cheapest' ? cheapest(able, control, entry) : able;
  const weightOf = (id: SiteId) =>
    entry?.weights == null ? control.sites[id]!.weight : (entry.weights[control.sites[id]!.cloud] ?? 0);
  const total = wanted.reduce((sum, id) => sum + weightOf(id), 0);
  let point = core.random() * (total === 0 ? wanted.length : total);
  for (const id of wanted) {
    point -= total === 0 ? 1 : weightOf(id);
    if (point < 0) return id;
  }
  return wanted.at(-1)!;
}

/**
 * New work that no active site may serve is refused where its model's entry says so.
 * @throws ApiError 503 `no_permitted_home`, before anything is written
 */
export function refuseUnplaced({ control, boundTo, serving, entry }: HomeChoice): void {
  if (entry?.unplaced !== 'fail' || serving.length === 0) return;
  const permitted = serving.filter((id) => boundTo === null || id === boundTo);
  if (permitted.some((id) => control.sites[id]?.state === 'active')) return;
  throw unavailable(
    'no_permitted_home',
    `No site that may serve ${entry.alias} is active (${serving.join(', ')}), and its entry in the model map does not let work wait.`,
  );
}

/** Sites of the lowest price: a million tokens in and a million out, which orders all mixes alike where one is lower in both. */
function cheapest(sites: readonly SiteId[], control: ControlEntry, entry: ModelEntry): SiteId[] {
  const priceOf = (id: SiteId) => {
    const price = entry.backends.find(({ cloud }) => cloud === control.sites[id]!.cloud)?.price;
    return price == null ? Number.POSITIVE_INFINITY : price.input + (price.output ?? 0);
  };
  const lowest = Math.min(...sites.map(priceOf));
  return sites.filter((id) => priceOf(id) === lowest);
}
