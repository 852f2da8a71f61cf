import type { RuleName } from '../../../shared/control/rules.ts';
import { profileOf } from '../../../shared/health/types.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import type { World } from '../world.ts';
import type { ControlHistory } from './control.ts';

const isMachine = ({ actor }: ControlEntry) => actor.startsWith('monitor/');
const statesOf = (entry: ControlEntry, ...states: string[]) =>
  Object.keys(entry.sites).filter((id) => states.includes(entry.sites[id]!.state));
const fencedBy = (entry: ControlEntry, before: ControlEntry) =>
  statesOf(entry, 'fenced').filter((id) => before.sites[id]?.state !== 'fenced');

/** One change of the log as the rules look at it. */
interface Step {
  entry: ControlEntry;
  before: ControlEntry;
  past: readonly ControlEntry[];
}

/** What each safety rule forbids, as the log alone can show it; a sentence where a step broke it. */
const shown: Partial<Record<RuleName, (step: Step, world: World) => string | undefined>> = {
  'at-least-one-active': ({ entry }) => (statesOf(entry, 'active').length === 0 ? 'no site is active' : undefined),
  'not-frozen': ({ entry, before }) =>
    before.frozen && entry.frozen ? 'something changed while control was frozen' : undefined,
  'no-solo-flip': ({ entry, before }) => {
    const [was, is] = [statesOf(before, 'active', 'cordoned'), statesOf(entry, 'active', 'cordoned')];
    return was.length === 1 && is.length === 1 && was[0] !== is[0] && before.sites[is[0]!]!.state === 'fenced'
      ? `${was[0]} was alone, and all went to ${is[0]} in one step`
      : undefined;
  },
  'minimum-interval': ({ entry, before, past }, { settings }) => {
    const fenced = fencedBy(entry, before);
    const last = past.findLast((one, i) => i > 0 && fencedBy(one, past[i - 1]!).length > 0);
    if (!isMachine(entry) || fenced.length === 0 || last === undefined) return undefined;
    const passedMs = entry.at - last.at;
    return passedMs >= 0 && passedMs < profileOf(settings).holdDownMs
      ? `two failovers within ${passedMs} ms`
      : undefined;
  },
  // A failover by machine is what the rule would have stopped: a scenario that names it has the same fault in both clouds.
  'not-common-cause': ({ entry, before }) =>
    isMachine(entry) && fencedBy(entry, before).length > 0
      ? `${entry.reason}: moved because of a common cause`
      : undefined,
  'no-witness': ({ entry, before }) =>
    entry.forced.includes('no-witness') && isMachine(entry) && before !== entry
      ? 'a machine acted as the third vote'
      : undefined,
};

/** Names of safety rules that can be held against a log. */
export const judgedRules = Object.keys(shown) as RuleName[];

/**
 * Holds the decided entries against safety rules by name. An entry that a person forced past a rule, as it says of
 * itself, breaks nothing.
 */
export function brokenRules(
  world: World,
  history: ControlHistory,
  names: readonly string[],
): { rule: string; sentence: string }[] {
  const log = [...history.entries.values()].map(({ entry }) => entry).sort((a, b) => a.epoch - b.epoch);
  return log.slice(1).flatMap((entry, i) => {
    const step = { entry, before: log[i]!, past: log.slice(0, i + 1) };
    return names.flatMap((rule) => {
      const sentence = entry.forced.includes(rule) ? undefined : shown[rule as RuleName]?.(step, world);
      return sentence === undefined ? [] : [{ rule, sentence: `epoch ${entry.epoch}: ${sentence}` }];
    });
  });
}
