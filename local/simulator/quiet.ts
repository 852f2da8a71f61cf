import { isAutomatic } from '../../shared/control/decide.ts';
import type { Observation } from '../../shared/health/types.ts';
import type { ControlHistory } from './checkers/control.ts';
import { openDrills } from './checkers/drills.ts';
import { isAtRest } from './rest.ts';
import { clouds, type World } from './world.ts';

/** Ticks that a world is given before something comes again: every observer looks, writes and is read by the others. */
const wakingTicks = 3;
/** For so many ticks nothing may have been written that tells of work. */
const stillTicks = 2;
/** A fault that nobody has noticed for so many ticks, more than any window of a judge, is one that harms nobody now. */
const unnoticedTicks = 10;

/**
 * Runs while faults strike. Time in which nothing can happen but the passing of it is left out, all but its last ticks:
 * that is what would happen if all processes stood still so long, so nothing is seen that could not be.
 * @param planted messages that nobody understands, and that go round for ever
 * @param isOver asked between any two events: true ends it before its time
 * @returns time left out
 */
export async function runActive(
  world: World,
  history: ControlHistory,
  planted: readonly { body: string }[],
  end: number,
  isOver: () => boolean,
): Promise<number> {
  const { scheduler, settings, knobs } = world;
  const sliceMs = settings.tickMs;
  let skippedMs = 0;
  while (world.now < end && !isOver()) {
    await scheduler.run(Math.min(end, world.now + sliceMs), isOver);
    if (!knobs.leavesOutQuiet || !isQuiet(world, history, planted)) continue;
    const wakeAt = Math.min(end, scheduler.nextFixed ?? end) - wakingTicks * settings.tickMs;
    if (wakeAt - world.now < sliceMs) continue;
    skippedMs += wakeAt - world.now;
    scheduler.leaveOut(wakeAt);
  }
  return skippedMs;
}

/**
 * Nothing is wrong that anybody noticed, nothing was written for some ticks, the queues are empty, and nobody is on his way back. All is at
 * rest, or waits for a person who has sent a site away.
 */
function isQuiet(world: World, history: ControlHistory, planted: readonly { body: string }[]): boolean {
  const { board, record, now, settings, queues } = world;
  const head = history.head;
  if (head === undefined || board.active.some(({ since }) => now - since < unnoticedTicks * settings.tickMs))
    return false;
  if (now - record.lastWorkAt < stillTicks * settings.tickMs || isUnderWay(history)) return false;
  const holdsWork = clouds.some((site) =>
    [queues[site].intake, queues[site].work].some(
      (queue) => queue.backlog > 0 && queue.bodies().some((body) => !planted.some((one) => one.body === body)),
    ),
  );
  if (holdsWork || isAnybodyIll(world) || openDrills(world).length > 0) return false;
  const isSentAway = Object.values(head.sites).some(({ state }) => state === 'fenced' || state === 'cordoned');
  return isSentAway || isAtRest(world, undefined);
}

/** Some observer held some site for worse than healthy when it last said so: time is what its verdict waits for. */
function isAnybodyIll({ stores }: World): boolean {
  return Object.values(stores).some(({ state }) =>
    state.keysUnder('observations/').some((key) => {
      if (!/^observations\/[a-z0-9-]+\.json$/.test(key)) return false;
      return tellsOfIll(state.peek(key)!);
    }),
  );
}

const ill = new WeakMap<Uint8Array, boolean>();

/** Each observation as it lies in a store is read once: it never changes, and is looked at each tick. */
function tellsOfIll(bytes: Uint8Array): boolean {
  const known = ill.get(bytes);
  if (known !== undefined) return known;
  const { verdicts } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Observation;
  const isIll = verdicts.some(({ health }) => health !== 'healthy');
  ill.set(bytes, isIll);
  return isIll;
}

/** True while machines are to change something in their own time: a return, a spillover, a voter that joins. */
function isUnderWay({ head, entries }: ControlHistory): boolean {
  if (head === undefined || head.voters.some(({ joining }) => joining === true)) return true;
  const isByMachine = (epoch: number) => {
    const cause = entries.get(epoch);
    return cause === undefined || isAutomatic(cause.entry);
  };
  // What a person sent away comes back when a person says so.
  return (
    head.moves.some(({ since }) => isByMachine(since)) ||
    Object.values(head.sites).some(
      ({ state, weight, fencedEpoch }) =>
        state === 'recovering' ||
        (state === 'active' && [5, 25].includes(weight)) ||
        (state === 'fenced' && isByMachine(fencedEpoch)),
    )
  );
}
