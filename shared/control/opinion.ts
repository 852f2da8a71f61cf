import {
  type Backlog,
  type Cause,
  type Health,
  type HealthProfile,
  heard,
  type SeenObservation,
  type Verdict,
  windowMs,
} from '../health/types.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';

/** Causes that another cloud does not share, so that moving the work there helps. */
const movable: ReadonlySet<Cause> = new Set([
  'site-dark',
  'store-down',
  'store-read-only',
  'queue-stuck',
  'trigger-detached',
  'credentials-expired',
]);

/** Observers whose word counts when nobody says how many there are: one in each cloud, and a third. */
const placesExpected = 3;

/** What one observer, fresh and trusting itself, holds of a site. Two observers in one site have one word. */
export interface Word {
  /** The site it stands in, or its name. */
  place: string;
  observer: string;
  verdict: Verdict;
}

/** What all observers together hold of a site. */
export interface Opinion {
  site: SiteId;
  words: Word[];
  /** Places that hold it down for a reason that moving helps, its own silence among them. */
  accusers: string[];
  /** Its own observer is silent in every store. */
  isSilent: boolean;
  /** At least two of three places accuse it. */
  isDown: boolean;
  /** Somebody holds it usable, and more do than hold it down. */
  isWell: boolean;
  /** Somebody sees the same fault elsewhere: moving would not help. */
  isCommon: boolean;
  health: Health;
  causes: Cause[];
  models: string[];
  /** Since when the earliest of those who say so say so. */
  since: EpochMs | undefined;
  evidence: string[];
}

/** Weighs the words on one site. Abstaining, silent and unknown words count for nobody. */
export function opinionOf(
  site: SiteId,
  observations: readonly SeenObservation[],
  profile: HealthProfile,
  now: EpochMs,
): Opinion {
  const words = wordsOn(site, observations);
  const accusing = words.filter(({ verdict }) => isAccusation(verdict));
  const isSilent = silent(site, observations, accusing, profile, now);
  const own = isSilent ? [site] : [];
  const accusers = [...new Set([...accusing.map(({ place }) => place), ...own])].sort();
  const places = new Set([...heard(observations).map(placeOf), ...own]).size;
  const isDown = accusing.length > 0 && accusers.length >= 2 && accusers.length * 2 > Math.max(placesExpected, places);
  const well = words.filter(({ verdict }) => verdict.health === 'healthy' || verdict.health === 'degraded');
  const ill = words.filter(({ verdict }) => verdict.health === 'down');
  const isWell = !isDown && well.length > ill.length + own.length;
  const shown = isDown ? accusing : ill.length > 0 && !isWell ? ill : well.length > 0 ? well : words;
  const sick = shown.filter(({ verdict }) => verdict.health !== 'healthy');
  const health = isDown ? 'down' : !isWell ? 'unknown' : sick.length > 0 ? 'degraded' : 'healthy';
  const told = sick.length > 0 ? sick : shown;
  return {
    site,
    words,
    accusers,
    isSilent,
    isDown,
    isWell,
    isCommon: words.some(({ verdict }) => verdict.causes.includes('common-cause')),
    health,
    causes: [...new Set(told.flatMap(({ verdict }) => verdict.causes))],
    models: [...new Set(words.flatMap(({ verdict }) => verdict.models))].sort(),
    since: told.length === 0 ? undefined : Math.min(...told.map(({ verdict }) => verdict.since)),
    // Told seldom, and weighed at each tick.
    get evidence() {
      return [
        ...told.flatMap(({ observer, verdict }) => [
          `${observer} holds ${site} ${verdict.health} since ${iso(verdict.since)}${list(verdict.causes)}`,
          ...verdict.evidence.slice(0, 3).map((sentence) => `${observer}: ${sentence}`.slice(0, 500)),
        ]),
        ...(isSilent ? [`the observer in ${site} is silent in every store`] : []),
      ].slice(0, 20);
    },
  };
}

/** True if the witness answered somebody: it showed an observation, or took one. */
export function isWitnessSeen(observations: readonly SeenObservation[]): boolean {
  return observations.some(({ stores }) => stores.includes('witness'));
}

/** The latest word on what is open at each site, by whoever counted it last; the site's own count goes first. */
export function backlogAt(site: SiteId, observations: readonly SeenObservation[]): Backlog[] {
  const counts = observations
    .map(({ observation }) => ({
      isOwn: observation.home === site,
      at: observation.at,
      rows: observation.backlog.filter((row) => row.site === site),
    }))
    .filter(({ isOwn, rows }) => isOwn || rows.length > 0)
    .sort((a, b) => b.at - a.at || Number(b.isOwn) - Number(a.isOwn));
  return counts[0]?.rows ?? [];
}

/** A moment as people read it. */
export const iso = (at: EpochMs): string => new Date(at).toISOString().replace('.000Z', 'Z');

const list = (words: readonly string[]) => (words.length === 0 ? '' : ` (${words.join(', ')})`);
const placeOf = ({ observation: { home, observer } }: SeenObservation) => home ?? observer;

function isAccusation({ health, causes }: Verdict): boolean {
  return health === 'down' && causes.some((cause) => movable.has(cause));
}

/** One word a place; of two observers in one place the later one speaks. */
function wordsOn(site: SiteId, observations: readonly SeenObservation[]): Word[] {
  const byPlace = new Map<string, Word>();
  const inOrder = heard(observations).sort((a, b) => a.observation.at - b.observation.at);
  for (const seen of inOrder) {
    const verdict = seen.observation.verdicts.find((one) => one.site === site);
    if (verdict === undefined || verdict.health === 'unknown') continue;
    byPlace.set(placeOf(seen), { place: placeOf(seen), observer: seen.observation.observer, verdict });
  }
  return [...byPlace.values()].sort((a, b) => (a.place < b.place ? -1 : 1));
}

/**
 * Silence is evidence only where it was listened for: the witness, to which the site's observer writes too, must have
 * answered. An observer that nobody ever heard counts as silent once the site has been accused for a whole window.
 */
function silent(
  site: SiteId,
  observations: readonly SeenObservation[],
  accusing: readonly Word[],
  profile: HealthProfile,
  now: EpochMs,
): boolean {
  if (!isWitnessSeen(observations)) return false;
  const own = observations.filter(({ observation }) => observation.home === site);
  if (own.length > 0) return own.every(({ stale }) => stale);
  return accusing.some(({ verdict }) => now - verdict.since >= windowMs(profile));
}
