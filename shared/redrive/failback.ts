import { type ControlCommand, failbackSteps } from '../control/commands.ts';
import { type CommandOutcome, execute } from '../control/execute.ts';
import { readPast } from '../control/history.ts';
import { type Opinion, opinionOf } from '../control/opinion.ts';
import { type ControlPolicy, controlPolicy } from '../control/policy.ts';
import type { Core } from '../core.ts';
import type { HealthProfile, SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import { convergeJournals } from './converge.ts';

/**
 * The way back of a site, slower on purpose. Where it stands is what the control log says, and nothing else:
 *
 *   fenced      works nothing. A person, or `decide` after an automatic failover, starts its return.
 *   recovering  is written like an active site and owns nothing. Left when both journals are proved equal and it is well.
 *   active 5, 25, 50   each left upwards when it was well for a whole soak, downwards (5: to weight 0) when it is not.
 *   active 100  has returned.
 *
 * A weight that is none of these was set by a person, who has taken over.
 */
export type FailbackStep =
  | { kind: 'none' }
  | { kind: 'wait'; site: SiteId; why: string }
  | { kind: 'step'; site: SiteId; command: ControlCommand; operation: string; reason: string; evidence: string[] };

/** What the next step is judged by. */
export interface FailbackFacts {
  control: ControlEntry;
  /** Earlier entries without a gap, any order; as far back as the site was last recovering. */
  past: readonly ControlEntry[];
  opinion: (site: SiteId) => Opinion;
  profile: HealthProfile;
  /** Both journals are proved to hold the same. */
  isConverged: boolean;
}

const weightsOnTheWay: readonly number[] = [0, ...failbackSteps.slice(0, -1)];

/** The next step of the site that is on its way back, or why it has to wait. Pure. */
export function nextFailbackStep(facts: FailbackFacts, now: EpochMs): FailbackStep {
  const { control, profile } = facts;
  const site = returningSite(control, facts.past);
  if (site === undefined) return { kind: 'none' };
  const wait = (why: string): FailbackStep => ({ kind: 'wait', site, why });
  if (control.frozen) return wait('control is frozen');
  const { state, weight } = control.sites[site]!;
  const { health, words, evidence } = facts.opinion(site);
  const step = (command: ControlCommand, to: string, reason: string): FailbackStep => ({
    kind: 'step',
    site,
    command,
    operation: `failback-${site}-${control.epoch + 1}-${to}`,
    reason,
    evidence,
  });
  const begunAt = stepBegunAt(control, facts.past, site);
  if (state === 'active' && (health === 'degraded' || health === 'down')) {
    if (weight === 0) return wait(`${site} is ${health}`);
    // One look at what a step did before another one is taken back.
    if (now - begunAt < profile.window * profile.tickMs) return wait(`${site} is ${health}, the step is young`);
    const lower = weightsOnTheWay[weightsOnTheWay.indexOf(weight) - 1]!;
    const command: ControlCommand =
      lower === 0 ? { kind: 'weights', weights: { [site]: 0 } } : { kind: 'failback', site, step: lower };
    return step(command, String(lower), `${site} is ${health} at weight ${weight}: one step back`);
  }
  const healthy = words.filter(({ verdict }) => verdict.health === 'healthy');
  if (health !== 'healthy' || healthy.length < Math.max(2, words.length))
    return wait(`${site} is ${health}; ${healthy.length} of ${words.length} observers hold it healthy`);
  const held = healthy.find(({ verdict }) => now < verdict.holdUntil);
  if (held !== undefined) return wait(`${held.observer} holds its verdict back after a change`);
  if (state === 'recovering' && !facts.isConverged) return wait('the journals are not proved to hold the same yet');
  const wellSince = Math.max(...healthy.map(({ verdict }) => verdict.since), state === 'active' ? begunAt : 0);
  const leftMs = profile.soakMs - (now - wellSince);
  if (state === 'active' && leftMs > 0) return wait(`well at weight ${weight}, ${Math.ceil(leftMs / 1000)} s to go`);
  const next = state === 'recovering' ? failbackSteps[0] : failbackSteps.find((one) => one > weight)!;
  const why = state === 'recovering' ? 'both journals hold the same' : `well for a whole soak at weight ${weight}`;
  return step({ kind: 'failback', site, step: next }, String(next), `${site} returns, weight ${next}: ${why}`);
}

/** A site that is recovering, or has not reached its full weight since it was; the first by id. */
export function returningSite(control: ControlEntry, past: readonly ControlEntry[]): SiteId | undefined {
  const entries = [control, ...past].toSorted((a, b) => b.epoch - a.epoch);
  const isReturning = (id: SiteId): boolean => {
    for (const [i, entry] of entries.entries()) {
      if (entry.epoch !== control.epoch - i) return false;
      const site = entry.sites[id];
      if (site?.state === 'recovering') return true;
      if (site?.state !== 'active' || !weightsOnTheWay.includes(site.weight)) return false;
    }
    return false;
  };
  return Object.keys(control.sites).toSorted().find(isReturning);
}

function stepBegunAt(control: ControlEntry, past: readonly ControlEntry[], site: SiteId): EpochMs {
  const { state, weight } = control.sites[site]!;
  const entries = [control, ...past].toSorted((a, b) => b.epoch - a.epoch);
  const other = entries.findIndex(({ sites }) => sites[site]?.state !== state || sites[site]?.weight !== weight);
  return entries.at(other === -1 ? -1 : other - 1)!.at;
}

/**
 * One tick of a failback: brings the journals together while a site is recovering, and takes the next step if its gates
 * are open. Called by the monitor of a site that serves, after control has decided; any number may run at once, since
 * each step names the entry it follows.
 */
export async function runFailback(
  core: Core,
  observations: readonly SeenObservation[],
  options: { observer?: string; policy?: ControlPolicy } = {},
): Promise<{ step: FailbackStep; outcome?: CommandOutcome }> {
  const control = await core.control.current();
  const mayReturn = ({ state, weight }: ControlEntry['sites'][string]) =>
    state === 'recovering' || (state === 'active' && weightsOnTheWay.includes(weight));
  if (control.sites[core.self]?.state === 'fenced' || !Object.values(control.sites).some(mayReturn))
    return { step: { kind: 'none' } };
  const policy = options.policy ?? controlPolicy(core);
  const past = await readPast(core, control, { whole: true });
  const site = returningSite(control, past);
  if (site === undefined) return { step: { kind: 'none' } };
  const isRecovering = control.sites[site]!.state === 'recovering';
  const isConverged = isRecovering && (await convergeJournals(core).catch(() => false));
  const now = core.clock.now();
  const opinion = (id: SiteId) => opinionOf(id, observations, policy.profile, now);
  const step = nextFailbackStep({ control, past, opinion, profile: policy.profile, isConverged }, now);
  if (step.kind !== 'step') return { step };
  const outcome = await execute(core, step.command, {
    operationId: step.operation,
    expectedEpoch: control.epoch,
    actor: `monitor/${options.observer ?? core.self}`,
    reason: step.reason,
    evidence: step.evidence,
    observations,
    policy,
    isConverged: async () => isConverged,
  });
  core.log.info('failback.step', { site, operation: step.operation, status: outcome.status });
  return { step, outcome };
}
