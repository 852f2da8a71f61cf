import { clouds, type World } from '../world.ts';
import type { Judge } from './judge.ts';

/** Times that a line was answered although it had been answered before, over both clouds. */
export function repeatsOf({ models }: World): number {
  const asked = new Map<string, number>();
  for (const site of clouds)
    for (const [text, times] of models[site].asked) asked.set(text, (asked.get(text) ?? 0) + times);
  return [...asked.values()].reduce((sum, times) => sum + times - 1, 0);
}

/**
 * I9, as far as a record can tell it: where nothing went wrong, nothing is computed twice; otherwise each thing that went
 * wrong (a fault, a message handed out twice, a lease that ended early) may cost at most what was in flight, which is
 * bounded by all lines there are.
 */
export function repetitionIsBounded(world: World, struck: () => number, lines: () => number): Judge {
  return {
    atEnd() {
      const repeats = repeatsOf(world);
      if (repeats > 0) world.record.reach('line computed twice');
      const queues = clouds.flatMap((site) => [world.queues[site].intake.seen, world.queues[site].work.seen]);
      const redelivered = queues.reduce((sum, seen) => sum + seen.duplicates + seen.lostLeases + seen.expired, 0);
      const causes = struck() * 3 + redelivered;
      if (repeats > causes * lines())
        world.record.violated('I9', `${repeats} lines were computed again, for ${causes} reasons and ${lines()} lines`);
    },
  };
}
