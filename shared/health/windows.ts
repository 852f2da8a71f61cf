import type { DurationMs, EpochMs } from '../units.ts';
import { type HealthProfile, type Reading, type Signal, windowMs } from './types.ts';

/** What the looks at one thing say, counted over one window. */
export interface SignalState {
  signal: Signal;
  subject: string | undefined;
  /** At least `profile.failed` of the last `profile.window` looks failed. */
  isFailing: boolean;
  /** At least half of what makes it failing, and the last look failed: enough to suspect, not to accuse. */
  isSuspect: boolean;
  /** Some look of the window gave an answer, good or bad. */
  isKnown: boolean;
  /** Some look of the window went well. */
  isOk: boolean;
  /** Looks without a failure since the last one, those without an answer left out. */
  streak: number;
  failed: number;
  looks: number;
  /** The commonest code among the failures of the window; the first by name among equals. */
  code: string | undefined;
  lastFailedAt: EpochMs | undefined;
  lastOkAt: EpochMs | undefined;
}

/** What is looked at now and then only: its looks stay good for longer. `journal` and `send` are the canary's. */
export function isRare({ signal, subject }: Pick<Reading, 'signal' | 'subject'>): boolean {
  return signal === 'model' || signal === 'canary' || subject === 'journal' || subject === 'send';
}
/** A look at a rare signal counts for this many windows. */
const rareWindows = 30;

/** Readings later than `now` or too old to count are left out; the rest is sorted by signal, subject and time. */
export function signalStates(readings: readonly Reading[], profile: HealthProfile, now: EpochMs): SignalState[] {
  const bySignal = new Map<Signal, Map<string | undefined, Reading[]>>();
  const isFresh = isFreshAt(profile, now);
  for (const one of readings) {
    if (!isFresh(one)) continue;
    const bySubject = bySignal.get(one.signal) ?? new Map<string | undefined, Reading[]>();
    bySignal.set(one.signal, bySubject);
    const series = bySubject.get(one.subject);
    if (series === undefined) bySubject.set(one.subject, [one]);
    else series.push(one);
  }
  // No signal holds a blank, and of several series without a subject there is one.
  const named = [...bySignal].flatMap(([signal, bySubject]) =>
    [...bySubject].map(([subject, series]) => ({
      name: subject === undefined ? signal : `${signal} ${subject}`,
      series,
    })),
  );
  return named.sort((a, b) => compare(a.name, b.name)).map(({ series }) => stateOf(series, profile, now));
}

/** How long a look counts. What is looked at each tick must hold enough looks to become healthy again. */
function freshMs(profile: HealthProfile): DurationMs {
  return 2 * Math.max(profile.good, profile.window) * profile.tickMs;
}

function rareFreshMs(profile: HealthProfile): DurationMs {
  return 2 * profile.window * rareWindows * profile.tickMs;
}

/** Readings that still count; the others are of no use to any judgement. */
export function freshReadings(readings: readonly Reading[], profile: HealthProfile, now: EpochMs): Reading[] {
  return readings.filter(isFreshAt(profile, now));
}

function isFreshAt(profile: HealthProfile, now: EpochMs): (one: Reading) => boolean {
  const [oldest, oldestRare] = [now - freshMs(profile), now - rareFreshMs(profile)];
  return (one) => one.at <= now && one.at >= (isRare(one) ? oldestRare : oldest);
}

function stateOf(series: readonly Reading[], profile: HealthProfile, now: EpochMs): SignalState {
  // Of two looks at one moment the worse one comes last, so that their order in the input does not matter.
  const sorted = isAscending(series)
    ? series
    : series.toSorted((a, b) => a.at - b.at || badness(a) - badness(b) || compare(a.code, b.code));
  const one = sorted[0]!;
  const { signal, subject } = one;
  // Ticks take longer while things time out, but what was seen before a long sleep accuses nobody.
  const recentMs = isRare(one) ? rareFreshMs(profile) : 3 * windowMs(profile);
  const recent = sorted.slice(-profile.window).filter(({ at }) => now - at <= recentMs);
  const failures = recent.filter(({ outcome }) => outcome === 'failed');
  const answers = sorted.filter(({ outcome }) => outcome !== 'unknown');
  const lastFailure = answers.findLastIndex(({ outcome }) => outcome === 'failed');
  return {
    signal,
    subject,
    isFailing: failures.length >= profile.failed,
    isSuspect: failures.length >= Math.ceil(profile.failed / 2) && answers.at(-1)?.outcome === 'failed',
    isOk: recent.some(({ outcome }) => outcome === 'ok'),
    isKnown: recent.some(({ outcome }) => outcome !== 'unknown'),
    streak: answers.length - 1 - lastFailure,
    failed: failures.length,
    looks: recent.length,
    code: failures.length === 0 ? undefined : commonest(failures.map(({ code }) => code ?? 'failed')),
    lastFailedAt: answers[lastFailure]?.at,
    lastOkAt: answers.findLast(({ outcome }) => outcome === 'ok')?.at,
  };
}

/** As looks come, one after the other. */
function isAscending(series: readonly Reading[]): boolean {
  for (let i = 1; i < series.length; i++) if (series[i]!.at <= series[i - 1]!.at) return false;
  return true;
}

const badness = ({ outcome }: Reading) => (outcome === 'failed' ? 2 : outcome === 'ok' ? 1 : 0);
const compare = (a = '', b = '') => (a < b ? -1 : a > b ? 1 : 0);

function commonest(codes: readonly string[]): string | undefined {
  const counts = [...Map.groupBy(codes, (code) => code)].map(([code, all]) => ({ code, count: all.length }));
  return counts.sort((a, b) => b.count - a.count || compare(a.code, b.code))[0]?.code;
}
