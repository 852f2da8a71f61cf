import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { type Cause, type Health, type HealthProfile, type Reading, type Verdict, windowMs } from './types.ts';
import { isRare, type SignalState, signalStates } from './windows.ts';

/**
 * What the looks of one observer mean for one site.
 *
 * Think of a doctor who never believes one measurement. Each thing that is looked at (store, queue, progress, …) has its
 * own short memory: of the last n looks, k must have failed before it counts as broken (down in five ticks of six), and
 * a long unbroken row must have gone well before it counts as mended (thirty). In between nothing changes: what was
 * well stays well, what was ill stays ill. So ten seconds on, ten seconds off is *one* change, not eighteen.
 *
 * Getting worse is believed at once. Getting better waits for the hold-down, too, and that doubles with every change of
 * the last hour: a site that falls again after 25 good minutes has to be good for longer the next time.
 *
 * Then the pattern of what is broken gets a name, most telling first:
 *
 *   everything that is looked at         site-dark
 *   401 and 403 wherever one asks        credentials-expired   (never the job's fault, never configuration)
 *   reads and writes                     store-down            (reads alone: too; nothing works without them)
 *   writes, and reads go well            store-read-only       (reads come back before writes, and prove little)
 *   the queue does not answer            queue-stuck
 *   the queue answers, has work, and
 *     nothing comes out of it            trigger-detached      (every API is green, and no job completes)
 *   a model                              model-throttled, model-down   (degraded: its chunks move, the site stays)
 *   the front door                       api-down              (degraded: clients have a second address)
 *
 * No answer at all is *unknown*: not healthy, not down. What needs a second opinion (is it the link? is it both clouds?
 * is it me?) is not decided here but in `judgeAll`.
 *
 * Total and deterministic: any readings, in any order, give a verdict, and the same ones the same verdict. A failure
 * more never makes it better.
 */
export function judge(
  site: SiteId,
  readings: readonly Reading[],
  previous: Verdict | undefined,
  profile: HealthProfile,
  now: EpochMs,
): Verdict {
  return judgeStates(site, statesOf(site, readings, profile, now), previous, profile, now);
}

/** What the looks at one site say, for all that is asked of them; neutral places belong to no site. */
export function statesOf(
  site: SiteId,
  readings: readonly Reading[],
  profile: HealthProfile,
  now: EpochMs,
): SignalState[] {
  const own = readings.filter((reading) => reading.site === site && reading.signal !== 'reference');
  return signalStates(own, profile, now);
}

/** As `judge`, from what `statesOf` gives. */
export function judgeStates(
  site: SiteId,
  states: readonly SignalState[],
  previous: Verdict | undefined,
  profile: HealthProfile,
  now: EpochMs,
): Verdict {
  const found = diagnose(states, now, profile, ({ isFailing }) => isFailing);
  const isKnownWell = required.every((signal) => states.some((one) => one.signal === signal && one.isOk));
  const isBlind = !required.every((signal) => states.some((one) => one.signal === signal && one.isKnown));
  const target = found.causes.length > 0 ? found.health : isKnownWell ? 'healthy' : 'unknown';
  const kept = previous?.site === site ? previous : undefined;
  if (kept === undefined) return first(site, target, found, states, now, profile);
  if (rank[target] >= rank[kept.health] || (isBlind && target === 'unknown'))
    return next(kept, target, found, evidenceOf(states, []), now, profile);
  // Something got better: believed only once every signal has been well for long enough, and the hold-down is over.
  const isSettled = settled(kept, profile);
  const lagging = diagnose(states, now, profile, (state) => !isSettled(state));
  const health = worse(lagging.causes.length > 0 ? lagging.health : 'healthy', target);
  if (rank[health] < rank[kept.health] && now >= kept.holdUntil)
    return next(kept, health, health === target ? found : lagging, evidenceOf(states, []), now, profile);
  const waits = now < kept.holdUntil ? [`held as it is until ${iso(kept.holdUntil)}`] : [];
  const asBefore = { health: kept.health, causes: kept.causes, models: kept.models };
  return next(kept, kept.health, asBefore, evidenceOf(states, [...waits, ...mending(states, profile)]), now, profile);
}

/** Causes that hold now; a verdict keeps those of a site that is mending for longer. */
export function presentCauses(states: readonly SignalState[], profile: HealthProfile, now: EpochMs): Cause[] {
  return diagnose(states, now, profile, ({ isFailing }) => isFailing).causes;
}

/** Causes that a site would have if half as many failures were enough: for telling a common cause before it is too late. */
export function suspectedCauses(
  states: readonly SignalState[],
  profile: HealthProfile,
  now: EpochMs,
): { causes: Cause[]; models: string[] } {
  return diagnose(states, now, profile, ({ isFailing, isSuspect }) => isFailing || isSuspect);
}

export const rank: Record<Health, number> = { healthy: 0, unknown: 1, degraded: 2, down: 3 };
const worse = (a: Health, b: Health): Health => (rank[a] >= rank[b] ? a : b);

/** What must have answered before a site may be called healthy. */
const required = ['store.read', 'store.write', 'queue'] as const;
const holdDownMaxMs: DurationMs = 3_600_000;
const flapsWithinMs: DurationMs = 3_600_000;
/** Moments of change that are kept; with that many the hold-down is at its longest anyway. */
const changesMax = 20;
const evidenceMax = 10;
/** Answers in a row that mend what is looked at now and then only. */
const rareStreak = 3;

interface Diagnosis {
  health: Health;
  causes: Cause[];
  models: string[];
}

function diagnose(
  states: readonly SignalState[],
  now: EpochMs,
  profile: HealthProfile,
  isBad: (state: SignalState) => boolean,
): Diagnosis {
  const of = (signal: SignalState['signal']) => states.filter((state) => state.signal === signal);
  const bad = (signal: SignalState['signal']) => of(signal).some(isBad);
  const [read, write, queue, api] = [bad('store.read'), bad('store.write'), bad('queue'), bad('api')];
  const hard: Cause[] = [];
  // A front door that was not looked at says nothing; one that answers says that somebody is there.
  const isDark = read && write && queue && (api || of('api').every(({ isKnown }) => !isKnown));
  const noCredentials = bad('credentials');
  if (noCredentials) hard.push('credentials-expired');
  else if (isDark) hard.push('site-dark');
  if (!isDark && read) hard.push('store-down');
  if (!isDark && write && !read) hard.push('store-read-only');
  if (!isDark && queue) hard.push('queue-stuck');
  if (!queue && isDetached(of('progress'), of('canary'), isBad, now, profile)) hard.push('trigger-detached');
  const models = of('model').filter(isBad);
  const soft: Cause[] = [];
  if (models.some(({ code }) => code !== 'throttled')) soft.push('model-down');
  if (models.some(({ code }) => code === 'throttled')) soft.push('model-throttled');
  if (api && !isDark) soft.push('api-down');
  return {
    health: hard.length > 0 ? 'down' : soft.length > 0 ? 'degraded' : 'healthy',
    causes: [...hard, ...soft],
    models: [...new Set(models.flatMap(({ subject }) => subject ?? []))].sort(),
  };
}

/**
 * The queue answers and nothing comes out of it: no model at the site makes progress while messages lie there and none
 * is in work, and no canary has come through of late; or canaries do not come through, and no real job contradicts.
 */
function isDetached(
  progress: readonly SignalState[],
  canary: readonly SignalState[],
  isBad: (state: SignalState) => boolean,
  now: EpochMs,
  profile: HealthProfile,
): boolean {
  const known = progress.filter(({ isKnown }) => isKnown);
  const isStalled = known.length > 0 && known.every(isBad);
  const isMoving = known.some((state) => !isBad(state) && state.isOk);
  const cameThrough = canary.some(({ lastOkAt }) => lastOkAt !== undefined && now - lastOkAt <= windowMs(profile));
  return (isStalled && !cameThrough) || (canary.some(isBad) && !isMoving);
}

function first(
  site: SiteId,
  target: Health,
  found: Diagnosis,
  states: readonly SignalState[],
  now: EpochMs,
  profile: HealthProfile,
): Verdict {
  const isSeenEnough = required.every((signal) =>
    states.some((state) => state.signal === signal && state.streak >= profile.window),
  );
  const health = target === 'healthy' && !isSeenEnough ? 'unknown' : target;
  const evidence = evidenceOf(states, health === 'unknown' ? ['not looked at for long enough'] : []);
  const { causes, models } = found;
  return { site, health, causes, models, since: now, at: now, evidence, flaps: 0, holdUntil: now, changes: [] };
}

/** The verdict after `previous`; counts the change, if it is one. Only getting worse starts a hold-down. */
function next(
  previous: Verdict,
  health: Health,
  { causes, models }: Pick<Diagnosis, 'causes' | 'models'>,
  evidence: string[],
  now: EpochMs,
  profile: HealthProfile,
): Verdict {
  const earlier = (previous.changes ?? []).filter((at) => now - at < flapsWithinMs);
  const isChange = health !== previous.health;
  // Getting to know a site is no change of it.
  const changes = isChange && previous.health !== 'unknown' ? [now, ...earlier].slice(0, changesMax) : earlier;
  const holdMs = Math.min(profile.holdDownMs * 2 ** Math.min(earlier.length, changesMax), holdDownMaxMs);
  const isFall = isChange && rank[health] > rank[previous.health] && health !== 'unknown';
  return {
    site: previous.site,
    health,
    causes,
    models,
    since: isChange ? now : previous.since,
    at: now,
    evidence,
    flaps: changes.length,
    holdUntil: isFall ? Math.max(previous.holdUntil, now + holdMs) : previous.holdUntil,
    changes,
  };
}

/** Whether a signal has been well for long enough. Where nothing was ever wrong, one window of good looks is enough. */
function settled({ health, flaps }: Verdict, profile: HealthProfile): (state: SignalState) => boolean {
  const needed = health === 'unknown' && flaps === 0 ? profile.window : profile.good;
  return (state) => {
    const { signal, streak, isKnown, lastFailedAt } = state;
    // Without a backlog, or without a canary under way, there is nothing to be well.
    if (!isKnown) return isRare(state) || !required.some((one) => one === signal);
    if (lastFailedAt === undefined && !required.some((one) => one === signal && !isRare(state))) return true;
    if (signal === 'canary') return streak >= 1;
    if (isRare(state) || signal === 'progress') return streak >= Math.min(needed, rareStreak);
    return streak >= needed;
  };
}

function mending(states: readonly SignalState[], profile: HealthProfile): string[] {
  return states
    .filter((one) => required.some((signal) => one.signal === signal) && !isRare(one) && one.streak < profile.good)
    .map((state) => `${nameOf(state)}: ${state.streak} good looks in a row, ${profile.good} are needed`);
}

/** Sentences about whatever failed of late, the newest failure first; then what is known to be well. */
function evidenceOf(states: readonly SignalState[], extra: readonly string[]): string[] {
  const failing = states
    .filter(({ failed }) => failed > 0)
    .sort((a, b) => b.lastFailedAt! - a.lastFailedAt!)
    .map(
      (state) =>
        `${nameOf(state)}: ${state.failed} of the last ${state.looks} looks failed (${state.code}), last at ${iso(state.lastFailedAt!)}`,
    );
  const silent = required
    .filter((signal) => !states.some((state) => state.signal === signal && state.isKnown))
    .map((signal) => `${signal}: no look of late gave an answer`);
  return [...failing, ...silent, ...extra].slice(0, evidenceMax);
}

const nameOf = ({ signal, subject }: SignalState) => (subject === undefined ? signal : `${signal} ${subject}`);
/** Any number, since a judge must not throw: a moment that no calendar has is told as it is. */
const iso = (at: EpochMs) => (Math.abs(at) <= 8.64e15 ? new Date(at).toISOString() : String(at));
