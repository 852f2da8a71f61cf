import type { ControlCommand } from '../../shared/control/commands.ts';
import type { RuleName } from '../../shared/control/rules.ts';
import { type DrillKind, drillKinds } from '../../shared/drill/file.ts';
import type { DurationMs } from '../../shared/units.ts';
import type { Stream } from './engine/random.ts';
import type { EffectMode, ScenarioEffect } from './scenario/index.ts';
import { formatOffset } from './scenario/index.ts';
import type { Cloud } from './world.ts';

/** One thing that goes wrong: a component for a while, or a person with a command. Times count from the start. */
export type Disturbance =
  | ({ kind: 'effect' } & ScenarioEffect)
  | { kind: 'order'; fromMs: DurationMs; command: ControlCommand; force: RuleName[]; at: Cloud; replay: boolean }
  /** A drill in which `from` gives up its work, run from a laptop that asks the stores of `at` first. */
  | { kind: 'drill'; fromMs: DurationMs; drill: DrillKind; from: Cloud; at: Cloud; diesAfterMs?: DurationMs };

const minutes = (value: number): DurationMs => value * 60_000;

/** What may be wrong with a component, and how likely it is that just this goes wrong. */
const troubles: readonly {
  weight: number;
  targets: readonly string[];
  modes: readonly ((s: Stream) => EffectMode)[];
}[] = [
  {
    weight: 5,
    targets: ['aws.store', 'azure.store', 'aws.store.put', 'azure.store.put', 'aws.store.get', 'azure.store.list'],
    modes: [
      (s) => ({ kind: 'error', code: '5xx', rate: s.pick([0.1, 0.5, 1]) }),
      (s) => ({ kind: 'timeout', afterMs: s.pick([3_000, 30_000]), rate: s.pick([0.1, 0.5, 1]) }),
      (s) => ({ kind: 'slow', p50Ms: s.pick([200, 2_000]), p99Ms: 20_000 }),
      (s) => ({ kind: 'throttle', share: s.pick([0.3, 0.8]) }),
      (s) => ({ kind: 'drop_reply', rate: s.pick([0.05, 0.3, 1]) }),
      () => ({ kind: 'freeze' }),
      (s) => ({ kind: 'partial', cohort: s.pick(['tenant', 'accounts', 'large-objects']), rate: 0.4 }),
      () => ({ kind: 'new_conns_only' }),
    ],
  },
  {
    weight: 3,
    targets: [
      'aws.queue.send',
      'azure.queue.send',
      'aws.queue.receive',
      'azure.queue.receive',
      'aws.queue.settle',
      'azure.queue.settle',
      'azure.queue',
    ],
    modes: [
      (s) => ({ kind: 'error', code: '5xx', rate: s.pick([0.2, 1]) }),
      (s) => ({ kind: 'drop_reply', rate: s.pick([0.1, 0.5]) }),
      (s) => ({ kind: 'timeout', afterMs: 30_000, rate: s.pick([0.1, 1]) }),
      (s) => ({ kind: 'throttle', share: s.pick([0.2, 0.7]) }),
    ],
  },
  {
    weight: 3,
    targets: ['aws', 'azure'],
    modes: [
      () => ({ kind: 'gone' }),
      () => ({ kind: 'freeze' }),
      (s) => ({ kind: 'error', code: '5xx', rate: s.pick([0.3, 0.8, 1]) }),
    ],
  },
  {
    weight: 3,
    targets: ['link.aws-to-azure', 'link.azure-to-aws', 'link.aws-to-witness', 'link.azure-to-witness'],
    modes: [
      (s) => ({ kind: 'timeout', afterMs: s.pick([2_000, 10_000]), rate: s.pick([0.3, 1]) }),
      (s) => ({ kind: 'drop_reply', rate: s.pick([0.3, 1]) }),
      () => ({ kind: 'gone' }),
      () => ({ kind: 'slow', p50Ms: 1_000, p99Ms: 15_000 }),
    ],
  },
  {
    weight: 2,
    targets: ['witness', 'witness.store', 'witness.store.put'],
    modes: [
      () => ({ kind: 'gone' }),
      (s) => ({ kind: 'throttle', share: s.pick([0.3, 0.8]) }),
      (s) => ({ kind: 'drop_reply', rate: s.pick([0.2, 0.6]) }),
      () => ({ kind: 'stale', ageMs: Number.POSITIVE_INFINITY }),
    ],
  },
  {
    weight: 4,
    targets: ['aws.functions.process', 'azure.functions.process'],
    modes: [(s) => ({ kind: 'error', code: 'crash', rate: s.pick([0.5, 1]) }), () => ({ kind: 'freeze' })],
  },
  {
    weight: 3,
    targets: ['aws.functions.poller', 'azure.functions.poller', 'aws.functions.invoke', 'azure.functions.scaleout'],
    modes: [
      () => ({ kind: 'freeze' }),
      (s) => ({ kind: 'error', code: '5xx', rate: s.pick([0.3, 1]) }),
      () => ({ kind: 'throttle', share: 0.3 }),
    ],
  },
  {
    weight: 3,
    targets: ['aws.model', 'azure.model', 'aws.model.m', 'azure.model.m', 'provider.model'],
    modes: [
      (s) => ({ kind: 'error', code: s.pick(['429', '5xx', '400', '401']), rate: s.pick([0.2, 0.6, 1]) }),
      () => ({ kind: 'slow', p50Ms: 20_000, p99Ms: 120_000 }),
      () => ({ kind: 'timeout', afterMs: 60_000, rate: 0.5 }),
      () => ({ kind: 'freeze' }),
    ],
  },
  {
    weight: 2,
    targets: [
      'aws.credentials.validate',
      'azure.credentials.validate',
      'aws.credentials.exchange',
      'azure.credentials.mint',
    ],
    modes: [(s) => ({ kind: 'error', code: '401', rate: s.pick([0.5, 1]) })],
  },
  {
    weight: 1,
    targets: ['aws.timer', 'azure.timer'],
    modes: [() => ({ kind: 'freeze' }), () => ({ kind: 'slow', p50Ms: 60_000, p99Ms: 600_000 })],
  },
  {
    weight: 1,
    targets: ['aws.clock.ahead', 'azure.clock.ahead', 'aws.clock.behind', 'azure.clock.behind'],
    modes: [(s) => ({ kind: 'stale', ageMs: s.pick([5_000, 120_000]) })],
  },
  {
    weight: 1,
    targets: ['aws.queue.messages', 'azure.queue.messages'],
    modes: [() => ({ kind: 'gone' })],
  },
];

/** Faults and commands of one seed, all within `activeMs`. */
export function drawSchedule(stream: Stream, count: number, activeMs: DurationMs): Disturbance[] {
  const total = troubles.reduce((sum, { weight }) => sum + weight, 0);
  // Half of them come close together: it takes two things at once to lose something.
  const burstAt = stream.next() * activeMs * 0.8;
  return Array.from({ length: count }, (): Disturbance => {
    const isInBurst = stream.chance(0.5);
    const alone = stream.next() * activeMs * 0.9;
    const fromMs = Math.floor(isInBurst ? burstAt + stream.next() * minutes(4) : alone);
    const lastMs = minutes(stream.pick([0.2, 1, 3, 8, 20, 60])) * (0.5 + stream.next());
    if (stream.chance(0.15)) return drawOrder(stream, fromMs);
    const trouble = drawTrouble(stream.next() * total);
    const target = stream.pick(trouble.targets);
    const mode = stream.pick(trouble.modes)(stream);
    return { kind: 'effect', target, mode, fromMs, untilMs: Math.min(Math.floor(fromMs + lastMs), activeMs) };
  }).sort((a, b) => a.fromMs - b.fromMs);
}

/** @param point from 0 to the sum of all weights */
function drawTrouble(point: number): (typeof troubles)[number] {
  let left = point;
  for (const trouble of troubles) {
    left -= trouble.weight;
    if (left < 0) return trouble;
  }
  return troubles[0]!;
}

function drawOrder(stream: Stream, fromMs: DurationMs): Disturbance {
  const site = stream.pick(['aws', 'azure'] as const);
  const to: Cloud = site === 'aws' ? 'azure' : 'aws';
  const commands: readonly ControlCommand[] = [
    { kind: 'failover', from: site, to, scope: { kind: 'all' }, mode: 'forced' },
    { kind: 'failover', from: site, to, scope: { kind: 'all' }, mode: 'forced' },
    { kind: 'failover', from: site, to, scope: { kind: 'all' }, mode: 'graceful' },
    { kind: 'failover', from: site, to, scope: { kind: 'model', name: 'm' }, mode: 'forced' },
    { kind: 'failback', site, step: 'start' },
    { kind: 'failback', site, step: 'return', scope: { kind: 'model', name: 'm' } },
    { kind: 'cordon', site },
    { kind: 'uncordon', site },
    { kind: 'drain', site },
    { kind: 'weights', weights: { [site]: 10 } },
    { kind: 'freeze' },
    { kind: 'unfreeze' },
  ];
  const command = stream.pick(commands);
  const force: RuleName[] = stream.chance(0.5) ? ['target-healthy', 'minimum-interval', 'drained'] : [];
  return { kind: 'order', fromMs, command, force, at: stream.pick(['aws', 'azure']), replay: stream.chance(0.25) };
}

/** Drills of one seed: of a stream of their own, so that those without any are what they were. Half of the runners die. */
export function drawDrills(stream: Stream, count: number, activeMs: DurationMs): Disturbance[] {
  return Array.from({ length: count }, () => {
    const diesAfterMs = Math.floor(minutes(6) * stream.next());
    const drawn = {
      kind: 'drill' as const,
      fromMs: Math.floor(stream.next() * activeMs * 0.6),
      drill: stream.pick(drillKinds),
      from: stream.pick(['aws', 'azure'] as const),
      at: stream.pick(['aws', 'azure'] as const),
    };
    return stream.chance(0.5) ? { ...drawn, diesAfterMs } : drawn;
  });
}

/** A disturbance as people read it. */
export function describe(one: Disturbance): string {
  const from = formatOffset(one.fromMs);
  if (one.kind === 'order')
    return `${from} order at ${one.at}${one.replay ? ', a captured one again' : ''}: ${JSON.stringify(one.command)}${one.force.length > 0 ? ` force ${one.force.join(' ')}` : ''}`;
  if (one.kind === 'drill') {
    const death = one.diesAfterMs === undefined ? '' : `, whose runner dies after ${formatOffset(one.diesAfterMs)}`;
    return `${from} a ${one.drill} drill at ${one.at}, ${one.from} gives up${death}`;
  }
  const until = one.untilMs === undefined ? 'for good' : `until ${formatOffset(one.untilMs)}`;
  return `${from} ${until} ${one.target}: ${describeMode(one.mode)}`;
}

function describeMode(mode: EffectMode): string {
  const { kind, ...rest } = mode;
  const args = Object.values(rest).map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value)));
  return args.length === 0 ? kind : `${kind}(${args.join(',')})`;
}
