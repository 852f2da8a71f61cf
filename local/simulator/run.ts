import { createApiKey } from '../../shared/api/keys.ts';
import { Drills } from './actors/drills.ts';
import { Operators } from './actors/operator.ts';
import type { ControlHistory } from './checkers/control.ts';
import { judgesOf } from './checkers/index.ts';
import { pending } from './checkers/liveness.ts';
import { repeatsOf } from './checkers/repetition.ts';
import { Driver } from './driver.ts';
import { Streams } from './engine/random.ts';
import { startClients } from './jobs.ts';
import { drawKnobs, type Knobs } from './knobs.ts';
import { plantLaterVersions, plantTornResults, replaceStore } from './plants.ts';
import { notePoint, noteQueues } from './points.ts';
import { runActive } from './quiet.ts';
import type { Violation } from './record.ts';
import { helpBack, isAtRest } from './rest.ts';
import { type Disturbance, drawDrills, drawSchedule } from './schedule.ts';
import { FrontDoors } from './services/front.ts';
import { FunctionsApp } from './services/functions-app.ts';
import { LambdaTrigger } from './services/lambda.ts';
import { startLambdaMonitor, startObserver, startTimerMonitor } from './services/monitors.ts';
import type { Variant } from './variant.ts';
import { type Cloud, startOfTime, World } from './world.ts';

export interface RunOptions {
  seed: string;
  /** Replace what the seed draws. */
  knobs?: Partial<Knobs>;
  /** Replaces the schedule that the seed draws. */
  schedule?: readonly Disturbance[];
  /** Positions of the drawn disturbances that happen; default all. */
  keep?: readonly number[];
  variant?: Variant;
  /** Trace lines kept for reading. */
  keepTrace?: number;
  onTrace?: (line: string) => void;
  /** How long the world may take to come to rest after the faults have stopped, in hours. Default 6. */
  restHours?: number;
  /**
   * Calls after which the run is broken off: messages or retries beget each other faster than they end, and it would
   * not. Default two million, and 100,000 for each hour of faults: four times those of the busiest day that came to an end.
   */
  callsMax?: number;
  /** Judges what only this run is about, when it has come to rest. */
  judge?: (world: World, history: ControlHistory) => void;
  /** A cloud that is lost for good: nothing is asked of it in the end. */
  lost?: () => Cloud | undefined;
  /** Called before time begins to run. */
  prepare?: (world: World, doors: FrontDoors) => void;
}

/** What one run, or many together, came to. */
export interface RunTotals {
  virtualHours: number;
  /** Of these, hours in which nothing was open, nothing was wrong and nothing came, and which were left out. */
  skippedHours: number;
  batches: number;
  lines: number;
  repeats: number;
  faults: number;
  /** Calls that met a fault. */
  struckCalls: number;
  calls: number;
  events: number;
  processes: number;
  epochs: number;
}

export interface RunReport {
  seed: string;
  knobs: Knobs;
  schedule: Disturbance[];
  /** Hash over everything that happened. */
  hash: string;
  violations: Violation[];
  reached: Record<string, number>;
  /** What was not done when time was up. */
  pending: string[];
  totals: RunTotals;
  trace: readonly string[];
}

const hourMs = 3_600_000;
const checkEveryMs = 120_000;
const callsMaxDefault = (hours: number) => 2_000_000 + 100_000 * hours;

/** Knobs and schedule of a seed, before anything happens. */
export function drawRun({ seed, knobs: given, schedule, keep }: RunOptions): { knobs: Knobs; schedule: Disturbance[] } {
  const streams = new Streams(seed);
  const knobs = drawKnobs(streams.of('knobs'), given);
  const activeMs = knobs.hours * hourMs;
  const drawn =
    schedule ??
    [
      ...drawSchedule(streams.of('schedule'), knobs.faults, activeMs),
      ...drawDrills(streams.of('drills'), knobs.drills, activeMs),
    ].sort((a, b) => a.fromMs - b.fromMs);
  return { knobs, schedule: keep === undefined ? [...drawn] : keep.flatMap((i) => drawn[i] ?? []) };
}

/** One seed: faults on, then faults off, then the judges' word. */
export async function simulate(options: RunOptions): Promise<RunReport> {
  const { knobs, schedule } = drawRun(options);
  const world = new World({ seed: options.seed, knobs, variant: options.variant, keepTrace: options.keepTrace });
  const callsMax = options.callsMax ?? callsMaxDefault(knobs.hours);
  const isRunaway = () => world.network.calls > callsMax;
  world.trace.onLine = options.onTrace;
  const planted: { site: Cloud; body: string }[] = [];
  let lines = 0;
  let endedAt = startOfTime;
  const operators = new Operators(world);
  const drills = new Drills(world);
  const driver = new Driver(world, operators, drills);
  const { judges, history } = judgesOf(world, { schedule, endOfFaults: () => endedAt, planted, drills });
  world.onLog = (event, fields, { place }) => {
    notePoint(world, event, fields);
    if (event === 'publication.decided' && history.head?.sites[place]?.state === 'fenced')
      world.record.reach('stale publisher');
  };
  await preload();
  await world.init();
  const keys = await makeKeys(world);
  const app = new FunctionsApp(world);
  new LambdaTrigger(world, 'intake');
  new LambdaTrigger(world, 'work');
  const doors = new FrontDoors(world, app);
  startLambdaMonitor(world);
  startTimerMonitor(world, app);
  startObserver(world);
  if (schedule.some(({ kind }) => kind === 'drill')) drills.startTending(app);
  options.prepare?.(world, doors);
  const activeMs = knobs.hours * hourMs;
  lines = startClients(world, doors, keys, schedule, activeMs);
  plantLaterVersions(world, planted);
  plantTornResults(world, activeMs);
  replaceStore(world, activeMs);
  driver.play(schedule);
  const skippedMs = await runActive(world, history, planted, startOfTime + activeMs, isRunaway);
  driver.endAll();
  endedAt = world.now;
  const end = world.now + (options.restHours ?? 6) * hourMs;
  helpBack(world, operators, () => options.lost?.());
  const lost = () => options.lost?.();
  while (world.now < end && !isRunaway() && !isAtRest(world, lost()))
    await world.scheduler.run(world.now + checkEveryMs, isRunaway);
  const left = isRunaway() ? [] : pending(world, lost());
  for (const sentence of left) world.record.violated('liveness', sentence);
  if (isRunaway()) world.record.violated('liveness', `broken off after ${callsMax} calls: they beget each other`);
  // What both journals hold in the end is no question where one of them is gone.
  else if (lost() === undefined) for (const { atEnd } of judges) atEnd?.();
  noteQueues(world);
  if (!isRunaway()) options.judge?.(world, history);
  return {
    seed: options.seed,
    knobs,
    schedule,
    hash: world.trace.hash,
    violations: world.record.violations,
    reached: Object.fromEntries([...world.record.reached].sort()),
    pending: left,
    totals: {
      virtualHours: (world.now - startOfTime) / hourMs,
      skippedHours: skippedMs / hourMs,
      batches: world.record.receipts.length,
      lines,
      repeats: repeatsOf(world),
      faults: driver.struck,
      struckCalls: Object.values(world.board.met).reduce((sum, one) => sum + one, 0),
      calls: world.network.calls,
      events: world.scheduler.ran,
      processes: world.started,
      epochs: history.entries.size,
    },
    trace: world.trace.kept,
  };
}

/** What the core loads late; loading is the machine's business and must not happen inside a run. */
async function preload(): Promise<void> {
  await import('@fastify/busboy');
}

async function makeKeys(world: World): Promise<Map<string, string>> {
  const keys = new Map<string, string>();
  const { core, process } = world.spawn('laptop', 'outside', 'aws');
  for (const tenant of ['acme', 'globex']) {
    let isDone = false;
    const made = createApiKey(core, { tenant, role: 'submitter' }).finally(() => {
      isDone = true;
    });
    await world.scheduler.run(world.now + hourMs, () => isDone);
    keys.set(tenant, (await made).secret);
  }
  process.kill();
  return keys;
}
