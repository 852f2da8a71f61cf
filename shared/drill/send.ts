import type { ControlCommand } from '../control/commands.ts';
import { execute } from '../control/execute.ts';
import type { RuleName } from '../control/rules.ts';
import { readObservations, type SeenBefore } from '../health/observation.ts';
import { sha256 } from '../journal/json.ts';
import { convergeJournals } from '../redrive/converge.ts';
import { drillActor } from './tenant.ts';
import type { TurnCore } from './turns.ts';

/** How often a command that others overtook is tried again. */
const triesMax = 5;

export interface DrillCommand {
  drill: string;
  command: ControlCommand;
  /** What makes it the same however often it is sent: by this runner, or by whoever takes over. */
  operation: string;
  reason: string;
  force: readonly RuleName[];
}

/**
 * Sends one command of a drill, again where others were faster.
 * @returns `waiting` where a site has to finish its work first
 * @throws Error where rules forbid it, by their names, or where there is no such change
 */
export async function sendCommand(
  core: TurnCore,
  seen: SeenBefore,
  { drill, command, operation, reason, force }: DrillCommand,
): Promise<'done' | 'waiting'> {
  for (let tries = 1; ; tries++) {
    const outcome = await execute(core, command, {
      operationId: sha256(`drill ${drill} ${operation}`).slice(0, 32),
      actor: drillActor(drill),
      reason,
      force,
      observations: await readObservations(core, seen),
      isConverged: () => convergeJournals(core),
    });
    switch (outcome.status) {
      case 'done':
      case 'replayed':
      case 'unchanged':
      case 'planned':
        return 'done';
      case 'refused':
        if (outcome.objections.every(({ rule }) => rule === 'drained')) return 'waiting';
        throw new Error(outcome.objections.map(({ rule, sentence }) => `${rule}: ${sentence}`).join('; '));
      case 'impossible':
        throw new Error(outcome.sentence);
      default:
        if (tries >= triesMax) throw new Error(`nothing was decided (${outcome.status})`);
        await core.clock.sleep(1_000 * core.random());
    }
  }
}
