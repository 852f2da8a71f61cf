import { unplanned } from '../health/progress.ts';
import type { SeenObservation } from '../health/types.ts';
import type { ControlEntry, SiteState } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import type { ControlCommand, ControlState } from './commands.ts';
import { backlogAt, isWitnessSeen, type Opinion, opinionOf } from './opinion.ts';
import type { ControlPolicy } from './policy.ts';

/** Everything the rules look at: data, so that an objection can be replayed. */
export interface Situation {
  control: ControlEntry;
  /** Earlier entries, any order: at least those of the last `minimumIntervalMs`, their predecessors, and the fencing ones. */
  past: readonly ControlEntry[];
  observations: readonly SeenObservation[];
  policy: ControlPolicy;
  now: EpochMs;
  /** Who wants it: `monitor/…` is a machine, `drill/…` a rehearsal, anybody else a person. */
  actor: string;
  /** Sites proved to hold every fact that the others hold. */
  converged: ReadonlySet<SiteId>;
  /** Sites that learn only now that another one was alone: until this moment they worked as active ones. */
  surprised: ReadonlySet<SiteId>;
}

/** A situation with nothing proved; `given` adds what is known. */
export function situationOf(
  given: Pick<Situation, 'control' | 'observations' | 'policy' | 'now' | 'actor'> & Partial<Situation>,
): Situation {
  return { past: [], converged: new Set(), surprised: new Set(), ...given };
}

/** One command, before and after. */
interface Change {
  command: ControlCommand;
  before: ControlState;
  after: ControlState;
}

export interface Objection {
  rule: RuleName;
  /** Why, as a sentence that names what was seen. */
  sentence: string;
}

/** Why a change must not be, or `undefined`. */
type Rule = (change: Change, situation: Situation) => string | undefined;

/**
 * Safety rules by name, in the order in which they are told. Each may be overridden by a person who names it and gives
 * a reason (`--force RULE`), but for those in `unforceable`.
 */
const rules = {
  'at-least-one-active': ({ after }) =>
    sitesIn(after, 'active').length > 0 ? undefined : 'it would leave no site active',

  'not-frozen': ({ command, before }) =>
    before.frozen && command.kind !== 'unfreeze' && command.kind !== 'freeze'
      ? 'control is frozen: nothing changes until somebody unfreezes it'
      : undefined,

  'target-healthy': (change, situation) => {
    const targets = receivers(change).map((id) => opinion(id, situation));
    const isAnyWell = targets.some(({ isWell }) => isWell);
    // What is taken from one site may go to any of the others; what is given to one goes to that one.
    const isOk = gainers(change).length > 0 ? targets.every(({ isWell }) => isWell) : isAnyWell;
    return targets.length === 0 || isOk ? undefined : targets.map(whyNotWell).filter(Boolean).join('; ');
  },

  'target-has-models-and-headroom': ({ command }, { observations, policy, now }) => {
    if (command.kind !== 'failover' || command.scope.kind === 'batch') return undefined;
    const { from, to, scope } = command;
    const needed =
      scope.kind === 'model'
        ? [scope.name]
        : backlogAt(from, observations).flatMap(({ model, openLines }) =>
            openLines > 0 && policy.sitesFor(model).length > 0 ? [model] : [],
          );
    const sick = opinionOf(to, observations, policy.profile, now).models;
    const why = (model: string) =>
      !policy.sitesFor(model).includes(to)
        ? `${to} does not serve ${model}`
        : sick.includes(model)
          ? `${model} is throttled or down at ${to}, too`
          : undefined;
    const reasons = [...new Set(needed)].map(why);
    // A dark site is worth leaving as long as something of it runs elsewhere.
    if (reasons.length === 0 || reasons.some((reason) => reason === undefined)) return undefined;
    return `nothing of it would run there: ${reasons.join('; ')}`;
  },

  'minimum-interval': (change, situation) => {
    const last = lastLike(change, situation);
    if (last === undefined) return undefined;
    const passedMs = Math.max(0, situation.now - last.at);
    const { minimumIntervalMs } = situation.policy;
    if (passedMs >= minimumIntervalMs) return undefined;
    const s = (ms: number) => `${Math.ceil(ms / 1000)} s`;
    return `the last change of this kind (epoch ${last.epoch}, by ${last.actor}) was ${s(passedMs)} ago; ${s(minimumIntervalMs)} must lie between two`;
  },

  'not-common-cause': ({ command }, situation) => {
    if (command.kind !== 'failover') return undefined;
    const { from, to } = command;
    const common = [from, to].map((id) => opinion(id, situation)).filter(({ isCommon }) => isCommon);
    return common.length === 0
      ? undefined
      : `the same fault is seen in both clouds, so moving would not help: ${common
          .flatMap(({ evidence }) => evidence)
          .slice(0, 2)
          .join('; ')}`;
  },

  'no-solo-flip': ({ before, after }, situation) => {
    const lone = serving(before);
    const returning = serving(after).filter((id) => !lone.includes(id) && !situation.converged.has(id));
    const [site] = returning;
    if (site === undefined) return undefined;
    const [survivor] = lone;
    const isHandedOver = lone.length === 1 && after.sites[survivor!]?.state !== 'active';
    if (isHandedOver && situation.surprised.has(site) && opinion(survivor!, situation).isDown) return undefined;
    return isHandedOver
      ? `${survivor} is alone and ${site} does not have all of its facts: what only ${survivor} knows would be out of reach`
      : `${site} does not have all facts yet: if the others were lost now, so would be what it lacks`;
  },

  'no-drill-in-incident': ({ before }, situation) => {
    if (!situation.actor.startsWith('drill/')) return undefined;
    const away = Object.entries(before.sites).filter(
      ([id, { state }]) => state !== 'active' && !isOfDrill(id, situation),
    );
    const ill = Object.keys(before.sites).filter((id) => opinion(id, situation).isDown);
    const [id, site] = away[0] ?? [];
    if (id !== undefined) return `this is no time for a drill: ${id} is ${site!.state}`;
    return ill.length > 1 ? `this is no time for a drill: ${ill.join(' and ')} are down` : undefined;
  },

  drained: ({ command, before }, { control, observations, policy }) => {
    if (command.kind !== 'failover' || command.mode !== 'graceful' || command.scope.kind !== 'all') return undefined;
    const { from } = command;
    if (before.sites[from]?.state !== 'cordoned') return undefined;
    const otherwise = 'or fail over with mode forced, and compute some lines twice';
    const rows = backlogAt(from, observations);
    const open = rows.reduce((sum, { openLines }) => sum + openLines, 0);
    if (open > 0) return `${from} still works on ${open} lines: wait until they are done, ${otherwise}`;
    if (rows.some(({ model }) => model === unplanned))
      return `${from} still plans a batch: wait until it is done, ${otherwise}`;
    const counted = observations.find(({ stale, observation }) => !stale && observation.home === from);
    if (counted === undefined)
      return `nobody at ${from} counts what it still has in work: wait for its monitor, ${otherwise}`;
    const isLater = counted.observation.at >= control.at + policy.settleMs;
    return isLater
      ? undefined
      : `${from} has not counted its work since it was cordoned: wait a few ticks, ${otherwise}`;
  },

  'witness-present': ({ before, after }, { actor, observations, policy }) => {
    if (!actor.startsWith('monitor/') || !isRoleChange(before, after)) return undefined;
    if (!policy.hasWitness)
      return 'no witness is configured: two clouds alone cannot elect, so nothing moves by itself';
    return isWitnessSeen(observations) ? undefined : 'the witness answers nobody: two clouds alone cannot elect';
  },
} satisfies Record<string, Rule>;

/** `no-witness` is found by trying: fewer than two voters answered (`execute.ts`). */
export type RuleName = keyof typeof rules | 'no-witness';
export const ruleNames: readonly RuleName[] = [...(Object.keys(rules) as (keyof typeof rules)[]), 'no-witness'];
/** No entry that breaks one of these could ever stand (I7), or it binds machines, which force nothing. */
export const unforceable: ReadonlySet<RuleName> = new Set(['at-least-one-active', 'witness-present']);

/** Names that `--force` takes. */
export function isForceable(rule: RuleName): boolean {
  return !unforceable.has(rule);
}

/** Every rule that objects to a change, in the order of `ruleNames`. Pure. */
export function objectionsTo(command: ControlCommand, after: ControlState, situation: Situation): Objection[] {
  const change: Change = { command, before: situation.control, after };
  return (Object.keys(rules) as (keyof typeof rules)[]).flatMap((rule) => {
    const sentence = (rules[rule] as Rule)(change, situation);
    return sentence === undefined ? [] : [{ rule, sentence }];
  });
}

/** True if some site is fenced or comes back. */
export function isRoleChange(before: ControlState, after: ControlState): boolean {
  return Object.entries(after.sites).some(([id, { state }]) => {
    const was = before.sites[id]?.state;
    return was !== undefined && isAway(was) !== isAway(state);
  });
}

const isAway = (state: SiteState) => state === 'fenced' || state === 'recovering';

function sitesIn(state: ControlState, ...states: SiteState[]): SiteId[] {
  return Object.keys(state.sites).filter((id) => states.includes(state.sites[id]!.state));
}

/** Sites that own work, or will finish what they own. */
const serving = (state: ControlState) => sitesIn(state, 'active', 'cordoned');

const opinion = (site: SiteId, { observations, policy, now }: Situation): Opinion =>
  opinionOf(site, observations, policy.profile, now);

function whyNotWell({ site, isWell, isDown, isSilent, words, evidence }: Opinion): string | undefined {
  if (isWell) return undefined;
  if (words.length === 0 && !isSilent) return `nobody says that ${site} is well: no observer is heard`;
  if (!isDown) return `not enough observers hold ${site} well: ${evidence.slice(0, 2).join('; ')}`;
  return `${site} is down: ${evidence.slice(0, 3).join('; ')}`;
}

/** Sites that a change gives work to which they did not have. */
function gainers({ command, before, after }: Change): SiteId[] {
  if (command.kind === 'failover') return [command.to];
  if (command.kind === 'failback' && command.step === 'return') return [command.site];
  return Object.keys(after.sites).filter((id) => {
    const [was, is] = [before.sites[id]!, after.sites[id]!];
    const isLetIn = is.state !== was.state && (is.state === 'active' || is.state === 'recovering');
    return isLetIn || (is.state === 'active' && is.weight > was.weight);
  });
}

/** Sites that will have to do the work: those that gain it, or the active ones where a site only gives up. */
function receivers(change: Change): SiteId[] {
  const gaining = gainers(change);
  if (gaining.length > 0) return gaining;
  const { before, after } = change;
  const isGivenUp = serving(before).some((id) => after.sites[id]!.state !== before.sites[id]!.state);
  return isGivenUp ? sitesIn(after, 'active') : [];
}

/** The latest entry that changed what this change changes: who is away, or where one model or batch works. */
function lastLike({ command, before, after }: Change, { control, past }: Situation): ControlEntry | undefined {
  const entries = [control, ...past].sort((a, b) => b.epoch - a.epoch);
  const isLike = (entry: ControlEntry, previous: ControlEntry): boolean => {
    if (isRoleChange(before, after)) return isRoleChange(previous, entry);
    const name = scopeName(command);
    return name !== undefined && moveOf(entry, name) !== moveOf(previous, name);
  };
  return entries.find((entry, i) => {
    const previous = entries[i + 1];
    return previous !== undefined && previous.epoch === entry.epoch - 1 && isLike(entry, previous);
  });
}

function scopeName(command: ControlCommand): string | undefined {
  const scope = 'scope' in command ? command.scope : undefined;
  return scope === undefined || scope.kind === 'all' ? undefined : `${scope.kind} ${scope.name}`;
}

function moveOf({ moves }: ControlState, name: string): string | undefined {
  const move = moves.find((one) => `${one.scope} ${one.name}` === name);
  return move === undefined ? undefined : `${move.from} ${move.to}`;
}

/** True if the site is away because a drill put it there. */
function isOfDrill(id: SiteId, { control, past }: Situation): boolean {
  const { state, fencedEpoch } = control.sites[id]!;
  const cause = isAway(state) ? [control, ...past].find(({ epoch }) => epoch === fencedEpoch) : control;
  return cause?.actor.startsWith('drill/') === true;
}
