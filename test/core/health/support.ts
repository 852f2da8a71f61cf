import { type Judgement, judgeAll } from '../../../shared/health/judge-all.ts';
import type {
  HealthProfile,
  Observation,
  Reading,
  SeenObservation,
  Signal,
  Verdict,
} from '../../../shared/health/types.ts';
import { profiles } from '../../../shared/health/types.ts';
import { freshReadings } from '../../../shared/health/windows.ts';

export const start = Date.UTC(2026, 0, 1);

/** What is wrong with a site at one moment: code by signal, `signal subject` or `*`; `null` where nothing answers at all. */
export type Ills = Readonly<Record<string, string | null | undefined>>;

const tickSignals: [Signal, string?][] = [
  ['store.read'],
  ['store.write'],
  ['queue', 'intake'],
  ['queue', 'work'],
  ['credentials'],
  ['api'],
];

/** The readings that one observer makes of one site in one tick. Progress, canary and models only where told. */
export function roundOf(observer: string, site: string, at: number, ills: Ills = {}): Reading[] {
  const extra = Object.keys(ills).flatMap((name): [Signal, string?][] => {
    const [signal, subject] = name.split(' ') as [Signal, string?];
    return name === '*' || tickSignals.some(([one, of]) => one === signal && (subject ?? of) === of)
      ? []
      : [[signal, subject]];
  });
  return [...tickSignals, ...extra].map(([signal, subject]): Reading => {
    const name = subject === undefined ? signal : `${signal} ${subject}`;
    const ill =
      name in ills
        ? ills[name]
        : signal in ills
          ? ills[signal]
          : '*' in ills && signal !== 'credentials'
            ? ills['*']
            : 'ok';
    const common = { observer, site, signal, ...(subject !== undefined && { subject }), at };
    if (ill === 'ok') return { ...common, outcome: 'ok', latencyMs: 5 };
    if (ill === null || ill === undefined) return { ...common, outcome: 'unknown' };
    return { ...common, outcome: 'failed', code: ill, latencyMs: 1000 };
  });
}

export const references = (observer: string, site: string, at: number, reached = 3, of = 3): Reading[] =>
  Array.from({ length: of }, (_, i) => ({
    observer,
    site,
    signal: 'reference',
    subject: `r${i}`,
    at,
    outcome: i < reached ? 'ok' : 'failed',
  }));

/** What one observer would conclude, tick by tick, of two sites with given ills. */
export class Eye {
  readonly observer: string;
  readonly home: string | null;
  readonly profile: HealthProfile;
  now = start;
  readings: Reading[] = [];
  last: Judgement = { trustsItself: true, verdicts: [], alone: [] };
  /** Every verdict on every site, in order. */
  readonly history: Verdict[] = [];

  constructor(home: string | null = 'azure', profile: HealthProfile = profiles.balanced) {
    this.observer = home ?? 'third';
    this.home = home;
    this.profile = profile;
  }

  /** `ticks` ticks; `ills` may depend on the tick. */
  look(ticks: number, ills: (tick: number) => Record<string, Ills>, others: SeenObservation[] = [], reached = 3): this {
    for (let tick = 0; tick < ticks; tick++) {
      this.now += this.profile.tickMs;
      const here = ills(tick);
      for (const site of ['aws', 'azure']) this.readings.push(...roundOf(this.observer, site, this.now, here[site]));
      this.readings.push(...references(this.observer, this.home ?? 'aws', this.now, reached));
      this.readings = freshReadings(this.readings, this.profile, this.now);
      this.last = judgeAll({
        observer: this.observer,
        home: this.home,
        sites: ['aws', 'azure'],
        readings: this.readings,
        previous: this.last.alone,
        others,
        profile: this.profile,
        now: this.now,
      });
      this.history.push(...this.last.verdicts);
    }
    return this;
  }

  well(ticks = 40): this {
    return this.look(ticks, () => ({}));
  }

  of(site: string): Verdict {
    return this.last.verdicts.find((verdict) => verdict.site === site)!;
  }

  /** How often the health of a site changed to `health`. */
  falls(site: string, health = 'down'): number {
    const of = this.history.filter((verdict) => verdict.site === site).map((verdict) => verdict.health);
    return of.filter((one, i) => one === health && of[i - 1] !== health).length;
  }
}

/** The word of a site's own observer. */
export function wordOf(site: string, verdict: Partial<Verdict> = {}, stale = false): SeenObservation {
  const own: Verdict = {
    site,
    health: 'healthy',
    causes: [],
    models: [],
    since: start,
    at: start,
    evidence: [],
    flaps: 0,
    holdUntil: start,
    ...verdict,
  };
  const observation: Observation = {
    v: 1,
    kind: 'observation',
    observer: site,
    home: site,
    at: start,
    trustsItself: true,
    verdicts: [own],
    backlog: [],
  };
  return { observation, stale, stores: ['witness'] };
}
