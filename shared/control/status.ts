import type { BreakerNote } from '../batching/breaker.ts';
import type { Cause, Health, SeenObservation } from '../health/types.ts';
import type { ControlEntry, SiteState } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { type Decision, decide, isAutomatic } from './decide.ts';
import type { OpenBatches, OpenBatchLook } from './open-batches.ts';
import { backlogAt, iso, isWitnessSeen, type Opinion, opinionOf } from './opinion.ts';
import type { ControlPolicy } from './policy.ts';
import { isForceable, ruleNames } from './rules.ts';
import type { Superseded } from './superseded.ts';

/** Whose fault it is, in one word. */
export type Blame = 'nobody' | 'them' | 'us' | 'link' | 'everybody' | 'unknown';

/** A batch that may miss its window. */
export interface BatchAtRisk extends Omit<OpenBatchLook, 'deadline'> {
  deadline: string;
  left: number;
  /** About when it is done at the pace last seen; `null` where nobody works it, or nothing was seen to get done. */
  doneAt: string | null;
  misses: boolean;
}

/** One screen for the person who was woken. Sentences are for reading; everything else is what they are made of. */
export interface StatusPage {
  object: 'status';
  at: string;
  epoch: number;
  frozen: boolean;
  blame: Blame;
  /** Is it us, them, or the link. */
  headline: string;
  since: string | null;
  evidence: string[];
  sites: {
    site: SiteId;
    state: SiteState;
    weight: number;
    health: Health;
    causes: Cause[];
    models: string[];
    since: string | null;
    accusers: string[];
    openLines: number;
  }[];
  moves: string[];
  lastChange: { epoch: number; at: string; actor: string; reason: string; forced: string[] };
  /** What happens without anybody's help, and when. */
  byItself: string[];
  /** What may be typed now, the likeliest first. */
  type: { command: string; why: string }[];
  /** What becomes of it if nobody does anything. */
  otherwise: string;
  /** Those that miss their window first, first. */
  batches: BatchAtRisk[];
  /** Open batches that were not looked at; `null` where none could be. */
  unread: number | null;
  /** Causes with a page: `holdfast runbook CAUSE`. */
  runbooks: Cause[];
  /** Backends that are held off, or were until lately, as each site's own workers found them. */
  breakers: HeldOff[];
  observers: { observer: string; at: string; silent: boolean; trustsItself: boolean }[];
  witness: 'answers' | 'silent' | 'none';
  /** What one store and a person decided and a majority decided otherwise; kept, for whoever acted on it. */
  superseded: Superseded[];
}

/**
 * A breaker as it stands when the page is written:
 *
 * - `open`: no call before `until`
 * - `halfOpen`: its pause is over; the next call is a probe, and decides
 * - `ramping`: served again, lately: calls began with one at once, and double from round to round
 * - `closed`: served again, for longer, or never held off
 */
export interface HeldOff extends Pick<BreakerNote, 'site' | 'backend' | 'model' | 'cause' | 'reason'> {
  state: 'open' | 'halfOpen' | 'ramping' | 'closed';
  since: string;
  until: string;
  /** Calls at once that the server was last known to bear: where a ramp leads. `null` where nobody knows. */
  concurrency: number | null;
}

const blames: Record<Cause, Blame> = {
  'site-dark': 'them',
  'store-down': 'them',
  'store-read-only': 'them',
  'queue-stuck': 'them',
  'model-throttled': 'them',
  'model-down': 'them',
  'trigger-detached': 'us',
  'credentials-expired': 'us',
  'api-down': 'us',
  'observer-sick': 'us',
  'link-cut': 'link',
  'common-cause': 'everybody',
};

const blameWords: Record<Blame, string> = {
  nobody: 'All is well',
  them: 'It is them',
  us: 'It is us',
  link: 'It is the link between the clouds',
  everybody: 'It is in both clouds at once',
  unknown: 'Nobody can tell',
};

const batchesShown = 10;

/** Everything a page is made of. */
export interface StatusInput {
  control: ControlEntry;
  observations: readonly SeenObservation[];
  /** `undefined` where no site showed its batches. */
  open: OpenBatches | undefined;
  policy: ControlPolicy;
  now: EpochMs;
  past?: readonly ControlEntry[];
  superseded?: readonly Superseded[];
}

/** The page, from facts alone: the same ones give the same page. */
export function statusPage(input: StatusInput): StatusPage {
  const { control, observations, open, policy, now, past = [], superseded = [] } = input;
  const opinions = Object.keys(control.sites)
    .sort()
    .map((site) => opinionOf(site, observations, policy.profile, now));
  const ill = opinions.filter(({ health }) => health !== 'healthy').sort((a, b) => rank[b.health] - rank[a.health]);
  const decision = decide(observations, control, policy, now, { past });
  const blame = blameOf(ill);
  const since = ill.length === 0 ? undefined : Math.min(...ill.map((one) => one.since ?? now));
  const batches = atRisk(open?.batches ?? [], control, opinions, observations, policy.profile.tickMs, now);
  const witness = !policy.hasWitness ? 'none' : isWitnessSeen(observations) ? 'answers' : 'silent';
  return {
    object: 'status',
    at: iso(now),
    epoch: control.epoch,
    frozen: control.frozen,
    blame,
    headline: headlineOf(blame, ill, control),
    since: since === undefined ? null : iso(since),
    evidence: ill.flatMap(({ evidence }) => evidence).slice(0, 12),
    sites: opinions.map((one) => ({
      site: one.site,
      state: control.sites[one.site]!.state,
      weight: control.sites[one.site]!.weight,
      health: one.health,
      causes: one.causes,
      models: one.models,
      since: one.since === undefined ? null : iso(one.since),
      accusers: one.accusers,
      openLines: backlogAt(one.site, observations).reduce((sum, { openLines }) => sum + openLines, 0),
    })),
    moves: control.moves.map(
      ({ scope, name, from, to, since: epoch }) => `${scope} ${name}: ${from} → ${to} (epoch ${epoch})`,
    ),
    lastChange: {
      epoch: control.epoch,
      at: iso(control.at),
      actor: control.actor,
      reason: control.reason,
      forced: control.forced,
    },
    byItself: whatMoves(decision, control, opinions, policy, now, past),
    type: whatToType(decision, control, opinions, witness),
    otherwise: otherwiseOf(decision, policy, control, ill, batches),
    batches: batches.slice(0, batchesShown),
    unread: open === undefined ? null : open.unread,
    runbooks: [...new Set(ill.flatMap(({ causes }) => causes))],
    breakers: breakersOf(observations, now),
    observers: observations.map(({ observation, stale }) => ({
      observer: observation.observer,
      at: iso(observation.at),
      silent: stale,
      trustsItself: observation.trustsItself,
    })),
    witness,
    superseded: [...superseded],
  };
}

/** The word of each site's own observer; a silent one has none. */
function breakersOf(observations: readonly SeenObservation[], now: EpochMs): HeldOff[] {
  return observations
    .filter(({ stale }) => !stale)
    .flatMap(({ observation: { home, breakers } }) => (breakers ?? []).filter(({ site }) => site === home))
    .map((note) => {
      const { site, backend, model, since, until, cause, reason, concurrency = null } = note;
      const times = { since: iso(since), until: iso(until) };
      return { site, backend, model, state: stateOf(note, now), ...times, cause, reason, concurrency };
    });
}

function stateOf({ state, until }: BreakerNote, now: EpochMs): HeldOff['state'] {
  if (state === 'open') return now < until ? 'open' : 'halfOpen';
  return now < until ? 'ramping' : 'closed';
}

const rank: Record<Health, number> = { healthy: 0, unknown: 1, degraded: 2, down: 3 };
const away = (state: SiteState) => state === 'fenced' || state === 'recovering';

function blameOf(ill: readonly Opinion[]): Blame {
  if (ill.length === 0) return 'nobody';
  if (ill.some(({ isCommon }) => isCommon)) return 'everybody';
  const [cause] = ill.flatMap(({ causes }) => causes);
  return cause === undefined ? 'unknown' : blames[cause];
}

function headlineOf(blame: Blame, ill: readonly Opinion[], { sites }: ControlEntry): string {
  const fenced = Object.keys(sites).filter((id) => away(sites[id]!.state));
  const moved = fenced.length === 0 ? '' : ` ${fenced.map((id) => `${id} is ${sites[id]!.state}`).join(', ')}.`;
  if (ill.length === 0) return `${blameWords.nobody}: every site is healthy.${moved}`;
  const what = ill.map(({ site, health, causes, models }) => {
    const which = models.length === 0 ? '' : ` of ${models.join(', ')}`;
    return `${site} is ${health}${causes.length === 0 ? '' : ` (${causes.join(', ')}${which})`}`;
  });
  return `${blameWords[blame]}: ${what.join('; ')}.${moved}`;
}

/** What the machines will do, in the order in which it may happen. */
function whatMoves(
  decision: Decision,
  control: ControlEntry,
  opinions: readonly Opinion[],
  policy: ControlPolicy,
  now: EpochMs,
  past: readonly ControlEntry[],
): string[] {
  const tick = `${Math.ceil(policy.profile.tickMs / 1000)} s`;
  const sentences = [
    decision.kind === 'none'
      ? `Nothing now: ${decision.reason}.`
      : policy.isActing
        ? `Within a tick or two (${tick} each): ${decision.reason}.`
        : `Nothing: monitors only recommend here (settings.failover). They would move what this says: ${decision.reason}.`,
  ];
  for (const { store } of control.voters.filter(({ joining }) => joining === true))
    sentences.push(
      `The store of ${store} was replaced: it votes again once it holds every register that the others hold.`,
    );
  if (control.frozen) return sentences;
  for (const { site, words } of opinions) {
    const { state, fencedEpoch } = control.sites[site]!;
    if (state === 'recovering')
      sentences.push(`${site} copies what it lacks, proves it, and takes weight in steps as long as it stays well.`);
    if (state !== 'fenced') continue;
    const cause = [control, ...past].find(({ epoch }) => epoch === fencedEpoch);
    const holdUntil = Math.max(0, ...words.map(({ verdict }) => verdict.holdUntil));
    if (cause === undefined || !isAutomatic(cause) || !policy.automaticFailback || !policy.isActing)
      sentences.push(
        `${site} stays fenced until somebody starts its return${cause === undefined ? '' : `: ${cause.actor} failed it over`}.`,
      );
    else
      sentences.push(
        `${site} starts to recover once all observers hold it healthy${holdUntil > now ? `, not before ${iso(holdUntil)}` : ''}.`,
      );
  }
  return sentences;
}

function whatToType(
  decision: Decision,
  control: ControlEntry,
  opinions: readonly Opinion[],
  witness: StatusPage['witness'],
): StatusPage['type'] {
  const typed: StatusPage['type'] = [];
  const add = (command: string, why: string) => typed.push({ command: `holdfast ${command}`, why });
  if (control.frozen) add('unfreeze --reason "…"', 'nothing changes before, not even by hand');
  const wells = opinions.filter(({ site, isWell }) => isWell && !away(control.sites[site]!.state));
  for (const { site, health, causes } of opinions) {
    const { state } = control.sites[site]!;
    const to = wells.find((one) => one.site !== site)?.site;
    if (!away(state) && to !== undefined && (health === 'down' || health === 'unknown'))
      add(
        `failover --from ${site} --to ${to} --reason "…" --dry-run`,
        `what moving ${site} would do; without --dry-run it happens${objection(decision, witness)}`,
      );
    const only = opinions.find((one) => one.site !== site && away(control.sites[one.site]!.state));
    if (!away(state) && to === undefined && health === 'down' && only !== undefined && only.words.length > 0)
      add(
        `failover --from ${site} --to ${only.site} --force no-solo-flip --reason "…"`,
        `${site} is alone and down; what only it knows waits until it is back`,
      );
    if (state === 'fenced' && health === 'healthy')
      add(`failback ${site} --reason "…"`, `${site} is well: let it recover`);
    if (state === 'cordoned') add(`uncordon ${site} --reason "…"`, `${site} takes nothing new as it is`);
    for (const cause of causes)
      if (!typed.some(({ command }) => command.endsWith(cause)))
        add(`runbook ${cause}`, `what ${cause} means, what to check, how to undo`);
  }
  if (typed.length === 0) add('status --json', 'the same for programs');
  return typed;
}

/** What stands in the way of the same change by hand, and how a person gets past it. */
function objection(decision: Decision, witness: StatusPage['witness']): string {
  const rule = decision.kind === 'none' ? /, but ([a-z-]+):/.exec(decision.reason)?.[1] : undefined;
  if (witness !== 'answers')
    return '; if fewer than two voters answer, --force no-witness makes you the third vote, for this side alone';
  const isInTheWay = ruleNames.some((name) => name === rule && isForceable(name));
  return isInTheWay ? ` (${rule} objects: --force ${rule} overrides it)` : '';
}

function otherwiseOf(
  decision: Decision,
  { isActing }: ControlPolicy,
  control: ControlEntry,
  ill: readonly Opinion[],
  batches: readonly BatchAtRisk[],
): string {
  const missing = batches.filter(({ misses }) => misses);
  const first = missing[0];
  const windows =
    first === undefined
      ? 'No open batch is seen to miss its window.'
      : `${missing.length === 1 ? 'One batch misses' : `${missing.length} batches miss`} the window, the first at ${first.deadline}: lines that are open then end as expired, and are answered so.`;
  if (decision.kind === 'change' && isActing) return `Holdfast does it by itself. ${windows}`;
  const serving = ill.filter(({ site, health }) => health === 'down' && !away(control.sites[site]!.state));
  if (serving.length === 0) return `Nothing is lost, and the work goes on. ${windows}`;
  return `What ${serving.map(({ site }) => site).join(' and ')} had in work stands still until the site is back or somebody moves it; nothing that was accepted in both clouds is lost. ${windows}`;
}

/** Earliest miss first: those that nobody can finish, then those that are too slow, then by deadline. */
function atRisk(
  batches: readonly OpenBatchLook[],
  control: ControlEntry,
  opinions: readonly Opinion[],
  observations: readonly SeenObservation[],
  tickMs: DurationMs,
  now: EpochMs,
): BatchAtRisk[] {
  const ahead = new Map<SiteId, number>();
  return batches
    .toSorted((a, b) => a.deadline - b.deadline)
    .map((look): BatchAtRisk => {
      const { owner, deadline, lines, answered } = look;
      const left = Math.max(0, lines - answered);
      const isStuck =
        owner === null ||
        away(control.sites[owner]?.state ?? 'fenced') ||
        opinions.some((one) => one.site === owner && one.isDown);
      const before = owner === null ? 0 : (ahead.get(owner) ?? 0);
      if (owner !== null) ahead.set(owner, before + left);
      const perMs =
        owner === null ? 0 : backlogAt(owner, observations).reduce((sum, row) => sum + row.answeredOfLate, 0) / tickMs;
      // Sites work the oldest deadline first, about.
      const doneAt = isStuck || perMs === 0 ? undefined : now + (before + left) / perMs;
      const misses = isStuck ? left > 0 || lines === 0 : doneAt !== undefined ? doneAt > deadline : deadline <= now;
      return {
        ...look,
        deadline: iso(deadline),
        left,
        doneAt: doneAt === undefined ? null : iso(Math.round(doneAt)),
        misses,
      };
    })
    .sort((a, b) => Number(b.misses) - Number(a.misses));
}
