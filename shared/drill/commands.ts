import { applyCommand, type ControlCommand } from '../control/commands.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { DrillState } from './facts.ts';
import type { Drill, DrillAction } from './file.ts';

/** What an action asks of the control log. */
export function commandsOf(
  provider: DrillAction['provider'],
  { batches }: Pick<DrillState, 'batches'>,
): ControlCommand[] {
  switch (provider.func) {
    case 'failover': {
      const { from, to, mode, scope } = provider.arguments;
      if (scope === 'all') return [{ kind: 'failover', from, to, mode, scope: { kind: 'all' } }];
      if (typeof scope === 'object')
        return [{ kind: 'failover', from, to, mode: 'forced', scope: { kind: 'model', name: scope.model } }];
      return batches
        .filter(({ home }) => home === from)
        .map(({ batch }) => ({ kind: 'failover', from, to, mode: 'forced', scope: { kind: 'batch', name: batch } }));
    }
    case 'failback':
      return [{ kind: 'failback', site: provider.arguments.site, step: 'start' }];
    case 'cordon':
    case 'uncordon':
      return [{ kind: provider.func, site: provider.arguments.site }];
    case 'weights':
      return [{ kind: 'weights', weights: provider.arguments.weights }];
    default:
      return [];
  }
}

/** What a tabletop drill holds against the rules: a fault of a whole site leads to its failover. */
export function plannedCommands(
  provider: DrillAction['provider'],
  drill: Drill,
  control: ControlEntry,
): ControlCommand[] {
  if (provider.func !== 'fault')
    return commandsOf(provider, {
      batches: drill.method.flatMap((step) =>
        step.type === 'action' && step.provider.func === 'submit'
          ? [{ batch: 'batch_0', home: step.provider.arguments.home, lines: 0, wasHeld: null }]
          : [],
      ),
    }).filter((command) => !('impossible' in applyCommand(control, command)) || command.kind === 'failover');
  const from = provider.arguments.target.split('/')[0]!;
  const to = Object.keys(control.sites).find((site) => site !== from);
  if (control.sites[from] === undefined || to === undefined) return [];
  return [{ kind: 'failover', from, to, mode: 'forced', scope: { kind: 'all' } }];
}
