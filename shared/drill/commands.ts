import { applyCommand, type ControlCommand } from '../control/commands.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import type { DrillState } from './facts.ts';
import type { Drill, DrillAction } from './file.ts';

/** What an action asks of the control log. */
export function commandsOf(
  provider: DrillAction['provider'],
  { batches }: Pick<DrillState, 'batches'>,
  drill: string,
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
    case 'replace-store': {
      const { store } = provider.arguments;
      // The same however often it is sent: a name that no other drill gives.
      return [{ kind: 'replace-store', store, incarnation: `${store}-${sha256(`${drill} ${store}`).slice(0, 32)}` }];
    }
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
    return commandsOf(
      provider,
      {
        batches: drill.method.flatMap((step) =>
          step.type === 'action' && step.provider.func === 'submit'
            ? [{ batch: 'batch_0', home: step.provider.arguments.home, lines: 0, wasHeld: null }]
            : [],
        ),
      },
      drill.title,
    ).filter((command) => !('impossible' in applyCommand(control, command)) || command.kind === 'failover');
  const from = provider.arguments.target.split('/')[0]!;
  const to = Object.keys(control.sites).find((site) => site !== from);
  if (control.sites[from] === undefined || to === undefined) return [];
  return [{ kind: 'failover', from, to, mode: 'forced', scope: { kind: 'all' } }];
}

/**
 * Why an action moves more of the new batches than the blast radius allows; `undefined` where it does not. A file gives
 * weights, and what share of all that is follows from those that stand. Pure.
 */
export function beyondShare(
  provider: DrillAction['provider'],
  { holdfast: { 'blast-radius': radius } }: Pick<Drill, 'holdfast'>,
  { sites }: Pick<ControlEntry, 'sites'>,
): string | undefined {
  if (provider.func !== 'weights' || radius.scope !== 'share') return undefined;
  const active = Object.entries(sites).filter(([, { state }]) => state === 'active');
  const sharesOf = (weightOf: (id: string, weight: number) => number) => {
    const weights = active.map(([id, { weight }]) => weightOf(id, weight));
    const sum = weights.reduce((all, weight) => all + weight, 0);
    return weights.map((weight) => (sum === 0 ? 0 : weight / sum));
  };
  const now = sharesOf((_, weight) => weight);
  const after = sharesOf((id, weight) => provider.arguments.weights[id] ?? weight);
  const moved = 100 * now.reduce((sum, share, i) => sum + Math.max(0, share - after[i]!), 0);
  const most = radius.share ?? 0;
  return moved <= most + 1e-9
    ? undefined
    : `blast-radius: it moves ${moved.toFixed(moved < 10 ? 1 : 0)} % of new batches, and ${most} % is the most`;
}
