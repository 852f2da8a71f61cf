import { backlogAt, type Opinion, opinionOf } from '../control/opinion.ts';
import type { ControlPolicy } from '../control/policy.ts';
import type { SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { returningSite } from '../redrive/failback.ts';
import type { EpochMs } from '../units.ts';
import { outsideWindows } from './due.ts';
import { showDuration } from './duration.ts';
import type { DrillState, DrillStop } from './facts.ts';
import type { Drill } from './file.ts';
import { drillActor } from './tenant.ts';

/** Rules that keep a drill from starting, or end it. `no-drill-in-incident` and `not-frozen` are the control log's, too. */
export const drillRules = [
  'no-drill-in-incident',
  'not-frozen',
  'one-drill-at-a-time',
  'blocked-date',
  'allowed-date',
  'blocked-window',
  'allowed-window',
  'sites-known',
  'faults-at-hand',
  'operator-acted',
  'stopped',
  'backlog-age',
  'error-share',
  'steady-state',
  'limit',
  'lease-expired',
  'refused',
] as const;
export type DrillRule = (typeof drillRules)[number];

export interface DrillObjection {
  rule: DrillRule;
  sentence: string;
}

/** What both questions below are answered from. */
export interface DrillSight {
  control: ControlEntry;
  /** Every entry since the drill began. */
  past: readonly ControlEntry[];
  observations: readonly SeenObservation[];
  policy: ControlPolicy;
}

/** Why a drill may not start now; none: it may. Pure. */
export function objectionsToStart(
  drill: Drill,
  { control, past, observations, policy }: DrillSight,
  hasFaults: boolean,
  now: EpochMs,
): DrillObjection[] {
  const objections: DrillObjection[] = [];
  const closed = outsideWindows(drill, now);
  if (closed !== undefined) objections.push(closed);
  if (control.frozen)
    objections.push({ rule: 'not-frozen', sentence: 'control is frozen: nothing changes until somebody unfreezes it' });
  const away = Object.entries(control.sites).filter(([, { state }]) => state !== 'active');
  for (const [site, { state }] of away)
    objections.push({ rule: 'no-drill-in-incident', sentence: `this is no time for a drill: ${site} is ${state}` });
  const returning = returningSite(control, past);
  if (returning !== undefined && away.length === 0)
    objections.push({
      rule: 'no-drill-in-incident',
      sentence: `this is no time for a drill: ${returning} is on its way back, at weight ${control.sites[returning]!.weight}`,
    });
  for (const { site, health, causes } of opinions(control, observations, policy, now)) {
    if (health === 'healthy' || away.some(([id]) => id === site)) continue;
    const why = causes.length === 0 ? '' : ` (${causes.join(', ')})`;
    objections.push({
      rule: 'no-drill-in-incident',
      sentence: `this is no time for a drill: ${site} is ${health}${why}`,
    });
  }
  const unknown = sitesOf(drill).filter((site) => control.sites[site] === undefined);
  if (unknown.length > 0)
    objections.push({
      rule: 'sites-known',
      sentence: `there is no site ${unknown.join(' or ')}; there are ${Object.keys(control.sites).join(', ')}`,
    });
  const breaks = drill.method.some((step) => step.type === 'action' && step.provider.func === 'fault');
  if (breaks && !hasFaults && drill.holdfast.kind !== 'tabletop')
    objections.push({
      rule: 'faults-at-hand',
      sentence:
        'nothing here can inject a fault: in production that is for the tools of the provider (infra/drills), or for fencing',
    });
  return objections;
}

/** Sites that a drill names. */
export function sitesOf(drill: Drill): string[] {
  const named = [...drill.method, ...drill.rollbacks].flatMap(({ provider }): string[] => {
    const given = provider.arguments as Record<string, unknown>;
    const target = typeof given.target === 'string' ? given.target.split('/')[0] : undefined;
    const weights = typeof given.weights === 'object' ? Object.keys(given.weights as object) : [];
    const one = [given.site, given.home, given.from, given.to, given.store, target];
    return [...weights, ...one.filter((site) => typeof site === 'string' && site !== 'witness')] as string[];
  });
  return [...new Set([...named, ...(drill.holdfast.site === undefined ? [] : [drill.holdfast.site])])];
}

/**
 * What ends a drill that is under way: on-call's stop, a freeze, an incident that is none of the drill's making,
 * somebody at work in the control log, a guardrail. Pure.
 */
export function endsDrill(
  drill: Drill,
  id: string,
  state: Pick<DrillState, 'before'>,
  sight: DrillSight & { stops: readonly DrillStop[]; errorShare: number },
  now: EpochMs,
): DrillObjection | undefined {
  const { control, past, observations, policy, stops, errorShare } = sight;
  const { holdfast } = drill;
  const [stop] = stops;
  if (stop !== undefined) return { rule: 'stopped', sentence: `${stop.actor} stopped it: ${stop.reason}` };
  if (control.frozen)
    return { rule: 'not-frozen', sentence: `control was frozen by ${control.actor}: ${control.reason}` };
  const since = [control, ...past].filter(({ epoch }) => epoch > state.before.epoch);
  const foreign = since.find(({ actor }) => actor !== drillActor(id) && !actor.startsWith('monitor/'));
  if (foreign !== undefined)
    return { rule: 'operator-acted', sentence: `${foreign.actor} acted (epoch ${foreign.epoch}): ${foreign.reason}` };
  const victim = holdfast.kind === 'outage' ? holdfast.site : undefined;
  const ill = opinions(control, observations, policy, now).find(
    ({ site, isDown, health }) =>
      site !== victim && (isDown || (holdfast.kind !== 'outage' && health === 'degraded' && isActive(control, site))),
  );
  if (ill !== undefined)
    return {
      rule: 'no-drill-in-incident',
      sentence: `a real incident: ${ill.site} is ${ill.isDown ? 'down' : ill.health} (${ill.causes.join(', ')}), which is not of this drill's making`,
    };
  const taken = since.find(
    ({ actor, epoch, sites }) =>
      actor.startsWith('monitor/') &&
      Object.entries(sites).some(([site, { fencedEpoch }]) => fencedEpoch === epoch && site !== victim),
  );
  if (taken !== undefined)
    return { rule: 'no-drill-in-incident', sentence: `a real incident: ${taken.actor} acted, since ${taken.reason}` };
  const ageMax = holdfast.guardrails['backlog-age'];
  const age = backlogAgeMs(control, observations);
  if (ageMax !== undefined && age > ageMax)
    return {
      rule: 'backlog-age',
      sentence: `the oldest open batch of production waits for ${showDuration(age)}, and ${showDuration(ageMax)} is the most`,
    };
  if (errorShare > holdfast.guardrails['error-share'])
    return {
      rule: 'error-share',
      sentence: `${(errorShare * 100).toFixed(1)} % of the lines that ended are errors, and ${holdfast.guardrails['error-share'] * 100} % is the most`,
    };
  return undefined;
}

/** What a drill sent away itself is not looked at as closely. */
const isActive = ({ sites }: ControlEntry, site: string) => sites[site]?.state === 'active';

/** Of the oldest open batch of production, at one site or any. */
export function backlogAgeMs(
  { sites }: Pick<ControlEntry, 'sites'>,
  observations: readonly SeenObservation[],
  site?: string,
): number {
  const asked = site === undefined ? Object.keys(sites) : [site];
  return Math.max(0, ...asked.flatMap((id) => backlogAt(id, observations).map(({ oldestMs }) => oldestMs)));
}

function opinions(
  { sites }: ControlEntry,
  observations: readonly SeenObservation[],
  policy: ControlPolicy,
  now: EpochMs,
): Opinion[] {
  return Object.keys(sites)
    .sort()
    .map((site) => opinionOf(site, observations, policy.profile, now));
}
