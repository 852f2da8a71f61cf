import type { ControlEntry } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';

/**
 * What a person or a machine may want of the control log. A command is data, and `applyCommand` says what state it
 * wants; whether that is wise, the rules say (`rules.ts`); whether it happens, the registers decide (`execute.ts`).
 */
export type ControlCommand =
  | { kind: 'failover'; from: SiteId; to: SiteId; scope: Scope; mode: 'graceful' | 'forced' }
  /** `start`: fenced → recovering. A weight: recovering → active with that weight, or the next step of one. */
  | { kind: 'failback'; site: SiteId; step: 'start' | number }
  /** Takes back a scoped failover or a spillover. */
  | { kind: 'failback'; site: SiteId; step: 'return'; scope: Exclude<Scope, { kind: 'all' }> }
  | { kind: 'cordon' | 'uncordon' | 'drain'; site: SiteId }
  | { kind: 'freeze' | 'unfreeze' }
  | { kind: 'weights'; weights: Readonly<Record<SiteId, number>> }
  /** A store was restored from a backup, or is a new one: it votes as `incarnation`, once it knows what the others know. */
  | { kind: 'replace-store'; store: string; incarnation: string };

export type Scope = { kind: 'all' } | { kind: 'model' | 'batch'; name: string };

/** The part of an entry that a command changes. */
export type ControlState = Pick<ControlEntry, 'sites' | 'voters' | 'frozen' | 'moves'>;

/** What a command leads to, or a sentence saying why there is no such thing. */
export type Applied = { state: ControlState } | { impossible: string };

/** Weights that a returning site takes, one after the other (DESIGN.md section 7.3). */
export const failbackSteps = [5, 25, 50, 100] as const;

/**
 * The state that `command` wants after `control`: everything it does not name stays as it is. A site that is fenced is
 * fenced by the entry that will hold this state, `control.epoch + 1`. Pure; a command that has happened already changes
 * nothing.
 */
export function applyCommand(control: ControlEntry, command: ControlCommand): Applied {
  const unknown = sitesOf(command).find((id) => control.sites[id] === undefined);
  if (unknown !== undefined)
    return { impossible: `there is no site ${unknown}; there are ${Object.keys(control.sites).join(', ')}` };
  const state = stateOf(control);
  switch (command.kind) {
    case 'failover':
      return failover(state, command, control.epoch + 1);
    case 'failback':
      return 'scope' in command ? moveBack(state, command) : failback(state, command.site, command.step);
    case 'cordon':
    case 'drain':
      return cordon(state, command.site);
    case 'uncordon':
      return uncordon(state, command.site);
    case 'freeze':
    case 'unfreeze':
      return { state: { ...state, frozen: command.kind === 'freeze' } };
    case 'weights':
      return weights(state, command.weights);
    case 'replace-store':
      return replaceStore(state, command.store, command.incarnation);
  }
}

/** Sites that a command names. */
export function sitesOf(command: ControlCommand): SiteId[] {
  switch (command.kind) {
    case 'failover':
      return [command.from, command.to];
    case 'freeze':
    case 'unfreeze':
    case 'replace-store':
      return [];
    case 'weights':
      return Object.keys(command.weights);
    default:
      return [command.site];
  }
}

/** The state in an entry, to be changed freely. */
export function stateOf(control: ControlState): ControlState {
  const { sites, voters, frozen, moves } = structuredClone(control);
  return { sites, voters, frozen, moves };
}

function failover(
  state: ControlState,
  { from, to, scope, mode }: Extract<ControlCommand, { kind: 'failover' }>,
  epoch: number,
): Applied {
  if (from === to) return { impossible: `from and to are both ${from}` };
  const [source, target] = [state.sites[from]!, state.sites[to]!];
  if (scope.kind !== 'all') return { state: { ...state, moves: moved(state, scope, from, to, epoch) } };
  if (mode === 'graceful' && source.state === 'active') {
    if (target.state !== 'active')
      return { impossible: `${to} is ${target.state}: a graceful failover goes to an active site` };
    return cordon(state, from);
  }
  if (source.state !== 'fenced') {
    source.state = 'fenced';
    source.fencedEpoch = epoch;
  }
  source.weight = 0;
  target.state = 'active';
  const isAlone = Object.values(state.sites).filter((site) => site.state === 'active').length === 1;
  if (isAlone || target.weight === 0) target.weight = 100;
  // The whole site has moved: what was moved away from it, or to it, follows no rule of its own any more.
  state.moves = state.moves.filter((move) => move.from !== from && move.to !== from);
  return { state };
}

function moved(
  state: ControlState,
  { kind, name }: Exclude<Scope, { kind: 'all' }>,
  from: SiteId,
  to: SiteId,
  epoch: number,
): ControlState['moves'] {
  if (state.moves.some((move) => move.scope === kind && move.name === name && move.from === from && move.to === to))
    return state.moves;
  const others = state.moves.filter((move) => move.scope !== kind || move.name !== name);
  return [...others, { scope: kind, name, from, to, since: epoch }];
}

function moveBack(
  state: ControlState,
  { site, scope }: Extract<ControlCommand, { kind: 'failback'; step: 'return' }>,
): Applied {
  const moves = state.moves.filter(
    (move) => move.scope !== scope.kind || move.name !== scope.name || move.from !== site,
  );
  return { state: { ...state, moves } };
}

function failback(state: ControlState, id: SiteId, step: 'start' | number): Applied {
  const site = state.sites[id]!;
  if (step === 'start') {
    if (site.state === 'active' || site.state === 'cordoned')
      return { impossible: `${id} is ${site.state}: it has not been failed over` };
    site.state = 'recovering';
    return { state };
  }
  if (!Number.isInteger(step) || step < 1 || step > 100)
    return { impossible: `a weight is a whole number from 1 to 100, not ${step}` };
  if (site.state !== 'recovering' && site.state !== 'active')
    return {
      impossible:
        site.state === 'fenced'
          ? `${id} is fenced: its return has to be started first, so that it gets the facts that it lacks`
          : `${id} is ${site.state}: uncordon it`,
    };
  site.state = 'active';
  site.weight = step;
  return { state };
}

function cordon(state: ControlState, id: SiteId): Applied {
  const site = state.sites[id]!;
  if (site.state !== 'active' && site.state !== 'cordoned')
    return { impossible: `${id} is ${site.state}: it takes nothing as it is` };
  site.state = 'cordoned';
  return { state };
}

function uncordon(state: ControlState, id: SiteId): Applied {
  const site = state.sites[id]!;
  if (site.state !== 'active' && site.state !== 'cordoned')
    return { impossible: `${id} is ${site.state}: it comes back by a failback` };
  site.state = 'active';
  return { state };
}

function weights(state: ControlState, wanted: Readonly<Record<SiteId, number>>): Applied {
  for (const [id, weight] of Object.entries(wanted)) {
    const site = state.sites[id]!;
    if (!Number.isInteger(weight) || weight < 0 || weight > 100)
      return { impossible: `a weight is a whole number from 0 to 100, not ${weight}` };
    if (weight > 0 && (site.state === 'fenced' || site.state === 'recovering'))
      return { impossible: `${id} is ${site.state}: it takes weight by a failback` };
    site.weight = weight;
  }
  return { state };
}

/** Two that may not vote would leave none to decide. */
function replaceStore(state: ControlState, store: string, incarnation: string): Applied {
  const voters = state.voters.map((voter) => voter.store);
  if (!voters.includes(store)) return { impossible: `there is no store ${store}; there are ${voters.join(', ')}` };
  const joining = state.voters.find((voter) => voter.joining === true && voter.store !== store);
  if (joining !== undefined)
    return { impossible: `${joining.store} was replaced and does not vote yet: wait until it does` };
  const isMeant = (voter: ControlState['voters'][number]) => voter.store === store && voter.incarnation !== incarnation;
  const after = state.voters.map((voter) => (isMeant(voter) ? { store, incarnation, joining: true } : voter));
  return { state: { ...state, voters: after } };
}

/** What differs, in sentences for people; none where nothing does. */
export function describeChange(before: ControlState, after: ControlState): string[] {
  const sentences: string[] = [];
  for (const [id, site] of Object.entries(after.sites)) {
    const was = before.sites[id];
    if (was === undefined) sentences.push(`${id}: new, ${site.state}`);
    else if (was.state !== site.state) sentences.push(`${id}: ${was.state} → ${site.state}`);
    if (was !== undefined && was.weight !== site.weight) sentences.push(`${id}: weight ${was.weight} → ${site.weight}`);
  }
  const key = (move: ControlState['moves'][number]) => `${move.scope} ${move.name}: ${move.from} → ${move.to}`;
  const [was, is] = [before.moves.map(key), after.moves.map(key)];
  sentences.push(...is.filter((one) => !was.includes(one)).map((one) => `moved, ${one}`));
  sentences.push(...was.filter((one) => !is.includes(one)).map((one) => `no longer moved, ${one}`));
  if (before.frozen !== after.frozen)
    sentences.push(after.frozen ? 'control is frozen' : 'control is no longer frozen');
  for (const { store, incarnation, joining } of after.voters) {
    const voted = before.voters.find((voter) => voter.store === store);
    if (voted?.incarnation !== incarnation)
      sentences.push(`store of ${store}: replaced, and does not vote until it holds every register`);
    else if (voted.joining === true && joining !== true)
      sentences.push(`store of ${store}: holds every register, and votes`);
  }
  return sentences;
}
