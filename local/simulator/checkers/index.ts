import type { Drills } from '../actors/drills.ts';
import type { Disturbance } from '../schedule.ts';
import type { World } from '../world.ts';
import { acceptedIsMirrored } from './acceptance.ts';
import { ControlHistory, controlLogHolds, fencedSitesRest, returningSitesHoldAll } from './control.ts';
import { journalsConverge } from './convergence.ts';
import { copiesAreBounded } from './copies.ts';
import { drillsLeaveNothing } from './drills.ts';
import { factsNeverChange } from './facts.ts';
import { onlyTheSickAreFailedOver } from './false-alarm.ts';
import { halvingIsBounded } from './halving.ts';
import { takeoverIsBounded } from './headroom.ts';
import { hintsOutliveTheirBatches } from './hints.ts';
import { inputsAreKept } from './journal.ts';
import type { Judge } from './judge.ts';
import { laterVersionsAreKept, outageIsNoPoison } from './outage.ts';
import { oneResultEach, publishedIsHeld, publishedOnce } from './publication.ts';
import { repetitionIsBounded } from './repetition.ts';
import { settledLast } from './settling.ts';
import { witnessIsNotMissed } from './stability.ts';

/** What a run tells its judges about itself. */
export interface JudgedRun {
  schedule: readonly Disturbance[];
  /** When the faults ended that had no end of their own. */
  endOfFaults: () => number;
  /** Pointers of a later version that were put into queues. */
  planted: { site: 'aws' | 'azure'; body: string }[];
  drills: Pick<Drills, 'faults'>;
}

/** All judges of one run, told of everything from now on. */
export function judgesOf(world: World, run: JudgedRun): { judges: Judge[]; history: ControlHistory } {
  const history = new ControlHistory();
  const judges = [
    inputsAreKept(world),
    controlLogHolds(world, history),
    factsNeverChange(world),
    acceptedIsMirrored(world),
    publishedIsHeld(world),
    oneResultEach(world),
    publishedOnce(world),
    fencedSitesRest(world, history),
    returningSitesHoldAll(world, history),
    settledLast(world, history),
    hintsOutliveTheirBatches(world),
    onlyTheSickAreFailedOver(world, history),
    outageIsNoPoison(world),
    laterVersionsAreKept(world, run.planted),
    journalsConverge(world),
    repetitionIsBounded(world, run.schedule, run.endOfFaults),
    halvingIsBounded(world),
    copiesAreBounded(world),
    witnessIsNotMissed(world, history, run.schedule),
    takeoverIsBounded(world),
    drillsLeaveNothing(world, history, run.drills.faults),
  ];
  for (const { watcher } of judges) if (watcher !== undefined) world.record.watch(watcher);
  return { judges, history };
}
