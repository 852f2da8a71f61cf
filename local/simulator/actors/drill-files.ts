import { type DrillKind, type DrillSource, drillSchema } from '../../../shared/drill/file.ts';
import { type Cloud, drillModel } from '../world.ts';

type Step = DrillSource['method'][number];

const action = (name: string, provider: object): Step =>
  ({ type: 'action', name, provider: { type: 'holdfast', ...provider } }) as Step;
const probe = (name: string, tolerance: unknown, within: string, provider: object): Step =>
  ({ type: 'probe', name, tolerance, within, provider: { type: 'holdfast', ...provider } }) as Step;

/** A short drill of each kind, in which `from` is the site that gives up its work. */
export function drillFileOf(kind: DrillKind, from: Cloud): DrillSource {
  const to: Cloud = from === 'aws' ? 'azure' : 'aws';
  const submit = (held: boolean) =>
    action('work', { func: 'submit', arguments: { lines: 4, home: from, held, model: drillModel } });
  const ended = probe('all ended', true, '10m', { func: 'batches-ended' });
  const handOver = action('hand over', {
    func: 'failover',
    arguments: { from, to, mode: 'graceful', scope: kind === 'shadow' ? 'canaries' : 'all' },
  });
  const fault = action('refuse', { func: 'fault', arguments: { target: `${from}/store`, kind: 'refuse', ttl: '90s' } });
  const methods: Record<DrillKind, Step[]> = {
    tabletop: [handOver],
    shadow: [submit(true), handOver, ended],
    switchover: [submit(false), handOver, ended],
    outage: [submit(false), fault, ended],
  };
  return {
    title: `Rehearsal of ${kind} at ${from}`,
    'steady-state-hypothesis': {
      title: 'both clouds are well',
      probes: [probe('healthy sites', 2, '1m', { func: 'sites-healthy' }) as never],
    },
    method: methods[kind],
    holdfast: {
      kind,
      ...(kind === 'outage' && { site: from }),
      'blast-radius': { scope: kind === 'shadow' ? 'canaries' : 'all' },
      limit: '20m',
    },
  };
}

/** Due once a day, a third of an hour into the first: whichever cloud looks first starts it. */
export function scheduledDrill() {
  const file: DrillSource = drillFileOf('shadow', 'aws');
  const due: DrillSource = {
    ...file,
    title: 'Daily shadow',
    holdfast: { ...file.holdfast, schedule: { every: 'day', at: '00:20' } },
  };
  return { drill: drillSchema.parse(due), file: due };
}
