import type { World } from './support.ts';

/**
 * Runs tasks at the same time, letting one store call of either through at a time in an order drawn by `random`, so
 * that every interleaving of their reads and writes can come up. Gives how each task settled.
 */
export async function interleave<T>(
  world: World,
  random: () => number,
  tasks: readonly (() => Promise<T>)[],
): Promise<PromiseSettledResult<T>[]> {
  const gates: (() => void)[] = [];
  const stores = (['aws', 'azure'] as const).flatMap((id) => [world.hands[id].journal, world.hands[id].state]);
  for (const { faults } of stores) faults.before = () => new Promise<void>((open) => gates.push(open));
  let isDone = false;
  const settled = Promise.allSettled(tasks.map((task) => task())).then((results) => {
    isDone = true;
    return results;
  });
  while (!isDone) {
    await new Promise(setImmediate);
    gates.splice(Math.floor(random() * gates.length), 1)[0]?.();
  }
  for (const { faults } of stores) faults.before = undefined;
  return settled;
}
