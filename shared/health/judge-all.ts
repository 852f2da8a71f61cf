import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import { judgeStates, presentCauses, statesOf, suspectedCauses } from './judge.ts';
import {
  type Cause,
  type HealthProfile,
  heard,
  type Observation,
  type Reading,
  type SeenObservation,
  type Verdict,
} from './types.ts';
import type { SignalState } from './windows.ts';

/** Everything one observer knows at one moment. */
export interface JudgeInput {
  observer: string;
  /** The site it runs in; `null` for a third place. */
  home: SiteId | null;
  sites: readonly SiteId[];
  readings: readonly Reading[];
  /** What `judge` said last, by itself (`Judgement.alone`). */
  previous: readonly Verdict[];
  /** What others saw, as far as any store shows it. */
  others: readonly SeenObservation[];
  profile: HealthProfile;
  now: EpochMs;
}

/** What an observer holds of all sites. */
export interface Judgement {
  trustsItself: boolean;
  /** What it says: with the second opinions in. */
  verdicts: Verdict[];
  /** What its own looks alone say; the next judgement goes on from these. */
  alone: Verdict[];
}

/** References that must be reachable for an observer to be believed; all, where fewer are configured. */
export const referencesNeeded = 3;

/** Causes that a cut link between observer and site would explain as well. */
const seenThroughLink: ReadonlySet<Cause> = new Set(['site-dark', 'store-down', 'queue-stuck', 'api-down']);
/** Causes that two sites cannot well have at once by accident. */
const shareable: ReadonlySet<Cause> = new Set([
  'site-dark',
  'store-down',
  'store-read-only',
  'queue-stuck',
  'trigger-detached',
  'credentials-expired',
  'api-down',
]);

/** What its own looks say, by site. */
type States = ReadonlyMap<SiteId, readonly SignalState[]>;

/**
 * Judges every site, then asks three questions that no look at one site can answer:
 *
 * - *Is it me?* An observer that reaches nothing of its own site, or not three neutral places, says `unknown` of all.
 * - *Is it the link?* If the site's own observer, whose word still arrives through some store, says that it is well,
 *   then what is broken lies between us: `link-cut`, degraded. A one-way cut looks like this from one side only.
 * - *Is it both?* The same fault in both clouds, or the same model gone in both: `common-cause`. Moving work to the
 *   other cloud would not help. Half as many failures are enough for this suspicion, or the first cloud to be judged
 *   would always be judged alone.
 */
export function judgeAll(input: JudgeInput): Judgement {
  const { sites, readings, previous, profile, now } = input;
  const bySite = Map.groupBy(readings, ({ site }) => site);
  const states: States = new Map(sites.map((site) => [site, statesOf(site, bySite.get(site) ?? [], profile, now)]));
  const alone = sites.map((site) => {
    const before = previous.find((one) => one.site === site);
    return judgeStates(site, states.get(site)!, before, profile, now);
  });
  const doubt = selfDoubt(input, states);
  const verdicts = alone.map((verdict) => {
    if (doubt !== undefined) return abstained(verdict, doubt);
    return withCommonCause(withLink(verdict, input, states), input, states);
  });
  return { trustsItself: doubt === undefined, verdicts, alone };
}

/** Why this observer should not be believed; `undefined` where it may be. */
function selfDoubt({ home, readings }: JudgeInput, states: States): string | undefined {
  const references = readings.filter(({ signal }) => signal === 'reference');
  const latest = [...Map.groupBy(references, ({ subject }) => subject)]
    .filter(([name]) => name !== undefined)
    .map(([, looks]) => looks.reduce((a, b) => (b.at >= a.at ? b : a)));
  const reached = latest.filter(({ outcome }) => outcome === 'ok').length;
  if (reached < Math.min(referencesNeeded, latest.length))
    return `I reach ${reached} of ${latest.length} neutral places: it may be me`;
  if (home === null) return undefined;
  const own = (states.get(home) ?? []).filter(({ signal }) => /^(store|queue|api)/.test(signal));
  const isLost = own.length > 0 && own.every(({ isFailing }) => isFailing);
  return isLost ? `I reach nothing of my own site ${home}: it may be me` : undefined;
}

function abstained(verdict: Verdict, doubt: string): Verdict {
  return { ...verdict, health: 'unknown', causes: ['observer-sick'], models: [], evidence: [doubt] };
}

/** The site's own word on itself, where it is fresh and its observer trusts itself. */
function ownWord(site: SiteId, { observer, others }: JudgeInput): Verdict | undefined {
  const word = others.find(
    ({ stale, observation }) =>
      !stale && observation.observer !== observer && observation.home === site && observation.trustsItself,
  );
  return word?.observation.verdicts.find((verdict) => verdict.site === site);
}

function withLink(verdict: Verdict, input: JudgeInput, states: States): Verdict {
  const { site, causes } = verdict;
  if (site === input.home || verdict.health === 'healthy' || verdict.health === 'unknown') return verdict;
  const word = ownWord(site, input);
  if (word === undefined || (word.health !== 'healthy' && word.health !== 'degraded')) return verdict;
  // While nothing fails any more the verdict only waits to get better: no link is cut then.
  const failing = presentCauses(states.get(site)!, input.profile, input.now);
  if (failing.length === 0) return verdict;
  const explained = causes.filter((cause) => seenThroughLink.has(cause) && !word.causes.includes(cause));
  // Refused credentials or a store that takes no writes from here, while all is well there, are not the link's doing.
  const isOursAlone = causes.includes('credentials-expired') || causes.includes('store-read-only');
  if (explained.length === 0 && !isOursAlone) return verdict;
  if (causes.includes('trigger-detached')) return verdict;
  return {
    ...verdict,
    health: 'degraded',
    causes: [
      ...(explained.length > 0 ? (['link-cut'] as const) : []),
      ...causes.filter((cause) => !explained.includes(cause)),
    ],
    evidence: [`${site} says of itself that it is ${word.health}`, ...verdict.evidence].slice(0, 10),
  };
}

function withCommonCause(verdict: Verdict, input: JudgeInput, states: States): Verdict {
  // What has no fault shares none; to look elsewhere costs as much as to judge.
  if (verdict.models.length === 0 && !verdict.causes.some((cause) => shareable.has(cause))) return verdict;
  const elsewhere = input.sites
    .filter((site) => site !== verdict.site)
    .map((site) => ({ site, ...ailments(site, input, states) }));
  for (const { site, causes, models } of elsewhere) {
    const shared = verdict.causes.filter((cause) => shareable.has(cause) && causes.has(cause));
    const sharedModels = verdict.models.filter((model) => models.has(model));
    if (shared.length === 0 && sharedModels.length === 0) continue;
    const what = [...shared, ...sharedModels.map((model) => `model ${model}`)].join(', ');
    return {
      ...verdict,
      causes: ['common-cause', ...verdict.causes],
      evidence: [`${site} has the same fault: ${what}`, ...verdict.evidence].slice(0, 10),
    };
  }
  return verdict;
}

/** What another site seems to have: by our own looks, by its own word. */
function ailments(site: SiteId, input: JudgeInput, states: States): { causes: Set<Cause>; models: Set<string> } {
  const seen = suspectedCauses(states.get(site)!, input.profile, input.now);
  const word = ownWord(site, input);
  return {
    // Dark from here and well by its own word is the link, and no ailment.
    causes: new Set([
      ...seen.causes.filter((cause) => !(word?.health === 'healthy' && seenThroughLink.has(cause))),
      ...(word?.causes ?? []),
    ]),
    models: new Set([...seen.models, ...(word?.models ?? []), ...modelsByOthers(site, input.others)]),
  };
}

/**
 * Models that somebody who is believed holds ill at a site, or has just seen fail there. The one look counts, too: of two
 * clouds that lose their vendor at once one monitor judges a few seconds before the other, and must not move work there.
 */
function modelsByOthers(site: SiteId, others: readonly SeenObservation[]): string[] {
  return heard(others).flatMap(({ observation: { verdicts, readings = [] } }: { observation: Observation }) => [
    ...verdicts.flatMap((verdict) => (verdict.site === site ? verdict.models : [])),
    ...readings.flatMap((one) =>
      one.site === site && one.signal === 'model' && one.outcome === 'failed' ? (one.subject ?? []) : [],
    ),
  ]);
}
