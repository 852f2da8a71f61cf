import { clouds, type World } from '../world.ts';
import type { Judge } from './judge.ts';

/** The most that was seen was 11, of a broker that had completed nothing for 90 minutes. */
const alikeMax = (hours: number) => 30 + 10 * hours;

/**
 * I9: a pointer is sent again while it is open, and what it replaces is completed or comes again. Where each that comes
 * again is sent once more, there are twice as many with each lock that ends.
 */
export function copiesAreBounded({ queues, record, knobs }: World): Judge {
  return {
    atEnd() {
      for (const queue of clouds.flatMap((site) => [queues[site].intake, queues[site].work]))
        if (queue.mostAlike > alikeMax(knobs.hours))
          record.violated('I9', `${queue.name} held one pointer ${queue.mostAlike} times at once`);
    },
  };
}
