import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { profileOf, windowMs } from '../../../shared/health/types.ts';
import { batchOfKey } from '../../../shared/journal/keys.ts';
import type { Disturbance } from '../schedule.ts';
import { clouds, startOfTime, type World } from '../world.ts';
import { idsOf, inputOf, linesOf, type PlacedBatch } from './journal.ts';
import type { Judge } from './judge.ts';

/** Times that a line was answered although it had been answered before, over both clouds. */
export function repeatsOf({ models }: World): number {
  const asked = new Map<string, number>();
  for (const site of clouds)
    for (const [text, times] of models[site].asked) asked.set(text, (asked.get(text) ?? 0) + times);
  return [...asked.values()].reduce((sum, times) => sum + times - 1, 0);
}

/** From when to when a batch had lines that something could do to again. */
interface Open {
  placed: PlacedBatch;
  from: number;
  until: number;
  /** As it was accepted: the file may be deleted later. */
  input: Uint8Array | undefined;
}

/** Lines that were asked for more than once: sent again without a key, a job is a second batch. */
function askedTwice(open: Iterable<Open>): number {
  const all = [...open].flatMap(({ input }) => (input === undefined ? [] : linesOf(input)));
  return all.length - new Set(all).size;
}

/** @source local/simulator/actors/drills.ts, drill-files.ts */
const drillMs = 40 * 60_000;
/** A line may be in work in each cloud, and its result lost on the way to a store once more. */
const timesPerCause = 3;

/**
 * I9, as far as a record can tell it. Each thing that went wrong (a fault, a command, a change of the control log) may
 * cost the lines of those batches again that were open while it lasted or until it was noticed; each message that was
 * handed out twice, or whose lease ended early, one chunk. What was published before, or accepted after, costs nothing.
 */
export function repetitionIsBounded(world: World, schedule: readonly Disturbance[], endOfFaults: () => number): Judge {
  const { record, settings, knobs } = world;
  const open = new Map<string, Open>();
  const changes: number[] = [];
  const noticedMs = 3 * windowMs(profileOf(settings)) + settings.runMs + settings.dispatchLeaseMs;
  return {
    watcher: {
      created({ container }, key) {
        if (container !== 'journal') return;
        if (key.startsWith('control/')) changes.push(record.now);
        const placed = batchOfKey(key);
        if (placed === undefined || placed.tenant === canaryTenant) return;
        if (key.includes('/acceptances/') && !open.has(placed.batch))
          open.set(placed.batch, {
            placed,
            from: record.now,
            until: Number.POSITIVE_INFINITY,
            input: inputOf(world, placed),
          });
        const one = open.get(placed.batch);
        // Readable in one cloud at first, in the other one later: the last time counts.
        if (key.endsWith('/publication.json') && one !== undefined) one.until = record.now;
      },
    },
    atEnd() {
      const repeats = repeatsOf(world);
      if (repeats === 0) return;
      record.reach('line computed twice');
      const spans = [
        ...schedule.map((one) => {
          const from = startOfTime + one.fromMs;
          if (one.kind === 'order') return { from, until: from };
          // Whoever wants one asks for some time, and then it has a limit.
          if (one.kind === 'drill') return { from, until: from + drillMs };
          return { from, until: one.untilMs === undefined ? endOfFaults() : startOfTime + one.untilMs };
        }),
        ...changes.map((at) => ({ from: at, until: at })),
      ];
      const lines = new Map([...open].map(([id, { input }]) => [id, input === undefined ? 0 : idsOf(input).length]));
      const exposed = spans.reduce(
        (sum, { from, until }) =>
          [...open].reduce(
            (all, [id, one]) => all + (one.from <= until + noticedMs && from <= one.until ? lines.get(id)! : 0),
            sum,
          ),
        0,
      );
      const queues = clouds.flatMap((site) => [world.queues[site].intake.seen, world.queues[site].work.seen]);
      const redelivered = queues.reduce((sum, seen) => sum + seen.duplicates + seen.lostLeases + seen.expired, 0);
      // Chunks of embeddings are twice as long.
      const bound = timesPerCause * exposed + redelivered * 2 * knobs.chunkLines + askedTwice(open.values());
      if (repeats > bound)
        record.violated('I9', `${repeats} lines were computed again, and what went wrong explains ${bound}`);
    },
  };
}
