import { Client, type Job, linesOf } from './actors/client.ts';
import type { Stream } from './engine/random.ts';
import type { Disturbance } from './schedule.ts';
import type { FrontDoors } from './services/front.ts';
import { type Cloud, clouds, startOfTime, type World } from './world.ts';

/** What clients send, and when: most of it just before or after something goes wrong. @returns lines of all batches */
export function startClients(
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
