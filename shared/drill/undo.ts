import { applyCommand, type ControlCommand } from '../control/commands.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { returningSite } from '../redrive/failback.ts';
import type { DrillState } from './facts.ts';
import { drillActor } from './tenant.ts';

/** What is left to undo of what a drill did to the control log. */
export type Undo =
  | { kind: 'command'; command: ControlCommand; why: string }
  /**
   * It goes on by itself: a return is taken step by step by the monitors.
   * @param isOwn it is a trace of this drill; else something else that happened meanwhile
   */
  | { kind: 'wait'; why: string; isOwn: boolean }
  | { kind: 'done' };

/**
 * The next thing to undo, from the control log alone: whoever finds a drill whose runner is gone can do it. Moves go
 * back, a cordoned site is opened, a fenced one starts its return, and weights become what they were. What a person did
 * since stays as it is. Pure.
 * @param past every entry since the drill began, and those that fenced the sites which are away
 */
export function undoOf(
  drill: string,
  before: DrillState['before'],
  control: ControlEntry,
  past: readonly ControlEntry[],
): Undo {
  const actor = drillActor(drill);
  const entries = [control, ...past].toSorted((a, b) => b.epoch - a.epoch);
  const since = entries.filter(({ epoch }) => epoch > before.epoch);
  const causeOf = (epoch: number) => entries.find((entry) => entry.epoch === epoch)?.actor ?? '';
  const command = (command: ControlCommand, why: string): Undo => ({ kind: 'command', command, why });
  let waits: Extract<Undo, { kind: 'wait' }> | undefined;
  const wait = (why: string, isOwn: boolean) => {
    if (waits?.isOwn !== true) waits = { kind: 'wait', why, isOwn };
  };
  for (const { scope, name, from, to, since: epoch } of control.moves) {
    if (causeOf(epoch) === actor)
      return command({ kind: 'failback', site: from, step: 'return', scope: { kind: scope, name } }, `${name} returns`);
    if (epoch > before.epoch && isMachine(causeOf(epoch)))
      wait(`${scope} ${name} is moved from ${from} to ${to}`, false);
  }
  for (const [site, { state, fencedEpoch }] of Object.entries(control.sites)) {
    if (before.sites[site] === undefined || before.sites[site].state === state) continue;
    if (state === 'cordoned' && lastTo(site, entries)?.actor === actor)
      return command({ kind: 'uncordon', site }, `${site} takes new work again`);
    if (state === 'fenced' && causeOf(fencedEpoch) === actor)
      return command({ kind: 'failback', site, step: 'start' }, `${site} starts its return`);
    if (state === 'fenced' && isMachine(causeOf(fencedEpoch))) wait(`${site} is fenced until it is well again`, false);
    if (state === 'recovering') wait(`${site} is recovering`, causeOf(fencedEpoch) === actor);
  }
  const joining = control.voters.find((voter) => voter.joining === true);
  const isOwnVoter = since.some(
    (entry) => entry.actor === actor && entry.voters.some(({ incarnation }) => incarnation === joining?.incarnation),
  );
  if (joining !== undefined && isOwnVoter) wait(`the store of ${joining.store} does not hold every register yet`, true);
  const isOpen = Object.values(control.sites).every(({ state }) => state === 'active');
  if (!isOpen) return waits ?? { kind: 'done' };
  const returning = returningSite(control, past);
  if (returning !== undefined) {
    wait(`${returning} takes weight in steps`, causeOf(control.sites[returning]!.fencedEpoch) === actor);
    return waits!;
  }
  const weights = Object.fromEntries(
    Object.entries(before.sites).flatMap(([site, { weight }]) =>
      control.sites[site] !== undefined && control.sites[site].weight !== weight ? [[site, weight]] : [],
    ),
  );
  // What machines give to a site that was returning before the drill is not the drill's to take back.
  const isMade = since.some((entry) => {
    const earlier = entries.find(({ epoch }) => epoch === entry.epoch - 1);
    const isFence = Object.values(entry.sites).some(({ fencedEpoch }) => fencedEpoch === entry.epoch);
    return isFence || (entry.actor === actor && !isEqual(entry.sites, earlier?.sites));
  });
  const isOurs = isMade && since.every((entry) => entry.actor === actor || isMachine(entry.actor));
  if (
    Object.keys(weights).length > 0 &&
    isOurs &&
    !('impossible' in applyCommand(control, { kind: 'weights', weights }))
  )
    return command({ kind: 'weights', weights }, 'weights are as they were');
  return waits ?? { kind: 'done' };
}

const isEqual = (a: object, b: object = {}) => JSON.stringify(a) === JSON.stringify(b);
const isMachine = (actor: string) => actor.startsWith('monitor/');

/** The entry by which a site came to be what it is. */
function lastTo(site: string, entries: readonly ControlEntry[]): ControlEntry | undefined {
  const { state } = entries[0]!.sites[site]!;
  return entries.find((entry, i) => {
    const earlier = entries[i + 1];
    return earlier === undefined || earlier.epoch !== entry.epoch - 1 || earlier.sites[site]?.state !== state;
  });
}
