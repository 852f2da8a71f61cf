import { heard, type Reading, type SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { canonicalJson, sha256 } from '../journal/json.ts';
import { compareText } from '../journal/keys.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import type { ControlCommand } from './commands.ts';
import type { ControlDraft } from './log.ts';
import { type Opinion, opinionOf } from './opinion.ts';
import { draftOf, planCommand } from './plan.ts';
import type { ControlPolicy } from './policy.ts';
import { type Situation, situationOf } from './rules.ts';

/** What a machine makes of what observers say, as data: printed, stored, replayed. */
export type Decision =
  /** Nothing changes, and why; where something is ill, what keeps it from moving. */
  | { kind: 'none'; reason: string; evidence: string[] }
  | {
      kind: 'change';
      reason: string;
      command: ControlCommand;
      operation: string;
      draft: ControlDraft;
      evidence: string[];
    };

/** Beyond observations, entry, policy and time; absent: nothing more is known. */
export type DecideMore = Partial<Pick<Situation, 'past' | 'converged' | 'surprised' | 'actor'>>;

interface Candidate {
  command: ControlCommand;
  reason: string;
  evidence: string[];
}

/**
 * What should change by itself, if anything. Never two things at once, the gravest first:
 *
 * 1. A site that two of three observers hold down, for a reason that moving helps, is failed over.
 * 2. A model that is down or throttled in one cloud, and seen to answer in the other, works in the other; the site stays.
 * 3. A model that is well again works at home again.
 * 4. A site that was failed over by a machine, and is well again, starts to recover. What follows is gated step by step.
 *
 * Every candidate has to pass the same rules as a person's command, and a machine forces none. The same cause under the
 * same epoch gives the same operation, whoever decides, so that two observers who decide at once do one thing.
 * Same inputs, same answer: no clock, no dice, no I/O.
 */
export function decide(
  observations: readonly SeenObservation[],
  control: ControlEntry,
  policy: ControlPolicy,
  now: EpochMs,
  more: DecideMore = {},
): Decision {
  const situation = situationOf({ actor: unnamed, ...more, observations, control, policy, now });
  const opinions = Object.keys(control.sites)
    .sort(compareText)
    .map((site) => opinionOf(site, observations, policy.profile, now));
  const refused: string[] = [];
  for (const candidate of candidates(opinions, situation)) {
    const operation = operationOf(candidate.command, control);
    const plan = planCommand(candidate.command, situation);
    if (plan.impossible !== undefined || plan.changes.length === 0) continue;
    if (plan.objections.length > 0) {
      const why = plan.objections.map(({ rule, sentence }) => `${rule}: ${sentence}`).join('; ');
      refused.push(`${candidate.reason}, but ${why}`);
      continue;
    }
    const { reason, evidence, command } = candidate;
    const draft = draftOf(plan, { at: now, actor: situation.actor, reason, operation, evidence });
    return { kind: 'change', reason, command, operation, draft, evidence };
  }
  const ill = opinions.filter(({ site, health }) => health !== 'healthy' && isServing(control, site));
  const reason = refused[0] ?? whyNothing(ill, observations);
  return { kind: 'none', reason, evidence: [...refused.slice(1), ...ill.flatMap(({ evidence }) => evidence)] };
}

/** The operation of an automatic change: a hash of its cause and its epoch. */
export function operationOf(command: ControlCommand, { epoch }: Pick<ControlEntry, 'epoch'>): string {
  return sha256(`monitor ${epoch} ${canonicalJson(command)}`).slice(0, 32);
}

/** True for an entry that a machine decided by itself. */
export const isAutomatic = ({ actor }: Pick<ControlEntry, 'actor'>): boolean => actor.startsWith('monitor/');

function* candidates(opinions: readonly Opinion[], situation: Situation): Generator<Candidate> {
  if (situation.policy.automaticFailover) {
    yield* failovers(opinions, situation);
    yield* spillovers(opinions, situation);
    yield* returns(opinions, situation);
  }
  if (situation.policy.automaticFailback) yield* failbacks(opinions, situation);
}

function* failovers(opinions: readonly Opinion[], { control }: Situation): Generator<Candidate> {
  for (const opinion of opinions) {
    const { site, isDown, causes, evidence } = opinion;
    if (!isDown || control.sites[site]!.state === 'fenced') continue;
    for (const to of targetsFor(site, control))
      yield {
        command: { kind: 'failover', from: site, to, scope: { kind: 'all' }, mode: 'forced' },
        reason: `${site} is down (${causes.join(', ')}), say ${accusersOf(opinion)}`,
        evidence,
      };
  }
}

/** Where the work of a site may go: the active sites, greatest weight first; those that are away only after them. */
function targetsFor(from: SiteId, control: ControlEntry): SiteId[] {
  const rank = { active: 0, cordoned: 1, recovering: 2, fenced: 3 };
  return Object.entries(control.sites)
    .filter(([id]) => id !== from)
    .sort(([a, x], [b, y]) => rank[x.state] - rank[y.state] || y.weight - x.weight || compareText(a, b))
    .map(([id]) => id);
}

function* spillovers(
  opinions: readonly Opinion[],
  { control, policy, observations, actor }: Situation,
): Generator<Candidate> {
  for (const { site, isDown, isCommon, words } of opinions) {
    if (isDown || isCommon || control.sites[site]!.state !== 'active') continue;
    // Each cloud knows best what serves it. And its monitor looks after it has read what the others saw: when a vendor
    // comes back behind both clouds, anybody else would see the model answer at home before hearing that it does there.
    if (isMonitor(actor) && actor !== monitorOf(site)) continue;
    const own = words.filter(({ place }) => place === site);
    for (const model of [...new Set(own.flatMap(({ verdict }) => verdict.models))].sort()) {
      if (isMovedTo(control, model, site) || lastLook(model, site, observations)?.outcome !== 'failed') continue;
      const saying = own.filter(({ verdict }) => verdict.models.includes(model));
      const since = Math.max(...saying.map(({ verdict }) => verdict.since));
      // Not to be accused is not enough: where nobody asks for it, nobody notices that the vendor is away there, too (F44).
      const isSeenToAnswer = (id: SiteId) => {
        const look = lastLook(model, id, observations);
        return look?.outcome === 'ok' && look.at >= since;
      };
      const to = targetsFor(site, control).find(
        (id) =>
          control.sites[id]!.state === 'active' &&
          policy.sitesFor(model).includes(id) &&
          opinions.some((one) => one.site === id && one.isWell && !one.models.includes(model)) &&
          isSeenToAnswer(id),
      );
      if (to === undefined) continue;
      yield {
        command: { kind: 'failover', from: site, to, scope: { kind: 'model', name: model }, mode: 'forced' },
        reason: `${model} does not work at ${site}, and does at ${to}`,
        evidence: evidenceOf(saying),
      };
    }
  }
}

const unnamed = 'monitor/unnamed';
const monitorOf = (site: SiteId) => `monitor/${site}`;
const isMonitor = (actor: string) => actor.startsWith('monitor/') && actor !== unnamed;

/** What a site's own observer, fresh and trusting itself, saw of a model there in its last round. */
function lastLook(model: string, site: SiteId, observations: readonly SeenObservation[]): Reading | undefined {
  return heard(observations)
    .filter(({ observation }) => observation.home === site)
    .flatMap(({ observation: { readings = [] } }) => readings)
    .filter((one) => one.site === site && one.signal === 'model' && one.subject === model)
    .sort((a, b) => b.at - a.at)[0];
}

/** The model was sent to `site`; to send it on from there is the business of its own home. */
const isMovedTo = ({ moves }: ControlEntry, model: string, site: SiteId) =>
  moves.some((move) => move.scope === 'model' && move.name === model && move.to === site);

function* returns(opinions: readonly Opinion[], { control, past }: Situation): Generator<Candidate> {
  for (const { scope, name, from, to, since } of control.moves) {
    const entry = [control, ...past].find(({ epoch }) => epoch === since);
    const home = opinions.find(({ site }) => site === from);
    if (scope !== 'model' || entry === undefined || !isAutomatic(entry)) continue;
    if (home === undefined || !home.isWell || control.sites[from]!.state !== 'active') continue;
    const own = home.words.filter(({ place, verdict }) => place === from && verdict.health !== 'down');
    if (own.length === 0 || home.models.includes(name)) continue;
    yield {
      command: { kind: 'failback', site: from, step: 'return', scope: { kind: 'model', name } },
      reason: `${name} works at ${from} again, and returns from ${to}`,
      evidence: evidenceOf(own),
    };
  }
}

function* failbacks(opinions: readonly Opinion[], { control, past, now }: Situation): Generator<Candidate> {
  for (const { site, health, words, evidence } of opinions) {
    const { state, fencedEpoch } = control.sites[site]!;
    if (state !== 'fenced') continue;
    const cause = [control, ...past].find(({ epoch }) => epoch === fencedEpoch);
    if (cause === undefined || !isAutomatic(cause)) continue;
    // Whoever returns is given facts by the others, and work when they are well.
    if (opinions.some((other) => other.site !== site && isServing(control, other.site) && !other.isWell)) continue;
    const healthy = words.filter(({ verdict }) => verdict.health === 'healthy' && now >= verdict.holdUntil);
    if (health !== 'healthy' || healthy.length < Math.max(2, words.length)) continue;
    yield {
      command: { kind: 'failback', site, step: 'start' },
      reason: `${site} is well again, say ${healthy.map(({ place }) => place).join(' and ')}; it starts to recover`,
      evidence,
    };
  }
}

const isServing = ({ sites }: ControlEntry, site: SiteId) => sites[site]!.state !== 'fenced';
const evidenceOf = (words: Opinion['words']) =>
  words.flatMap(({ observer, verdict }) => verdict.evidence.map((sentence) => `${observer}: ${sentence}`)).slice(0, 10);

/** The silence of a site's own observer is no word of its own. */
const accusersOf = ({ site, accusers, isSilent }: Opinion) =>
  accusers.map((place) => (place === site && isSilent ? 'its own silence' : place)).join(' and ');

function whyNothing(ill: readonly Opinion[], observations: readonly SeenObservation[]): string {
  if (!observations.some(({ stale, observation }) => !stale && observation.trustsItself))
    return 'no observer is heard: nothing is known of any site';
  const [worst] = ill.filter(({ accusers }) => accusers.length > 0);
  if (worst !== undefined && !worst.isDown)
    return `${worst.site} is accused by ${accusersOf(worst)} alone, and two of three are needed`;
  const [sick] = ill;
  if (sick === undefined) return 'all sites that serve are healthy';
  const causes = sick.causes.length === 0 ? 'nobody says why' : sick.causes.join(', ');
  return `${sick.site} is ${sick.health} (${causes}), which moving the site would not mend`;
}
