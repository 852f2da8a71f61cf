import type { SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { type Decision, decide } from './decide.ts';
import { type CommandOutcome, type ExecuteCore, execute, surprisedSites } from './execute.ts';
import { readPast } from './history.ts';
import { type ControlPolicy, controlPolicy } from './policy.ts';

/** Longest pause before a decision is carried out: the other monitor saw the same thing in the same second. */
const jitterMsMax: DurationMs = 1_000;

/** What was said last, so that a decision that stays the same is told once. */
const told = new WeakMap<object, string>();

export interface ActOptions {
  /** Name of the observer that acts. Default: the site of this process. */
  observer?: string;
  policy?: ControlPolicy;
  /** See `CommandOptions`. */
  isConverged?: (site: SiteId) => Promise<boolean>;
}

/**
 * One tick's decision, carried out as `monitor/<observer>`: what a person would do who reads the same observations and
 * takes the same road; under `failover: recommend` it is only told. Waits a random while first, and does nothing if
 * somebody else acted in the meantime.
 * @returns the decision, and what became of it
 */
export async function actOnObservations(
  core: ExecuteCore,
  observations: readonly SeenObservation[],
  options: ActOptions = {},
): Promise<{ decision: Decision; outcome?: CommandOutcome }> {
  const control = await core.control.current();
  const first = await actOn(core, observations, control, new Set(), options);
  if (first.outcome?.status !== 'stale') return first;
  // What we went by had been overtaken: somebody was alone without our knowing. Only now is that known to be news.
  const surprised = surprisedSites(control, first.outcome.entry);
  return surprised.size === 0 ? first : actOn(core, observations, first.outcome.entry, surprised, options);
}

async function actOn(
  core: ExecuteCore,
  observations: readonly SeenObservation[],
  control: ControlEntry,
  surprised: ReadonlySet<SiteId>,
  { observer = core.self, isConverged, policy = controlPolicy(core) }: ActOptions,
): Promise<{ decision: Decision; outcome?: CommandOutcome }> {
  const actor = `monitor/${observer}`;
  const past = await readPast(core, control);
  const decision = decide(observations, control, policy, core.clock.now(), { past, actor, surprised });
  tell(core, decision, control.epoch);
  if (decision.kind === 'none' || !policy.isActing) return { decision };
  await core.clock.sleep(Math.floor(core.random() * Math.min(jitterMsMax, core.settings.tickMs / 2)));
  const outcome = await execute(core, decision.command, {
    operationId: decision.operation,
    expectedEpoch: control.epoch,
    actor,
    reason: decision.reason,
    evidence: decision.evidence,
    observations,
    policy,
    surprised,
    ...(isConverged !== undefined && { isConverged }),
  });
  core.log.info('decision.ended', { operation: decision.operation, status: outcome.status });
  return { decision, outcome };
}

function tell(core: ExecuteCore, decision: Decision, epoch: number): void {
  const { kind, reason, evidence } = decision;
  const words = `${epoch} ${kind} ${reason}`;
  if (told.get(core) === words) return;
  told.set(core, words);
  core.log.info('decision.made', { kind, epoch, reason, evidence: evidence.slice(0, 10).join('; ') });
}
