import { createApiKey } from '../../shared/api/keys.ts';
import type { RuleName } from '../../shared/control/rules.ts';
import { resultKey } from '../../shared/journal/keys.ts';
import type { LogFields } from '../../shared/ports/log.ts';
import { replaceVoter } from '../../shared/redrive/rejoin.ts';
import { Client, type Job, linesOf } from './actors/client.ts';
import { Operators } from './actors/operator.ts';
import type { ControlHistory } from './checkers/control.ts';
import { differences } from './checkers/convergence.ts';
import { judgesOf } from './checkers/index.ts';
import { acceptanceOf, acceptedBatches, publicationOf } from './checkers/journal.ts';
import { pending } from './checkers/liveness.ts';
import { repeatsOf } from './checkers/repetition.ts';
import { Driver } from './driver.ts';
import { type Stream, Streams } from './engine/random.ts';
import { drawKnobs, type Knobs } from './knobs.ts';
import type { Violation } from './record.ts';
import { type Disturbance, drawSchedule } from './schedule.ts';
import { FrontDoors } from './services/front.ts';
import { FunctionsApp } from './services/functions-app.ts';
import { LambdaTrigger } from './services/lambda.ts';
import { startLambdaMonitor, startObserver, startTimerMonitor } from './services/monitors.ts';
import type { Variant } from './variant.ts';
import { type Cloud, clouds, startOfTime, World } from './world.ts';

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
  /** Judges what only this run is about, when it has come to rest. */
  judge?: (world: World, history: ControlHistory) => void;
  /** A cloud that is lost for good: nothing is asked of it in the end. */
  lost?: () => Cloud | undefined;
  /** Called before time begins to run. */
  prepare?: (world: World, doors: FrontDoors) => void;
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
  totals: {
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
  };
  trace: readonly string[];
}

const hourMs = 3_600_000;
const checkEveryMs = 120_000;

/** Knobs and schedule of a seed, before anything happens. */
export function drawRun({ seed, knobs: given, schedule, keep }: RunOptions): { knobs: Knobs; schedule: Disturbance[] } {
  const streams = new Streams(seed);
  const knobs = drawKnobs(streams.of('knobs'), given);
  const drawn = schedule ?? drawSchedule(streams.of('schedule'), knobs.faults, knobs.hours * hourMs);
  return { knobs, schedule: keep === undefined ? [...drawn] : keep.flatMap((i) => drawn[i] ?? []) };
}

/** One seed: faults on, then faults off, then the judges' word. */
export async function simulate(options: RunOptions): Promise<RunReport> {
  const { knobs, schedule } = drawRun(options);
  const world = new World({ seed: options.seed, knobs, variant: options.variant, keepTrace: options.keepTrace });
  world.trace.onLine = options.onTrace;
  const planted: { site: Cloud; body: string }[] = [];
  let lines = 0;
  const operators = new Operators(world);
  const driver = new Driver(world, operators);
  const { judges, history } = judgesOf(world, { schedule, struck: () => driver.struck, lines: () => lines, planted });
  world.onLog = (event, fields, { place }) => {
    notePoint(world, event, fields);
    const isFenced = history.head?.sites[place]?.state === 'fenced';
    if (event === 'publication.decided' && isFenced) world.record.reach('stale publisher');
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
  options.prepare?.(world, doors);
  const activeMs = knobs.hours * hourMs;
  lines = startClients(world, doors, keys, schedule, activeMs);
  plantLaterVersions(world, planted);
  plantTornResults(world, activeMs);
  replaceStore(world, activeMs);
  driver.play(schedule);
  const skippedMs = await runActive(world, history, startOfTime + activeMs);
  driver.endAll();
  const end = world.now + (options.restHours ?? 6) * hourMs;
  helpBack(world, operators, () => options.lost?.());
  const lost = () => options.lost?.();
  while (world.now < end && !isAtRest(world, lost())) await world.scheduler.run(world.now + checkEveryMs);
  const left = pending(world, lost());
  for (const sentence of left) world.record.violated('liveness', sentence);
  // What both journals hold in the end is no question where one of them is gone.
  if (lost() === undefined) for (const { atEnd } of judges) atEnd?.();
  noteQueues(world);
  options.judge?.(world, history);
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

/** Ticks that a world at rest is given before something comes again: enough to fill every window of every judge. */
const wakingTicks = 12;
/** Below this nothing is won by leaving time out. */
const worthTicks = 20;

/**
 * Runs while faults strike. Time in which the world is at rest and nothing comes from outside is left out, all but its
 * last ticks: that is what would happen if all processes stood still so long, so nothing is seen that could not be.
 * @returns time left out
 */
async function runActive(world: World, history: ControlHistory, end: number): Promise<number> {
  const { scheduler, settings } = world;
  const sliceMs = worthTicks * settings.tickMs;
  let skippedMs = 0;
  while (world.now < end) {
    await scheduler.run(Math.min(end, world.now + sliceMs));
    const wakeAt = Math.min(end, scheduler.nextFixed ?? end) - wakingTicks * settings.tickMs;
    if (wakeAt - world.now < sliceMs || !isQuiet(world, history)) continue;
    skippedMs += wakeAt - world.now;
    scheduler.leaveOut(wakeAt);
  }
  return skippedMs;
}

/** At rest, nothing is wrong, nobody is away or on his way back, and the queues are empty. */
function isQuiet(world: World, history: ControlHistory): boolean {
  if (world.board.active.length > 0 || world.knobs.laterVersions > 0) return false;
  const head = history.head;
  if (head === undefined || head.moves.length > 0 || head.voters.some(({ joining }) => joining)) return false;
  const areSettled = Object.values(head.sites).every(
    ({ state, weight }) => state === 'active' && ![5, 25].includes(weight),
  );
  const backlog = clouds.reduce(
    (sum, site) => sum + world.queues[site].intake.backlog + world.queues[site].work.backlog,
    0,
  );
  return areSettled && backlog === 0 && isAtRest(world, undefined);
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

/** @returns lines of all batches that will be sent */
function startClients(
  world: World,
  doors: FrontDoors,
  keys: ReadonlyMap<string, string>,
  schedule: readonly Disturbance[],
  activeMs: number,
): number {
  const { knobs, scheduler } = world;
  const draw = world.streams.of('work');
  let total = 0;
  for (let i = 0; i < knobs.batches; i++) {
    const endpoint = draw.chance(knobs.embeddings) ? ('/v1/embeddings' as const) : ('/v1/chat/completions' as const);
    const lines = draw.int(1, knobs.linesMax);
    const tenant = draw.pick(['acme', 'globex']);
    const job: Job = {
      tenant,
      lines: linesOf({ name: `batch ${i}`, lines, poison: knobs.poison, hasKiller: i < knobs.killers, endpoint }, draw),
      endpoint,
      idempotencyKey: draw.chance(0.9) ? `key-${i}` : undefined,
      first: draw.pick(clouds),
    };
    total += lines;
    const at = startOfTime + momentOf(draw, schedule, activeMs);
    const plans = {
      isTwice: job.idempotencyKey !== undefined && draw.chance(knobs.twice),
      isConflicting: draw.chance(knobs.conflicts),
      isCancelled: draw.chance(knobs.cancels),
      isDeleted: draw.chance(knobs.deletions),
      pauseMs: draw.next() * 120_000,
    };
    scheduler.fix(at, () => void runJob(world, doors, keys, job, plans));
  }
  return total;
}

/** Most work comes when something is about to go wrong, or has just gone wrong: then most is in flight. */
function momentOf(draw: Stream, schedule: readonly Disturbance[], activeMs: number): number {
  const any = draw.next() * activeMs * 0.9;
  const around = (draw.next() - 0.7) * 300_000;
  const at = draw.next();
  if (schedule.length === 0 || draw.chance(0.3)) return any;
  return Math.min(activeMs * 0.95, Math.max(1_000, schedule[Math.floor(at * schedule.length)]!.fromMs + around));
}

interface JobPlans {
  isTwice: boolean;
  isConflicting: boolean;
  isCancelled: boolean;
  isDeleted: boolean;
  pauseMs: number;
}

async function runJob(
  world: World,
  doors: FrontDoors,
  keys: ReadonlyMap<string, string>,
  job: Job,
  { isTwice, isConflicting, isCancelled, isDeleted, pauseMs }: JobPlans,
): Promise<void> {
  const { process } = world.spawn('client', 'outside', 'aws');
  const client = new Client(world, doors, process, keys);
  const other: Cloud = job.first === 'aws' ? 'azure' : 'aws';
  const lines = job.lines.map((line) => line.replace('line 0', 'other line 0'));
  const [accepted, again] = await Promise.all([
    client.submit(job),
    isTwice ? client.submit({ ...job, first: other }) : undefined,
    isConflicting ? client.submit({ ...job, lines, first: other }) : undefined,
  ]);
  if (accepted === undefined) return;
  if (again !== undefined && again.batch === accepted.batch) world.record.reach('same key gave the same batch');
  if (isCancelled || isDeleted) await process.clock.sleep(pauseMs);
  if (isCancelled) await client.cancel(job.tenant, accepted.batch);
  if (isDeleted) await client.deleteFile(job.tenant, accepted.file);
  // Asks now and then, on either cloud, also long after the end.
  for (let round = 0; round < 12; round++) {
    await process.clock.sleep(300_000 * (0.5 + world.streams.of(`looks ${process.name} ${round}`).next()));
    await client.look(job.tenant, accepted.batch, clouds[round % 2]!);
  }
}

/** Messages that a later version of us will understand. */
function plantLaterVersions(world: World, planted: { site: Cloud; body: string }[]): void {
  const draw = world.streams.of('later versions');
  for (let i = 0; i < world.knobs.laterVersions; i++) {
    const site = draw.pick(clouds);
    const body = JSON.stringify({ v: 2, kind: 'plan', tenant: 'acme', shape: `of a later version, ${i}` });
    world.scheduler.fix(startOfTime + 60_000, () => {
      void world.queues[site].work.send([{ id: draw.ids.uuid(), body }]).then(
        () => void planted.push({ site, body }),
        () => {},
      );
    });
  }
}

/** Objects among the results of open batches that are no results: cut off, or of another batch. */
function plantTornResults(world: World, activeMs: number): void {
  const draw = world.streams.of('torn results');
  for (let i = 0; i < world.knobs.torn; i++)
    world.scheduler.fix(startOfTime + draw.next() * activeMs * 0.9, () => {
      const open = acceptedBatches(world).filter((placed) => publicationOf(world, placed) === undefined);
      if (open.length === 0) return;
      const { tenant, batch } = draw.pick(open);
      const site = draw.pick(clouds);
      const id = { epoch: 1, site, uuid: draw.ids.uuid() };
      const key = resultKey(tenant, batch, { ...id, firstLine: 0, lines: 1, answered: 1 });
      const foreign = `{"v":1,"kind":"result","batch":"batch_${draw.ids.uuid()}","rows":1}\n{"line":0}\n`;
      const bytes = Buffer.from(draw.chance(0.5) ? '{"v":1,"kind":"result","ba' : foreign);
      void world.stores[site].journal.putIfAbsent(key, bytes);
      world.record.reach('torn result planted');
    });
}

/** A store is lost and replaced, a third of the way: by an empty one, or by a backup that has forgotten some minutes. */
function replaceStore(world: World, activeMs: number): void {
  const { replaced } = world.knobs;
  if (replaced === 'none') return;
  const { scheduler, stores } = world;
  const backup = new Map<string, Uint8Array>();
  const { state, journal } = stores[replaced];
  scheduler.fix(startOfTime + activeMs * 0.25, () => {
    for (const key of state.keysUnder('')) backup.set(key, state.peek(key)!);
  });
  scheduler.fix(startOfTime + activeMs * 0.33, () => {
    state.wipe();
    if (replaced === 'witness') journal.wipe();
    else for (const [key, bytes] of backup) void state.putIfAbsent(key, bytes);
    world.record.reach('store replaced');
    void nameReplaced(world, replaced);
  });
}

/** People say that a store is a new one, until two others have decided so. */
async function nameReplaced(world: World, store: 'witness' | 'azure'): Promise<void> {
  const { process, core } = world.spawn('laptop', 'outside', 'aws');
  for (let round = 0; round < 200; round++) {
    try {
      const cause = { actor: 'operator:replacer', reason: `${store} was replaced`, operation: `replace-${store}` };
      await replaceVoter(core, store, `${store}-2`, cause);
      break;
    } catch {
      await process.clock.sleep(20_000);
    }
  }
  process.kill();
}

/** When all is well again people put back what they had changed by hand, and give it time. */
function helpBack(world: World, operators: Operators, lost: () => Cloud | undefined): void {
  const give = (command: Parameters<Operators['give']>[0]['command'], name: string, force: RuleName[] = []) =>
    operators.give({
      command,
      force: ['minimum-interval', ...force],
      at: lost() === 'aws' ? 'azure' : 'aws',
      operationId: `tidy-${name}-${world.now}`,
    });
  world.scheduler.after(60_000, () => {
    void (async () => {
      await give({ kind: 'unfreeze' }, 'unfreeze');
      for (const site of clouds) await give({ kind: 'uncordon', site }, `uncordon-${site}`);
    })();
  });
  // Whoever was failed over by hand comes back by hand; verdicts may hold back for hours what a person sees at once.
  const back = (round: number) => {
    if (round > 12) return;
    world.scheduler.after(600_000, () => {
      void (async () => {
        const force: RuleName[] = round < 6 ? [] : ['target-healthy'];
        const from = lost();
        // A cloud that is gone for good may have been the only one that was active: that takes a person.
        if (from !== undefined)
          await give(
            { kind: 'failover', from, to: from === 'aws' ? 'azure' : 'aws', scope: { kind: 'all' }, mode: 'forced' },
            'give-up',
            ['no-solo-flip', 'target-healthy'],
          );
        else
          for (const site of clouds) await give({ kind: 'failback', site, step: 'start' }, `failback-${site}`, force);
        back(round + 1);
      })();
    });
  };
  back(0);
}

/** Everything accepted is published, everywhere, and both journals hold the same. */
function isAtRest(world: World, lost: Cloud | undefined): boolean {
  if (pending(world, lost).length > 0) return false;
  return lost !== undefined || (differences(world).length === 0 && areLogsEqual(world));
}

function areLogsEqual(world: World): boolean {
  const [aws, azure] = clouds.map((site) => world.stores[site].journal.keysUnder('control/').length);
  return aws === azure;
}

/** Points that processes tell of. */
function notePoint(world: World, event: string, fields: LogFields): void {
  const { record } = world;
  if (event === 'publication.decided')
    record.reach(fields.own === true ? 'own value decided' : 'value of another adopted');
  else if (event === 'control.lost') record.reach('control proposal lost');
  else if (event === 'fact.quarantined') record.reach('fact quarantined');
  else if (event === 'peer.unanswered') record.reach('peer did not answer intake');
  else if (event === 'refusals.doubted') record.reach('refusals doubted');
  else if (event === 'register.vote_missed') record.reach('vote missed');
  else if (event === 'idempotency.split') record.reach('one key, two batches');
  else if (event === 'chunk.givenBack') record.reach('chunk given back');
  else if (event === 'site.judged' && fields.health === 'down') record.reach('site judged down');
}

function noteQueues(world: World): void {
  const { record } = world;
  for (const site of clouds)
    for (const part of ['intake', 'work'] as const) {
      const { duplicates, lostLeases, expired, staleSettlements } = world.queues[site][part].seen;
      for (const [point, count] of Object.entries({
        'message handed out twice': duplicates,
        'lease lost early': lostLeases,
        'lease expired': expired,
        'settled too late': staleSettlements,
      }))
        if (count > 0) record.reach(point);
    }
  if ((world.board.met.drop_reply ?? 0) > 0) record.reach('reply lost');
  if (world.network.lostWrites > 0) record.reach('reply lost, write had succeeded');
  for (const placed of acceptedBatches(world)) {
    if (acceptanceOf(world, placed)?.receipt !== 'single') continue;
    const isBoth = clouds.every((site) => publicationOf(world, placed, site) !== undefined);
    if (isBoth) record.reach('single receipt mirrored later');
  }
  if (world.credits.throttled > 0) record.reach('namespace throttled');
}
