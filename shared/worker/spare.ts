import type { Core } from '../core.ts';
import { SiteUnavailableError } from '../errors.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { controlKey } from '../journal/keys.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { Site, SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';

/** What this process knows of fenced sites, and the bags it handed out for each set of silent ones. */
interface Known {
  looks: Map<SiteId, { until: EpochMs; isSilent: boolean; looking?: Promise<void> }>;
  cores: Map<string, Core>;
}

const known = new WeakMap<Core, Known>();
const lookAgainMs: DurationMs = 15_000;
/** A site that has come back answers within this, or is met at the next look. */
const patienceMs: DurationMs = 500;

/**
 * The same core, in which fenced sites that do not answer refuse at once. A dark cloud swallows calls: without this,
 * every list and every read of a redrive would wait `peerTimeoutMs` for it. One look in 15 s finds out. Once a site is
 * known to be silent, whoever looks again waits for half a second and leaves the rest of the look to itself: a pass of the
 * sweeper that waited longer would miss every other tick. A site that is not fenced is never spared: its answer may
 * matter.
 */
export async function sparing(core: Core, control: ControlEntry): Promise<Core> {
  const fenced = [...core.sites.keys()].filter((id) => id !== core.self && control.sites[id]?.state === 'fenced');
  if (fenced.length === 0) return core;
  const mine = known.get(core) ?? { looks: new Map(), cores: new Map() };
  known.set(core, mine);
  await Promise.all(fenced.map((id) => lookAt(core, mine, id)));
  const silent = fenced.filter((id) => mine.looks.get(id)!.isSilent);
  if (silent.length === 0) return core;
  const name = silent.join();
  const spared = mine.cores.get(name) ?? without(core, silent);
  mine.cores.set(name, spared);
  return spared;
}

async function lookAt(core: Core, { looks }: Known, id: SiteId): Promise<void> {
  const now = core.clock.now();
  const last = looks.get(id) ?? { until: now, isSilent: false };
  looks.set(id, last);
  if (last.looking !== undefined && !last.isSilent) return last.looking;
  if (last.looking !== undefined || now < last.until) return;
  const { journal } = core.sites.get(id)!;
  last.looking = withDeadline(core.clock, core.settings.peerTimeoutMs, id, (signal) =>
    journal.head(controlKey(1), { signal }),
  )
    .then(
      () => false,
      () => true,
    )
    .then((isSilent) => {
      last.isSilent = isSilent;
      last.until = core.clock.now() + lookAgainMs;
      last.looking = undefined;
    });
  if (!last.isSilent) return last.looking;
  const patience = new AbortController();
  const over = core.clock.sleep(patienceMs, patience.signal).catch(() => {});
  await Promise.race([last.looking, over]);
  patience.abort();
}

function without(core: Core, silent: readonly SiteId[]): Core {
  const sites = [...core.sites].map(([id, site]) => [id, silent.includes(id) ? silentSite(site) : site] as const);
  return { ...core, sites: new Map(sites) };
}

function silentSite(site: Site): Site {
  const refusing = <T extends { readonly name: string }>(port: T): T =>
    new Proxy(port, {
      get: (target, member) =>
        typeof target[member as keyof T] === 'function'
          ? async () => {
              throw new SiteUnavailableError('spared', `${port.name} is fenced and does not answer`, site.id);
            }
          : target[member as keyof T],
    });
  const { id, cloud, journal, state, intake, work } = site;
  return {
    id,
    cloud,
    journal: refusing(journal),
    state: refusing(state),
    intake: refusing(intake),
    work: refusing(work),
  };
}
