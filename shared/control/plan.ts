import type { ControlEntry } from '../journal/facts.ts';
import { applyCommand, type ControlCommand, type ControlState, describeChange, stateOf } from './commands.ts';
import type { ControlDraft } from './log.ts';
import { backlogAt } from './opinion.ts';
import { type Objection, objectionsTo, type RuleName, type Situation, unforceable } from './rules.ts';

/** What a command would do now, without doing it. */
export interface CommandPlan {
  command: ControlCommand;
  /** Entry that it was planned on; a command sent with it as `expectedEpoch` happens on this entry or not at all. */
  epoch: number;
  /** Sentences; none: it is so already. */
  changes: string[];
  /** Why there is no such thing; then nothing below holds. */
  impossible?: string;
  after: ControlState;
  /** Rules that forbid it. */
  objections: Objection[];
  /** Rules that would, had they not been overridden. */
  overridden: Objection[];
  /** What is open at the site that gives up, by model, as last counted. */
  moving: { model: string; openLines: number; oldestMs: number }[];
}

/** What `command` would change in this situation, and which rules object. Pure: the dry run. */
export function planCommand(
  command: ControlCommand,
  situation: Situation,
  force: readonly RuleName[] = [],
): CommandPlan {
  const { control, observations } = situation;
  const plan = { command, epoch: control.epoch, changes: [], objections: [], overridden: [], moving: [] };
  const applied = applyCommand(control, command);
  if ('impossible' in applied) return { ...plan, after: stateOf(control), impossible: applied.impossible };
  const changes = describeChange(control, applied.state);
  if (changes.length === 0) return { ...plan, after: applied.state };
  const all = objectionsTo(command, applied.state, situation);
  const isOverridden = ({ rule }: Objection) => force.includes(rule) && !unforceable.has(rule);
  return {
    ...plan,
    after: applied.state,
    changes,
    objections: all.filter((one) => !isOverridden(one)),
    overridden: all.filter(isOverridden),
    moving: movingOf(command, situation, observations),
  };
}

function movingOf(command: ControlCommand, { control }: Situation, observations: Situation['observations']) {
  const from =
    command.kind === 'failover'
      ? command.from
      : command.kind === 'drain' || command.kind === 'cordon'
        ? command.site
        : undefined;
  if (from === undefined || control.sites[from] === undefined) return [];
  return backlogAt(from, observations)
    .filter(
      ({ model, openLines }) =>
        openLines > 0 &&
        (command.kind !== 'failover' || command.scope.kind !== 'model' || command.scope.name === model),
    )
    .map(({ model, openLines, oldestMs }) => ({ model, openLines, oldestMs }));
}

/** Who wants an entry, and why. */
export interface Cause {
  at: number;
  actor: string;
  reason: string;
  operation: string;
  evidence: readonly string[];
}

/** The entry that a plan proposes. */
export function draftOf(plan: CommandPlan, { at, actor, reason, operation, evidence }: Cause): ControlDraft {
  return {
    at: Math.floor(at),
    actor: actor.slice(0, 200),
    reason: reason.slice(0, 2000),
    operation,
    evidence: evidence.slice(0, 50).map((sentence) => sentence.slice(0, 2000)),
    forced: plan.overridden.map(({ rule }) => rule),
    ...plan.after,
  };
}

/** Entries that fenced the sites which are away now, and those of the last while: what rules and `decide` look back on. */
export function epochsToRead(control: ControlEntry, entries = 12): number[] {
  const fencing = Object.values(control.sites).map(({ fencedEpoch }) => fencedEpoch);
  const recent = Array.from({ length: entries }, (_, i) => control.epoch - 1 - i);
  const moves = control.moves.map(({ since }) => since);
  return [...new Set([...fencing, ...moves, ...recent])].filter((epoch) => epoch >= 1 && epoch < control.epoch);
}
