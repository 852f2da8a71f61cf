import { ConfigError } from '../errors.ts';
import type { SiteId } from '../ports/site.ts';
import { type Drill, type DrillSource, drillSchema } from './file.ts';

/** A drill with a schedule, and as it is written down. */
export interface ScheduledDrill {
  drill: Drill;
  file: DrillSource;
}

/**
 * What is rehearsed where nothing is configured: each week, on paper, the loss of either site; each month a real takeover
 * of batches of the drill's own. Neither touches production.
 */
export function defaultDrills(sites: readonly SiteId[]): DrillSource[] {
  const [from, to] = sites.toSorted() as [SiteId, SiteId];
  const steady: DrillSource['steady-state-hypothesis'] = {
    title: 'every site is well, and nothing is moved',
    probes: [
      probe('healthy sites', sites.length, { func: 'sites-healthy' }),
      probe('the witness answers', true, { func: 'witness' }),
      probe('moves', 0, { func: 'moves' }),
    ],
  };
  return [
    {
      title: 'Weekly tabletop',
      description: 'The plan and the safety rules of a failover of each site, as things stand. Nothing is done.',
      'steady-state-hypothesis': steady,
      method: sites.toSorted().map((site) => ({
        type: 'action',
        name: `if ${site} were lost`,
        provider: { type: 'holdfast', func: 'fault', arguments: { target: site, kind: 'refuse', ttl: '60s' } },
      })),
      holdfast: {
        kind: 'tabletop',
        'blast-radius': { scope: 'all' },
        schedule: { every: 'week', day: 'mon', at: '04:00' },
      },
    },
    {
      title: 'Monthly shadow',
      description: `A batch of the drill's own is accepted at ${from}, its pointers are lost, and ${to} takes it over.`,
      'steady-state-hypothesis': steady,
      method: [
        {
          type: 'action',
          name: `submit to ${from}, its pointers lost`,
          provider: { type: 'holdfast', func: 'submit', arguments: { lines: 5, home: from, held: true } },
        },
        {
          type: 'action',
          name: `move it to ${to}`,
          provider: { type: 'holdfast', func: 'failover', arguments: { from, to, scope: 'canaries' } },
        },
        { ...probe('the batch ended', true, { func: 'batches-ended' }), within: '10m' },
      ],
      holdfast: {
        kind: 'shadow',
        site: from,
        'blast-radius': { scope: 'canaries' },
        objectives: { rto: '2m', 'computed-twice': 0 },
        schedule: { every: 'month', day: 2, at: '05:00' },
      },
    },
  ];
}

function probe(name: string, tolerance: number | boolean, provider: { func: string }) {
  const within = '2m';
  return {
    type: 'probe',
    name,
    tolerance,
    within,
    provider: { type: 'holdfast', ...provider },
  } as DrillSource['steady-state-hypothesis']['probes'][number];
}

/**
 * The drills of a configuration.
 * @param configured `drills` of the configuration; `null`: the defaults, none: no drill
 * @throws ConfigError naming the drill, the key and the rule
 */
export function scheduledDrills(configured: readonly unknown[] | null, sites: readonly SiteId[]): ScheduledDrill[] {
  return (configured ?? defaultDrills(sites)).map((file, i) => {
    const parsed = drillSchema.safeParse(file);
    if (parsed.success) return { drill: parsed.data, file: file as DrillSource };
    const [issue] = parsed.error.issues;
    const key = ['drills', i, ...(issue?.path ?? [])].map(String).join('.');
    throw new ConfigError(key, `${key}: ${issue?.message}`);
  });
}
