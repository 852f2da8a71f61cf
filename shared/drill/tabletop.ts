import { planCommand } from '../control/plan.ts';
import { situationOf } from '../control/rules.ts';
import { codeOf } from '../errors.ts';
import { lastCanary } from '../health/canary.ts';
import { writeReadDelete } from '../health/probe.ts';
import { drillTurnKey, probeKey } from '../journal/keys.ts';
import { bounded } from '../journal/replicas.ts';
import type { Stores } from '../ports/site.ts';
import { beyondShare, plannedCommands } from './commands.ts';
import type { Check, DrillTurn } from './facts.ts';
import type { Drill, DrillAction } from './file.ts';
import type { Sight } from './probes.ts';
import { type Ready, readinessOf } from './readiness.ts';
import { drillActor } from './tenant.ts';
import type { TurnCore } from './turns.ts';

/** What a tabletop drill makes of one action. */
export interface Paper {
  told: string;
  checks: Check[];
}

/**
 * What a tabletop drill does in place of an action: the plan, the safety rules, and whether the survivor has the capacity
 * and the permissions for it. Leaves nothing: the one object it writes to each `state` it deletes again.
 */
export async function onPaper(
  core: TurnCore,
  turn: DrillTurn,
  drill: Drill,
  { provider, name }: DrillAction,
  { control, past, observations, policy, now }: Sight,
): Promise<Paper> {
  const actor = drillActor(turn.drill);
  const situation = situationOf({ control, past, observations, policy, now, actor });
  const commands = plannedCommands(provider, drill, control);
  const plans = commands.map((command) => planCommand(command, situation));
  const beyond = beyondShare(provider, drill, control);
  const objections = [
    ...(beyond === undefined ? [] : [beyond]),
    ...plans.flatMap((plan) =>
      plan.impossible === undefined
        ? plan.objections.filter(({ rule }) => rule !== 'drained').map(({ rule, sentence }) => `${rule}: ${sentence}`)
        : [plan.impossible],
    ),
  ];
  const moving = plans.flatMap((plan) => plan.moving).map(({ model, openLines }) => `${openLines} lines of ${model}`);
  const changes = plans.flatMap((plan) => plan.changes);
  const told = [...changes, ...(moving.length === 0 ? [] : [`would move ${moving.join(', ')}`])].join(', ');
  const check = (what: string, value: string, wanted: string, isOk: boolean): Check => ({
    when: 'during',
    name: `${name}: ${what}`.slice(0, 300),
    value: value.slice(0, 500),
    wanted,
    isOk,
    at: now,
  });
  const ready = await Promise.all(
    commands.map(async (command): Promise<Ready[]> => {
      if (command.kind !== 'failover' || command.scope.kind === 'batch') return [];
      const { from, to, scope } = command;
      const survivor = core.sites.get(to);
      const depth = await survivor?.work.depth().catch(() => undefined);
      const canary = survivor && (await lastCanary(core, survivor).catch(() => undefined));
      const { tickMs, chunks } = core.settings;
      return readinessOf({
        from,
        to,
        ...(scope.kind === 'model' && { model: scope.name }),
        sites: control.sites,
        observations,
        entryOf: core.models.entryOf?.bind(core.models),
        tickMs,
        pointerLines: chunks.text.linesMax,
        depth,
        canary,
        now,
      });
    }),
  );
  const own = ready.some((rows) => rows.length > 0) ? await ownPermissions(core, turn) : [];
  return {
    told: `planned; ${told || 'no control entry'}${objections.map((one) => `; ${one}`).join('')}`,
    checks: [
      check('objections', objections.join('; ') || 'none', 'none', objections.length === 0),
      ...[...ready.flat(), ...own].map((row) =>
        check(row.name, `${row.outcome}: ${row.why}`, 'ok or unknown', row.outcome !== 'failed'),
      ),
    ],
  };
}

/** What whoever runs the drill may do itself: vote in each store, and write control entries to both journals. */
async function ownPermissions(core: TurnCore, { turn }: DrillTurn): Promise<Ready[]> {
  const voters: Stores[] = [...core.sites.values(), ...(core.witness === undefined ? [] : [core.witness])];
  const votes = voters.map(async (store): Promise<Ready> => {
    const name = `this runner may vote in ${store.id}`;
    return writeReadDelete(core, store, probeKey('drill'), core.ids.uuid()).then(
      () => ({ name, outcome: 'ok', why: 'wrote, read and deleted an object of its own' }),
      (error) => ({ name, outcome: 'failed', why: `${codeOf(error) ?? ''} ${String((error as Error)?.message)}` }),
    );
  });
  const writes = [...core.sites.values()].map(async ({ id, journal }): Promise<Ready> => {
    const name = `this runner may write the journal of ${id}`;
    return bounded(core, id, (signal) => journal.head(drillTurnKey(turn), { signal })).then(
      (found) =>
        found === undefined
          ? { name, outcome: 'failed', why: `turn ${turn} of this drill did not get there` }
          : { name, outcome: 'ok', why: `turn ${turn} of this drill is there` },
      (error) => ({ name, outcome: 'failed', why: `${codeOf(error) ?? ''} ${String((error as Error)?.message)}` }),
    );
  });
  return Promise.all([...votes, ...writes]);
}
