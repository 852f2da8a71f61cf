import type { BreakerNote } from '../batching/breaker.ts';
import type { SiteId } from '../ports/site.ts';
import type { Settings } from '../settings.ts';
import type { DurationMs, EpochMs } from '../units.ts';

/**
 * Words of health (DESIGN.md section 7.2). A reading is one look at one thing; a verdict is what some readings mean for
 * a site; *unknown is not down*. All of these are data: printed, stored, replayed.
 */

/** What is looked at. `store.write` is its own signal: reads often return before writes. */
export const signals = [
  'store.read',
  'store.write',
  'queue',
  'credentials',
  'model',
  'api',
  'canary',
  'progress',
  'link',
  'reference',
] as const;
export type Signal = (typeof signals)[number];

/** One look of one observer at one thing of one site. */
export interface Reading {
  /** `aws`, `azure`, or the name of a third place. */
  observer: string;
  site: SiteId;
  signal: Signal;
  /**
   * Which one, where there are several: model alias (`model`, `progress`), name of a neutral reference, part of the
   * queues (`intake`, `work`, `send`) or stores (`journal`); absent elsewhere. Looks at different ones are counted apart.
   */
  subject?: string;
  at: EpochMs;
  outcome: 'ok' | 'failed' | 'unknown';
  latencyMs?: DurationMs;
  /** Stable code of what went wrong: `refused`, `timeout`, `readonly`, `credentials`, `throttled`, `stalled`, … */
  code?: string;
}

/** Why a site is not healthy, by name; each has a runbook page. */
export const causes = [
  'site-dark',
  'store-down',
  'store-read-only',
  'queue-stuck',
  'trigger-detached',
  'credentials-expired',
  'model-throttled',
  'model-down',
  'api-down',
  'link-cut',
  'common-cause',
  'observer-sick',
] as const;
export type Cause = (typeof causes)[number];

export type Health = 'healthy' | 'degraded' | 'down' | 'unknown';

/** What one observer holds of one site, with the evidence and the moment. */
export interface Verdict {
  site: SiteId;
  health: Health;
  /** Most important first; empty where healthy. */
  causes: Cause[];
  /** Model aliases concerned, for the model causes. */
  models: string[];
  /** Since when this health holds. */
  since: EpochMs;
  at: EpochMs;
  /** Sentences a person can check, newest first, at most ten. */
  evidence: string[];
  /** Changes of health within the last hour. */
  flaps: number;
  /** Not before this moment may the verdict improve again (hold-down). */
  holdUntil: EpochMs;
  /** Moments of those changes, newest first: the next verdict counts from them. */
  changes?: EpochMs[];
}

/** What one observer writes to every store it can reach, under `observations/<observer>.json`. */
export interface Observation {
  v: 1;
  kind: 'observation';
  observer: string;
  /** The site it runs in; `null` for a third place. */
  home: SiteId | null;
  at: EpochMs;
  /** False when it cannot reach its own site or its references: it abstains. */
  trustsItself: boolean;
  verdicts: Verdict[];
  /** Open lines, oldest open line and lines answered of late, per site and model. */
  backlog: Backlog[];
  /** What the workers of `home` found of its backends; absent where nothing is wrong with any. */
  breakers?: BreakerNote[];
  /** The latest round of looks, for whoever wants to see for himself. */
  readings?: Reading[];
}

/** What one model at one site has to do, and what it has done of late. Canaries are not in it. */
export interface Backlog {
  site: SiteId;
  model: string;
  openLines: number;
  /** Age of the oldest batch with an open line. */
  oldestMs: DurationMs;
  /** Lines answered since the look before. */
  answeredOfLate: number;
}

/** The latest observation of one observer that any store shows. */
export interface SeenObservation {
  observation: Observation;
  /** It has not changed for a whole window: its observer is silent. */
  stale: boolean;
  /** Stores that showed this very observation (site ids, `witness`). */
  stores: string[];
}

/** Those whose word counts: fresh, and trusting themselves. */
export function heard(observations: readonly SeenObservation[]): SeenObservation[] {
  return observations.filter(({ stale, observation }) => !stale && observation.trustsItself);
}

/** How quick a deployment is to judge. `failed` of `window` readings make down, `good` in a row make healthy again. */
export interface HealthProfile {
  name: 'balanced' | 'fast' | 'careful';
  tickMs: DurationMs;
  window: number;
  failed: number;
  good: number;
  /** First hold-down; doubles with each flap, up to an hour. */
  holdDownMs: DurationMs;
  /** How long a returning site has to be well at each weight before it takes the next. */
  soakMs: DurationMs;
}

export const profiles: Record<HealthProfile['name'], HealthProfile> = {
  balanced: { name: 'balanced', tickMs: 10_000, window: 6, failed: 5, good: 30, holdDownMs: 120_000, soakMs: 300_000 },
  fast: { name: 'fast', tickMs: 2_000, window: 6, failed: 5, good: 30, holdDownMs: 60_000, soakMs: 15_000 },
  careful: { name: 'careful', tickMs: 15_000, window: 10, failed: 8, good: 60, holdDownMs: 300_000, soakMs: 900_000 },
};

/** The profile of a deployment, at the tick it really has. */
export function profileOf(settings: Pick<Settings, 'health' | 'tickMs'>): HealthProfile {
  return { ...profiles[settings.health], tickMs: settings.tickMs };
}

/** A whole window, in time: how long an observer may be silent, and what counts as *of late*. At least 15 s. */
export function windowMs(profile: HealthProfile): DurationMs {
  return Math.max(profile.window * profile.tickMs, 15_000);
}
