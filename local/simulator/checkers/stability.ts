import type { Disturbance } from '../schedule.ts';
import type { World } from '../world.ts';
import type { ControlHistory } from './control.ts';
import type { Judge } from './judge.ts';

const isAboutWitness = (one: Disturbance) =>
  one.kind === 'effect' && (/^witness(\.|$)/.test(one.target) || /^link\.[a-z]+-to-witness$/.test(one.target));

/**
 * I13, where a run shows it: with both sites active, taking the witness away changes nothing visible. Nobody is refused,
 * and nothing is decided.
 */
export function witnessIsNotMissed(
  { record, knobs }: World,
  history: ControlHistory,
  schedule: readonly Disturbance[],
): Judge {
  return {
    atEnd() {
      // A witness that is replaced is named in the log: that is a decision, and the one that is asked for.
      if (schedule.length === 0 || !schedule.every(isAboutWitness) || knobs.replaced !== 'none') return;
      record.reach('ran without the witness');
      const refused = [...record.statuses].filter(([status]) => status >= 500);
      if (refused.length > 0)
        record.violated('I13', `clients were answered ${refused[0]![0]} while only the witness was away`);
      if (history.entries.size > 1) record.violated('I13', 'something was decided while only the witness was away');
    },
  };
}
