import type { ProcessSpec } from './process.ts';
import type { Bounds } from './search.ts';

/** Two monitors in the two clouds ask both clouds first, the witness only if one of them does not answer. */
const clouds = ['aws', 'azure'];
/** Somebody who takes AWS for dark. */
const withoutAws = ['azure', 'witness'];

const proposer = (name: string, value: string, attemptsMax: number, prefer?: readonly string[]): ProcessSpec => ({
  name,
  value,
  attemptsMax,
  ...(prefer !== undefined && { prefer }),
});
const learner = (attemptsMax: number): ProcessSpec => ({
  name: 'learner',
  value: undefined,
  attemptsMax,
  prefer: clouds,
});

const alone = [proposer('p1', 'v1', 3, clouds)];
const rivals = [proposer('p1', 'v1', 1, clouds), proposer('p2', 'v2', 1, clouds)];
const apart = [proposer('p1', 'v1', 1, clouds), proposer('p2', 'v2', 1, withoutAws)];
const crash = { process: 0, restart: proposer('p1 again', 'v1', 1, clouds) };

/** What is searched on every change; well under half a minute on one core. */
export const smallBounds: readonly Bounds[] = [
  {
    name: 'one proposer, a reply lost, a call refused',
    processes: alone,
    lostReplies: 1,
    refusals: 1,
    mustDecide: true,
  },
  {
    name: 'one proposer, a reply lost, a call too late',
    processes: alone,
    lostReplies: 1,
    timeouts: 1,
    mustDecide: true,
  },
  { name: 'one proposer, azure slow', processes: alone, slow: 'azure', timeouts: 2, mustDecide: true },
  { name: 'one proposer, aws down, a reply lost', processes: alone, down: 'aws', lostReplies: 1, mustDecide: true },
  { name: 'one proposer, azure down, a reply lost', processes: alone, down: 'azure', lostReplies: 1, mustDecide: true },
  {
    name: 'one proposer, witness down, two replies lost',
    processes: alone,
    down: 'witness',
    lostReplies: 2,
    mustDecide: true,
  },
  {
    name: 'one proposer that asks all three, a reply lost',
    processes: [proposer('p1', 'v1', 2)],
    lostReplies: 1,
    mustDecide: true,
  },
  { name: 'one proposer dies and begins again', processes: [rivals[0]!], crash },
  {
    name: 'one proposer dies and another one begins',
    processes: [rivals[0]!],
    crash: { process: 0, restart: proposer('p2', 'v2', 1, clouds) },
  },
  { name: 'a proposer and a learner', processes: [rivals[0]!, learner(2)] },
  { name: 'two proposers', processes: rivals },
  { name: 'two proposers, azure down', processes: rivals, down: 'azure' },
  { name: 'two proposers, azure down, a reply lost', processes: rivals, down: 'azure', lostReplies: 1 },
  { name: 'two proposers that ask different stores', processes: apart },
  { name: 'two proposers that ask different stores, a reply lost', processes: apart, lostReplies: 1 },
  { name: 'two proposers that ask different stores, a call refused', processes: apart, refusals: 1 },
  { name: 'two proposers that ask different stores, azure slow', processes: apart, slow: 'azure', timeouts: 1 },
];

/** What takes two minutes of one core, with the small ones; by command, `holdfast simulate --registers`. */
export const largeBounds: readonly Bounds[] = [
  { name: 'two proposers that ask different stores, a call too late', processes: apart, timeouts: 1 },
  { name: 'two proposers that ask different stores, aws down', processes: apart, down: 'aws' },
  { name: 'two proposers, a call refused', processes: rivals, refusals: 1 },
  { name: 'two proposers, a reply lost', processes: rivals, lostReplies: 1 },
  { name: 'two proposers, a call too late', processes: rivals, timeouts: 1 },
  {
    name: 'two proposers that ask different stores, azure down, one dies and begins again',
    processes: apart,
    down: 'azure',
    crash,
  },
  { name: 'a proposer and a learner, a reply lost', processes: [rivals[0]!, learner(2)], lostReplies: 1 },
  { name: 'a proposer and a learner, a call too late', processes: [rivals[0]!, learner(2)], timeouts: 1 },
];
