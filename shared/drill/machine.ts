import type { ControlEntry } from '../journal/facts.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { showDuration } from './duration.ts';
import { type Check, checkSchema, type DrillPhase, type DrillState } from './facts.ts';
import { type Drill, type DrillAction, type DrillProbe, isWithin, showTolerance } from './file.ts';
import type { DrillObjection } from './incident.ts';
import type { Undo } from './undo.ts';

/**
 * A drill, step by step. States, what holds in each, and what leaves each:
 *
 *   before   nothing was done yet. Each probe of the steady-state hypothesis holds → method; one does not → judge.
 *   method   actions and probes, one after the other. Over, or ended early (`aborted`) → undo.
 *   undo     rollbacks, then faults, then what the control log still holds of the drill. All as before, or out of
 *            patience (`settle`) with what is not of its making → after. Its own traces it never gives up.
 *   after    the hypothesis again, until it holds or out of patience → judge.
 *   judge    the data are read, and the report is written → ended.
 *   ended    nothing is left of it.
 *
 * A runner that dies leaves the rest to whoever finds its lease expired: it enters `undo` from wherever it was.
 */
export type DrillMove =
  | { kind: 'probe'; when: Check['when']; probe: DrillProbe }
  | { kind: 'act'; action: DrillAction; of: 'method' | 'rollbacks' }
  | { kind: 'clear' }
  | { kind: 'command'; undo: Extract<Undo, { kind: 'command' }> }
  | { kind: 'wait'; ms: DurationMs; why: string }
  /** The step is over. */
  | { kind: 'skip' }
  /** `aborted`: before its time; `late`: after its time. */
  | { kind: 'enter'; phase: DrillPhase; why: string; aborted?: DrillObjection; late?: Check }
  | { kind: 'judge' }
  | { kind: 'none' };

/** What the next move is decided by, beside the state. */
export interface DrillSeen {
  /** What ends a drill that is under way. */
  ends: DrillObjection | undefined;
  undo: Undo;
}

/**
 * A command that was under way when the drill was taken over has ended after this long; only then can the log show all of
 * what its runner did. That runner may have been slow, or be early by its clock.
 */
const underWayMs: DurationMs = 40_000;
/** Pause between two looks at something that has not come to be yet. */
const lookAgainMs: DurationMs = 1_000;

/** A drill at its beginning. */
export function newDrillState(control: ControlEntry, now: EpochMs): DrillState {
  return {
    phase: 'before',
    startedAt: now,
    phaseAt: now,
    step: 0,
    stepAt: now,
    doneAt: null,
    takenAt: null,
    aborted: null,
    faultAt: null,
    faults: [],
    batches: [],
    production: [],
    productionTotal: 0,
    before: {
      epoch: control.epoch,
      sites: Object.fromEntries(
        Object.entries(control.sites).map(([site, { state, weight }]) => [site, { state, weight }]),
      ),
    },
    checks: [],
    detected: {},
    learned: {},
    unsteadyMs: {},
    clearedAt: null,
    restoredAt: null,
  };
}

/** What happens next. Pure: same state, same sight, same moment, same move. */
export function nextDrillMove(drill: Drill, state: DrillState, seen: DrillSeen, now: EpochMs): DrillMove {
  switch (state.phase) {
    case 'before':
    case 'method': {
      const ends = seen.ends ?? overLimit(drill, state, now);
      if (ends !== undefined) return abort(ends);
      return state.phase === 'before' ? before(drill, state, now) : method(drill, state, now);
    }
    case 'undo':
      return undo(drill, state, seen.undo, now);
    case 'after':
      return after(drill, state, now);
    case 'judge':
      return { kind: 'judge' };
    case 'ended':
      return { kind: 'none' };
  }
}

const abort = (aborted: DrillObjection): DrillMove => ({
  kind: 'enter',
  phase: 'undo',
  why: aborted.sentence,
  aborted,
});

function before(drill: Drill, state: DrillState, now: EpochMs): DrillMove {
  const failed = state.checks.find(({ when, isOk }) => when === 'before' && !isOk);
  if (failed !== undefined && state.doneAt !== null)
    return abort({ rule: 'steady-state', sentence: `${failed.name} is ${failed.value}, and not ${failed.wanted}` });
  const probe = drill['steady-state-hypothesis'].probes[state.step];
  if (probe === undefined) return { kind: 'enter', phase: 'method', why: 'the steady state holds' };
  return probeStep(state, probe, 'before', now);
}

function method(drill: Drill, state: DrillState, now: EpochMs): DrillMove {
  const step = drill.method[state.step];
  if (step === undefined) return { kind: 'enter', phase: 'undo', why: 'the method is over' };
  if (step.type === 'probe') return probeStep(state, step, 'during', now);
  return actionStep(state, step, 'method', now);
}

function actionStep(state: DrillState, action: DrillAction, of: 'method' | 'rollbacks', now: EpochMs): DrillMove {
  const early = pausing(action.pauses, state, now);
  if (early !== undefined) return early;
  return state.doneAt === null ? { kind: 'act', action, of } : { kind: 'skip' };
}

/** Asked until it holds, or for as long as it may take. */
function probeStep(state: DrillState, probe: DrillProbe, when: Check['when'], now: EpochMs): DrillMove {
  const early = pausing(probe.pauses, state, now);
  if (early !== undefined) return early;
  if (state.doneAt !== null) return { kind: 'skip' };
  const last = state.checks.findLast((check) => check.when === when && check.name === probe.name);
  const isYoung = last !== undefined && last.at >= state.stepAt && now - last.at < lookAgainMs;
  return isYoung
    ? { kind: 'wait', ms: lookAgainMs, why: `${probe.name} is ${last.value}` }
    : { kind: 'probe', when, probe };
}

function undo(drill: Drill, state: DrillState, undo: Undo, now: EpochMs): DrillMove {
  const action = drill.rollbacks[state.step];
  // Nothing was done yet, so nothing needs to be rolled back.
  if (action !== undefined && state.faultAt !== null) return actionStep(state, action, 'rollbacks', now);
  if (state.faults.some(({ until }) => until > now)) return { kind: 'clear' };
  const isLate = now - state.phaseAt > drill.holdfast.settle;
  const leave = (why: string, value: string): DrillMove => ({
    kind: 'enter',
    phase: 'after',
    why,
    ...(isLate && { late: lateCheck(drill, value, now) }),
  });
  if (undo.kind === 'done' && state.takenAt !== null && now - state.takenAt < underWayMs)
    return { kind: 'wait', ms: lookAgainMs, why: 'what its last runner may still have under way' };
  if (undo.kind === 'done') return leave('all is as before', showDuration(now - state.phaseAt));
  if (isLate && undo.kind === 'wait' && !undo.isOwn) return leave(`not as before: ${undo.why}`, undo.why);
  return undo.kind === 'command' ? { kind: 'command', undo } : { kind: 'wait', ms: lookAgainMs, why: undo.why };
}

function lateCheck({ holdfast }: Drill, value: string, at: EpochMs): Check {
  const wanted = `within ${showDuration(holdfast.settle)}`;
  return checkSchema.parse({
    when: 'after',
    name: 'all is as before',
    value: value.slice(0, 500),
    wanted,
    isOk: false,
    at,
  });
}

function after(drill: Drill, state: DrillState, now: EpochMs): DrillMove {
  const probe = drill['steady-state-hypothesis'].probes[state.step];
  if (probe === undefined) return { kind: 'enter', phase: 'judge', why: 'the steady state was looked at again' };
  return probeStep(state, probe, 'after', now);
}

function pausing(
  { before, after }: DrillAction['pauses'],
  { stepAt, doneAt }: DrillState,
  now: EpochMs,
): DrillMove | undefined {
  const until = doneAt === null ? stepAt + before : doneAt + after;
  return now < until ? { kind: 'wait', ms: Math.min(until - now, lookAgainMs), why: 'a pause' } : undefined;
}

function overLimit(drill: Drill, { startedAt }: DrillState, now: EpochMs): DrillObjection | undefined {
  const { limit } = drill.holdfast;
  return now - startedAt > limit ? { rule: 'limit', sentence: `it took longer than ${limit / 1000} s` } : undefined;
}

/** The state in another phase: the only way from one to the next. */
export function enterPhase(
  state: DrillState,
  phase: DrillPhase,
  now: EpochMs,
  aborted?: DrillObjection,
  late?: Check,
): DrillState {
  return {
    ...state,
    phase,
    phaseAt: now,
    step: 0,
    stepAt: now,
    doneAt: null,
    ...(aborted !== undefined && state.aborted === null && { aborted }),
    ...(phase === 'after' && { restoredAt: now }),
    ...(late !== undefined && { checks: [...state.checks, late] }),
  };
}

/** The state before the next step of the same phase. */
export function nextStep(state: DrillState, now: EpochMs): DrillState {
  return { ...state, step: state.step + 1, stepAt: now, doneAt: null };
}

/** What came of a probe. A probe that may be asked again keeps the state where it is until it holds or its time is up. */
export function afterProbe(
  drill: Drill,
  state: DrillState,
  { when, probe }: Extract<DrillMove, { kind: 'probe' }>,
  value: Check['value'],
  now: EpochMs,
): DrillState {
  const isOk = value === null ? probe.tolerance === undefined : isWithin(value, probe.tolerance);
  const check = checkSchema.parse({
    when,
    name: probe.name,
    value: typeof value === 'string' ? value.slice(0, 500) : value,
    wanted: showTolerance(probe.tolerance),
    isOk,
    at: now,
  });
  // Of one probe in one phase only the last look counts.
  const isSame = (one: Check) => one.when === when && one.name === probe.name && one.at >= state.stepAt;
  const checks = [...state.checks.filter((one) => !isSame(one)), check];
  const patience =
    when === 'after' && state.aborted === null ? Math.max(probe.within, drill.holdfast.settle) : probe.within;
  const isOver = isOk || now - state.stepAt >= patience;
  return { ...state, checks, ...(isOver && { doneAt: now }) };
}

type CheapProvider = Exclude<DrillProbe['provider'], { func: 'journals-equal' }>;

/** Notes for how long the hypothesis did not hold while the method ran: `passedMs` went by since the look before. */
export function noteUnsteady(
  drill: Drill,
  state: DrillState,
  ask: (provider: CheapProvider) => Check['value'],
  passedMs: DurationMs,
): DrillState {
  if (state.phase !== 'method' || state.faultAt === null) return state;
  const unsteadyMs = { ...state.unsteadyMs };
  for (const probe of drill['steady-state-hypothesis'].probes) {
    // Takes a pass over both journals to be told, and is not asked in each look.
    if (probe.provider.func === 'journals-equal') continue;
    const value = ask(probe.provider);
    const holds = value === null ? probe.tolerance === undefined : isWithin(value, probe.tolerance);
    unsteadyMs[probe.name] = (unsteadyMs[probe.name] ?? 0) + (holds ? 0 : passedMs);
  }
  return { ...state, unsteadyMs };
}
