import { readPast } from '../control/history.ts';
import { learnControl, readEntry } from '../control/log.ts';
import { controlPolicy } from '../control/policy.ts';
import { SiteUnavailableError } from '../errors.ts';
import { readObservations } from '../health/observation.ts';
import { factBytes, factVersion } from '../journal/facts.ts';
import { drillStopKey } from '../journal/keys.ts';
import { putEverywhere } from '../journal/replicas.ts';
import type { EpochMs } from '../units.ts';
import type { ScheduledDrill } from './defaults.ts';
import { type Due, dueDrills } from './due.ts';
import { type DrillStop, type DrillTurn, drillOf } from './facts.ts';
import type { Drill, DrillSource } from './file.ts';
import { type DrillObjection, objectionsToStart } from './incident.ts';
import { newDrillState } from './machine.ts';
import { type DrillView, viewDrill } from './read.ts';
import { type DrillDeps, type DrillEnd, DrillRun } from './run.ts';
import { claimTurn, type LearnedTurn, learnTurns, type TurnCore } from './turns.ts';

/** A drill that is wanted now. */
export interface DrillOrder {
  id: string;
  drill: Drill;
  /** As it was written. */
  file: DrillSource;
  actor: string;
  reason: string;
  /** Its moment, where a schedule wants it. */
  slot: EpochMs | null;
}

/** How starting ended. */
export type Started =
  | { status: 'started'; run: DrillRun }
  | { status: 'refused'; objections: DrillObjection[] }
  /** It had its turn already. */
  | { status: 'done-before'; turn: DrillTurn };

/**
 * Starts a drill, unless a rule objects, another has the turn, or it was started before. Nothing was done yet when this
 * resolves, but for the first page, which holds the lease.
 * @throws SiteUnavailableError, TransientError where two voters do not answer
 */
export async function startDrill(core: TurnCore, deps: DrillDeps, order: DrillOrder): Promise<Started> {
  const { drill, id } = order;
  const turns = await learnTurns(core);
  const before = turns.find(({ turn }) => turn.drill === id);
  if (before !== undefined) return { status: 'done-before', turn: before.turn };
  const last = await lastDrill(core, turns);
  const [control, observations] = await Promise.all([learnControl(core), readObservations(core)]);
  const now = Math.floor(core.clock.now());
  const sight = {
    control,
    past: await readPast(core, control, { whole: true }),
    observations,
    policy: controlPolicy(core),
  };
  const objections = objectionsToStart(drill, sight, deps.faults !== undefined, now);
  if (last !== undefined && last.report === undefined) objections.unshift(busy(last.turn));
  for (const step of drill.method)
    if (step.type === 'action' && step.provider.func === 'fault') {
      const refused = deps.faults?.refuse(step.provider.arguments);
      if (refused !== undefined) objections.push({ rule: 'faults-at-hand', sentence: `${step.name}: ${refused}` });
    }
  if (objections.length > 0) return { status: 'refused', objections };
  const claim = await claimTurn(core, turns, {
    drill: id,
    at: now,
    actor: order.actor,
    reason: order.reason,
    runner: deps.runner,
    slot: order.slot,
    until: now + drill.holdfast.lease,
    before: newDrillState(control, now).before,
    previousReport: last?.report ?? null,
    file: order.file as DrillTurn['file'],
  });
  if (claim.status === 'done-before') return claim;
  if (claim.status === 'lost') return { status: 'refused', objections: [busy(claim.turn)] };
  const run = new DrillRun(core, deps, claim.turn, drill, []);
  await run.begin();
  return { status: 'started', run };
}

const busy = ({ drill, actor }: DrillTurn): DrillObjection => ({
  rule: 'one-drill-at-a-time',
  sentence: `${drill} is running (${actor})`,
});

async function lastDrill(core: TurnCore, turns: readonly LearnedTurn[]): Promise<DrillView | undefined> {
  const last = turns.at(-1);
  return last === undefined ? undefined : viewDrill(core, last.turn);
}

/** What a look at the drills came to. */
export type Tended =
  | { status: 'nothing' }
  /** Somebody else runs one. */
  | { status: 'running'; drill: string }
  | { status: 'refused'; drill: string; objections: DrillObjection[] }
  | { status: 'run'; drill: string; end: DrillEnd };

/**
 * What each cloud does each minute, so that either can alone: undoes a drill whose lease is over, goes on with one of
 * its own that was left in the middle, or starts the next that is due. Which cloud starts a drill, the turn decides.
 * @param drills those with a schedule
 * @param deadline when this process has to be done
 */
export async function tendDrills(
  core: TurnCore,
  deps: DrillDeps,
  drills: readonly ScheduledDrill[],
  deadline: EpochMs,
): Promise<Tended> {
  const turns = await learnTurns(core);
  const last = turns.at(-1);
  if (last !== undefined && (ended.get(core.sites) ?? 0) < last.turn.turn) {
    const view = await viewDrill(core, last.turn);
    if (view.report === undefined) return goOn(core, deps, view, deadline);
    ended.set(core.sites, last.turn.turn);
  }
  const due = dueDrills(
    drills.map(({ drill }) => drill),
    core.clock.now(),
  ).find(({ id }) => turns.every(({ turn }) => turn.drill !== id));
  // A deployment has missed nothing that was due before it began.
  if (due === undefined || due.slot < ((await readEntry(core, 1))?.entry.at ?? 0)) return { status: 'nothing' };
  const started = await startDrill(core, deps, orderOf(due, drills));
  if (started.status === 'done-before') return { status: 'nothing' };
  if (started.status === 'refused') {
    const told = started.objections.map(({ rule, sentence }) => `${rule}: ${sentence}`).join('; ');
    core.log.warn('drill.refused', { drill: due.id, objections: told });
    return { status: 'refused', drill: due.id, objections: started.objections };
  }
  return { status: 'run', drill: due.id, end: await runOn(core, started.run, deadline) };
}

/** The last turn that was seen to have ended: its pages are not read again each minute. */
const ended = new WeakMap<TurnCore['sites'], number>();

function orderOf({ drill, slot, id }: Due, drills: readonly ScheduledDrill[]): DrillOrder {
  const { file } = drills.find((one) => one.drill === drill)!;
  const reason = `due at ${new Date(slot).toISOString()}`;
  return { id, drill, file, actor: 'schedule', reason, slot };
}

async function goOn(core: TurnCore, deps: DrillDeps, view: DrillView, deadline: EpochMs): Promise<Tended> {
  const { turn, until } = view;
  const isOver = core.clock.now() > until;
  // A runner that is no scheduler comes back to its drill itself, or never.
  const isOwn = (view.pages.at(-1)?.runner ?? turn.runner) === deps.runner;
  if (!isOver && !isOwn) return { status: 'running', drill: turn.drill };
  const run = resumeDrill(core, deps, view);
  if (isOver) await run.takeOver();
  return { status: 'run', drill: turn.drill, end: await runOn(core, run, deadline) };
}

/** A runner that goes on where the last page ends. @throws SiteUnavailableError for a drill file of a later version */
export function resumeDrill(core: TurnCore, deps: DrillDeps, { turn, pages }: DrillView): DrillRun {
  const drill = drillOf(turn);
  if (drill === undefined)
    throw new SiteUnavailableError('drill_unknown', `the file of ${turn.drill} is of another version`, 'drills');
  return new DrillRun(core, deps, turn, drill, pages);
}

async function runOn(core: TurnCore, run: DrillRun, deadline: EpochMs): Promise<DrillEnd> {
  const end = await run.run({ deadline });
  if (end.status === 'ended')
    core.log.info('drill.ended', {
      drill: run.id,
      outcome: end.report.verdict.outcome,
      reasons: end.report.verdict.reasons.join('; ').slice(0, 500),
    });
  return end;
}

/** Tells whoever runs it to end a drill and to undo it. */
export async function stopDrill(
  core: TurnCore,
  drill: string,
  { actor, reason }: Pick<DrillStop, 'actor' | 'reason'>,
): Promise<void> {
  const uuid = core.ids.uuid();
  const at = Math.floor(core.clock.now());
  const stop: DrillStop = { v: factVersion, kind: 'drillStop', drill, at, uuid, actor, reason };
  const { written, failed } = await putEverywhere(core, drillStopKey(drill, uuid), factBytes(stop));
  if (written.length === 0) throw failed[0]!.error;
}
