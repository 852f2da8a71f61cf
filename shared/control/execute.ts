import type { Core } from '../core.ts';
import { codeOf, isRetryable } from '../errors.ts';
import type { SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import { type ControlCommand, sitesOf } from './commands.ts';
import { readPast } from './history.ts';
import { type ControlCore, learnControl, proposeControl, proposeSolo } from './log.ts';
import { type CommandPlan, draftOf, planCommand } from './plan.ts';
import { type ControlPolicy, controlPolicy } from './policy.ts';
import { type Objection, type RuleName, type Situation, situationOf } from './rules.ts';
import { soloRule } from './solo.ts';

/** What a command needs of `Core`: the stores, and what may run where. */
export type ExecuteCore = ControlCore & Pick<Core, 'control' | 'models'>;

export interface CommandOptions {
  /** 1 to 64 characters; the same one again does nothing. */
  operationId: string;
  /** Entry that the sender saw; on any other the command does nothing. Default: whatever stands. */
  expectedEpoch?: number;
  /** `operator:…`, `monitor/<observer>`, `drill/<id>`. */
  actor: string;
  reason: string;
  /** Rules to be overridden by name; machines force none. */
  force?: readonly RuleName[];
  dryRun?: boolean;
  observations: readonly SeenObservation[];
  /** Beside the reason, in the entry. Default: what observers say of the sites concerned. */
  evidence?: readonly string[];
  policy?: ControlPolicy;
  /** Asked only where a site is to return: does it hold every fact that the others hold? Default: not known, so no. */
  isConverged?: (site: SiteId) => Promise<boolean>;
  /** See `Situation`. Default: what this call learns. */
  surprised?: ReadonlySet<SiteId>;
}

/** How a command ended. Each is an answer; what throws is a log that cannot be read. */
export type CommandOutcome =
  /** Decided now, by this call; `isSolo`: by one store and a person, in force here alone until the link heals. */
  | { status: 'done'; entry: ControlEntry; plan: CommandPlan; isSolo?: boolean }
  /** This operation stands in the log already: nothing was done again. */
  | { status: 'replayed'; entry: ControlEntry }
  /** It is so already: nothing was proposed. */
  | { status: 'unchanged'; plan: CommandPlan }
  /** `dryRun`: what would happen, with objections if there are any. */
  | { status: 'planned'; plan: CommandPlan }
  /** Rules forbid it; those of `unforceable` always will. */
  | { status: 'refused'; plan: CommandPlan; objections: Objection[] }
  /** There is no such change. */
  | { status: 'impossible'; plan: CommandPlan; sentence: string }
  /** The log stands at another entry than the sender saw. */
  | { status: 'stale'; entry: ControlEntry }
  /** Somebody else decided the next entry: theirs stands, and nothing of ours. */
  | { status: 'lost'; entry: ControlEntry }
  /** Fewer than two voters answered. It may still come to be: send it again under the same operation id. */
  | { status: 'undecided'; plan: CommandPlan; objections: Objection[]; error: string };

/**
 * The one road of every change, a person's and a machine's: learn what was decided, hold the command against the rules,
 * propose the next entry, tell what became of it. Needs any two of the three voters, and no part of a dark cloud.
 * Sending a command again (same operation id) does nothing, however late (F24); of two in the same second one is
 * decided, and the other one is told whose (F25).
 * @throws SiteUnavailableError, TransientError where not even the log can be learned
 */
export async function execute(
  core: ExecuteCore,
  command: ControlCommand,
  options: CommandOptions,
): Promise<CommandOutcome> {
  const { operationId, expectedEpoch, actor, dryRun = false } = options;
  const before = await core.control.current().catch(() => undefined);
  const control = await learnControl(core);
  const isMachine = actor.startsWith('monitor/');
  // An automatic operation is named after its epoch: it can only be the entry after that, which `expectedEpoch` tells.
  const past = await readPast(core, control, { whole: !isMachine });
  const replayed = [control, ...past].find(({ operation }) => operation === operationId);
  if (replayed !== undefined) return { status: 'replayed', entry: replayed };
  if (expectedEpoch !== undefined && expectedEpoch !== control.epoch) return { status: 'stale', entry: control };

  const situation = situationOf({
    control,
    past,
    observations: options.observations,
    policy: options.policy ?? controlPolicy(core),
    now: core.clock.now(),
    actor,
    surprised: options.surprised ?? surprisedSites(before, control),
    converged: await convergedSites(command, control, options),
  });
  const force = isMachine ? [] : (options.force ?? []);
  const plan = planCommand(command, situation, force);
  if (plan.impossible !== undefined) return { status: 'impossible', plan, sentence: plan.impossible };
  if (dryRun) return { status: 'planned', plan };
  if (plan.changes.length === 0) return { status: 'unchanged', plan };
  if (plan.objections.length > 0) return { status: 'refused', plan, objections: plan.objections };
  return propose(core, plan, situation, { ...options, force });
}

async function propose(
  core: ExecuteCore,
  plan: CommandPlan,
  situation: Situation,
  { operationId, reason, actor, evidence, force = [] }: CommandOptions,
): Promise<CommandOutcome> {
  const { control, now } = situation;
  const { command } = plan;
  const isReplacement = command.kind === 'replace-store';
  // Who may vote is never for one store to say.
  const isThirdVote = force.includes(soloRule) && !isReplacement;
  const draft = draftOf(plan, {
    at: now,
    actor,
    reason,
    operation: operationId,
    evidence: [...(evidence ?? []), ...plan.overridden.map(({ rule, sentence }) => `${rule} overridden: ${sentence}`)],
  });
  // Said before it is known to be needed: what the own store accepts of a round that fails is what it decides alone.
  if (isThirdVote) draft.forced.push(soloRule);
  try {
    const { entry, own } = await proposeControl(core, control, draft, isReplacement ? { without: command.store } : {});
    core.log.info(own ? 'control.decided' : 'control.lost', {
      epoch: entry.epoch,
      operation: operationId,
      actor: entry.actor,
      reason: entry.reason,
      changes: plan.changes.join('; '),
      forced: entry.forced.join(' '),
    });
    return own ? { status: 'done', entry, plan } : { status: 'lost', entry };
  } catch (error) {
    if (!isRetryable(error) || codeOf(error) === 'fact_unknown') throw error;
    const told = String((error as Error)?.message).slice(0, 300);
    if (isThirdVote) {
      const { entry, own } = await proposeSolo(core, control, draft);
      return own ? { status: 'done', entry, plan, isSolo: true } : { status: 'lost', entry };
    }
    core.log.warn('control.undecided', { operation: operationId, error: told });
    return { status: 'undecided', plan, objections: [isReplacement ? othersSilent : noWitness(core)], error: told };
  }
}

const othersSilent: Objection = {
  rule: 'no-witness',
  sentence: 'both other stores have to decide that a store was replaced, and one of them does not answer',
};

function noWitness(core: ExecuteCore): Objection {
  const why = core.witness === undefined ? ', and no witness is configured' : '';
  return {
    rule: 'no-witness',
    sentence: `fewer than two of the three voters answer, so nothing can be decided${why}; a person may act as the third vote: --force ${soloRule}`,
  };
}

/** Sites that thought themselves active until this very command learned of an entry that puts them out. */
export function surprisedSites(before: ControlEntry | undefined, control: ControlEntry): Set<SiteId> {
  if (before === undefined || before.epoch >= control.epoch) return new Set();
  return new Set(
    Object.keys(control.sites).filter(
      (id) =>
        control.sites[id]!.state === 'fenced' && before.sites[id] !== undefined && before.sites[id].state !== 'fenced',
    ),
  );
}

async function convergedSites(
  command: ControlCommand,
  control: ControlEntry,
  { isConverged }: CommandOptions,
): Promise<Set<SiteId>> {
  const away = sitesOf(command).filter((id) => ['fenced', 'recovering'].includes(control.sites[id]?.state ?? ''));
  const isReturn = command.kind === 'failover' || (command.kind === 'failback' && typeof command.step === 'number');
  if (isConverged === undefined || !isReturn) return new Set();
  const proofs = await Promise.all(away.map((id) => isConverged(id).catch(() => false)));
  return new Set(away.filter((_, i) => proofs[i]));
}
