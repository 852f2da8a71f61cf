import { drillKinds } from '../../shared/drill/file.ts';
import type { Knobs } from './knobs.ts';
import { type RunReport, simulate } from './run.ts';
import type { Disturbance } from './schedule.ts';
import type { WireCall } from './services/wire.ts';
import { type Cloud, clouds, type World } from './world.ts';

/** What is under way while something dies. */
export interface CrashStory {
  name: string;
  knobs: Partial<Knobs>;
  schedule: readonly Disturbance[];
  /** Calls at which something may die. Default: all that leave something behind. */
  isPoint?: (call: WireCall) => boolean;
}

/**
 * How it dies: the process that calls, before the call or when the call has had its effect; its whole cloud, which comes
 * back; its whole cloud for good.
 */
export const deaths = ['process, call unsent', 'process, call done', 'cloud, comes back', 'cloud, for good'] as const;
export type Death = (typeof deaths)[number];

/** One call at which something may die. */
export interface CrashPoint {
  story: CrashStory;
  /** Which of the story's calls that count it is, from 1 on. */
  at: number;
  call: string;
  /** Whoever calls from outside the clouds takes none with it. */
  deaths: readonly Death[];
}

const calm: Partial<Knobs> = {
  hours: 0.1,
  tickMs: 30_000,
  failover: 'automatic',
  intake: 'strict',
  skewMs: { aws: 0, azure: 0, outside: 0 },
  batches: 2,
  linesMax: 4,
  chunkLines: 2,
  embeddings: 0,
  poison: 0,
  cancels: 0,
  deletions: 0,
  twice: 0,
  conflicts: 0,
  killers: 0,
  torn: 0,
  laterVersions: 0,
  replaced: 'none',
  modelP50Ms: 5_000,
  modelConcurrency: 50,
  malformed: 0,
  duplicates: 0,
  lostLeases: 0,
  depthLagMs: 0,
  workersMax: 2,
  appInstances: 1,
  canaries: false,
  observer: true,
};

const order = (at: number, command: Extract<Disturbance, { kind: 'order' }>['command']): Disturbance => ({
  kind: 'order',
  fromMs: at * 60_000,
  command,
  force: ['target-healthy', 'minimum-interval'],
  at: 'azure',
  replay: false,
});

const failover = order(1, { kind: 'failover', from: 'aws', to: 'azure', scope: { kind: 'all' }, mode: 'forced' });

/** Accept, plan, work, publish; control commit and redrive; failback. */
export const crashStories: readonly CrashStory[] = [
  { name: 'a batch from acceptance to publication', knobs: calm, schedule: [] },
  { name: 'a failover with its redrive', knobs: { ...calm, batches: 3, modelP50Ms: 30_000 }, schedule: [failover] },
  {
    name: 'a failback',
    knobs: { ...calm, hours: 0.15 },
    schedule: [failover, order(4, { kind: 'failback', site: 'aws', step: 'start' })],
  },
];

/**
 * A drill of each kind, whose runner dies: at each call that writes, and at each fault it sets or ends. Between two of
 * these it only reads and waits, so whenever else it dies, it leaves what it leaves at one of them.
 */
export const drillStories: readonly CrashStory[] = drillKinds.map((drill) => ({
  name: `a ${drill} drill`,
  knobs: { ...calm, hours: 0.4, tickMs: 20_000, batches: 1 },
  schedule: [{ kind: 'drill', fromMs: 60_000, drill, from: 'aws', at: 'azure' }],
  isPoint: ({ process, op }) => process.name.includes('-drill-') && !['get', 'getStream', 'head', 'list'].includes(op),
}));

/** Looks of monitors, and polls of the control log: they come in each tick, and leave nothing half done. */
const isPoint = ({ op, key }: WireCall): boolean =>
  !key.startsWith('observations/') && op !== 'depth' && !(op === 'get' && key.startsWith('control/'));

/** Calls of stores and queues that a story makes when nothing dies: the points at which something may. */
export async function crashPointsOf(story: CrashStory): Promise<CrashPoint[]> {
  const points: CrashPoint[] = [];
  await simulate({
    seed: story.name,
    knobs: story.knobs,
    schedule: story.schedule,
    prepare(world) {
      world.network.onCall = (call) => {
        if (!(story.isPoint ?? isPoint)(call)) return;
        const isInside = clouds.some((one) => one === call.process.place);
        points.push({
          story,
          at: points.length + 1,
          call: `${call.process.name} at ${call.op} ${call.where} ${call.key}`,
          deaths: isInside ? deaths : deaths.slice(0, 2),
        });
      };
    },
  });
  return points;
}

/** The story again, up to the call at which something dies; then to rest, and the judges' word. */
export function crashAt({ story, at }: CrashPoint, death: Death, onTrace?: (line: string) => void): Promise<RunReport> {
  let calls = 0;
  let lost: Cloud | undefined;
  return simulate({
    seed: story.name,
    knobs: story.knobs,
    schedule: story.schedule,
    restHours: 3,
    ...(onTrace && { onTrace }),
    lost: () => lost,
    prepare(world) {
      world.network.onCall = (call) => {
        if (!(story.isPoint ?? isPoint)(call)) return;
        calls += 1;
        if (calls !== at) return;
        world.trace.write(world.now, `dies: ${call.process.name} at ${call.op} ${call.where} ${call.key}`);
        const cloud = clouds.find((one) => one === call.process.place);
        if (death === 'process, call done') call.killAfterEffect();
        else if (death === 'process, call unsent' || cloud === undefined) call.process.kill();
        else lost = killCloud(world, cloud, death === 'cloud, comes back' ? 600_000 : undefined);
      };
    },
  });
}

/** @returns the cloud, if it is lost for good */
function killCloud(world: World, cloud: Cloud, forMs: number | undefined): Cloud | undefined {
  const effect = world.board.begin({ target: cloud, mode: { kind: 'gone' }, fromMs: 0, untilMs: undefined }, world.now);
  for (const { process } of [...world.running]) if (process.place === cloud) process.kill();
  if (forMs === undefined) return cloud;
  world.scheduler.after(forMs, () => world.board.end(effect));
  return undefined;
}
