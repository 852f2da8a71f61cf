import { describe, expect, test } from '@jest/globals';
import { enterPhase, newDrillState, nextDrillMove } from '../../../shared/drill/machine.ts';
import { undoOf } from '../../../shared/drill/undo.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { drill, shadowSource } from './support.ts';

type Sites = ControlEntry['sites'];
const site = (state: string, weight: number, fencedEpoch = 0) =>
  ({ cloud: 'aws', region: 'r', generation: 1, state, weight, fencedEpoch }) as unknown as Sites[string];

function entry(epoch: number, actor: string, aws: Sites[string], azure: Sites[string]): ControlEntry {
  return {
    epoch,
    actor,
    sites: { aws, azure },
    moves: [],
    voters: [],
    frozen: false,
    at: epoch * 1000,
  } as unknown as ControlEntry;
}
/** What is left to undo of `drill/d` after these entries, the first of which it found. */
function left(...log: ControlEntry[]) {
  const { before } = newDrillState(log[0]!, 0);
  return undoOf('d', before, log.at(-1)!, log.slice(0, -1));
}

const found = entry(1, 'operator:a', site('active', 80), site('active', 20));
const fenced = entry(2, 'drill/d', site('fenced', 0, 2), site('active', 100));

describe('undoing', () => {
  test("what the drill fenced starts its return, is waited for as the drill's own, and gets its weight again", () => {
    expect(left(found, fenced)).toMatchObject({ command: { kind: 'failback', site: 'aws', step: 'start' } });
    const recovering = entry(3, 'drill/d', site('recovering', 0, 2), site('active', 100));
    expect(left(found, fenced, recovering)).toMatchObject({ kind: 'wait', isOwn: true });
    const step = entry(4, 'monitor/azure', site('active', 5, 2), site('active', 100));
    expect(left(found, fenced, recovering, step)).toMatchObject({ kind: 'wait', isOwn: true });
    const back = entry(5, 'monitor/azure', site('active', 100, 2), site('active', 100));
    expect(left(found, fenced, recovering, step, back)).toMatchObject({
      command: { kind: 'weights', weights: { aws: 80, azure: 20 } },
    });
  });

  test('what a machine gives to a site that was returning before the drill stays as the machine left it', () => {
    const log = [
      entry(1, 'monitor/azure', site('recovering', 0, 0), site('active', 100)),
      entry(2, 'monitor/azure', site('active', 5), site('active', 100)),
    ];
    const moved = { ...entry(3, 'drill/d', site('active', 5), site('active', 100)) };
    const risen = entry(4, 'monitor/azure', site('active', 100), site('active', 100));
    const { before } = newDrillState(log[1]!, 0);
    expect(undoOf('d', before, risen, [...log, moved])).toEqual({ kind: 'done' });
  });

  test('whoever took a drill over waits for what its last runner may still have under way', () => {
    const state = { ...enterPhase(newDrillState(found, 0), 'undo', 0), takenAt: 0 };
    const move = (now: number) =>
      nextDrillMove(drill(shadowSource()), state, { ends: undefined, undo: { kind: 'done' } }, now);
    expect(move(39_000)).toMatchObject({ kind: 'wait' });
    expect(move(40_000)).toMatchObject({ kind: 'enter', phase: 'after' });
  });

  test('an incident of others is waited for no longer than `settle`; a trace of the drill is never given up', () => {
    const shadow = drill(shadowSource({ settle: '10s' }));
    const state = enterPhase(newDrillState(found, 0), 'undo', 0);
    const move = (isOwn: boolean, now: number) =>
      nextDrillMove(shadow, state, { ends: undefined, undo: { kind: 'wait', why: 'aws is away', isOwn } }, now);
    expect(move(false, 9_000)).toMatchObject({ kind: 'wait' });
    expect(move(false, 11_000)).toMatchObject({ kind: 'enter', phase: 'after', late: { isOk: false } });
    expect(move(true, 11_000)).toMatchObject({ kind: 'wait' });
    const done = nextDrillMove(shadow, state, { ends: undefined, undo: { kind: 'done' } }, 11_000);
    expect(done).toMatchObject({ kind: 'enter', phase: 'after', late: { name: 'all is as before', isOk: false } });
    const inTime = nextDrillMove(shadow, state, { ends: undefined, undo: { kind: 'done' } }, 9_000);
    expect(inTime).not.toHaveProperty('late');
  });
});
