import { modelLooksOf, modelsIllElsewhere } from '../../../shared/health/models.ts';
import { nextSample, type ProgressSample, progressReadings, silentModels } from '../../../shared/health/progress.ts';
import {
  type HealthProfile,
  profileOf,
  type Reading,
  type SeenObservation,
  type Signal,
  type Verdict,
  windowMs,
} from '../../../shared/health/types.ts';
import { freshReadings } from '../../../shared/health/windows.ts';
import type { QueueDepth } from '../../../shared/ports/queue.ts';
import type { Settings } from '../../../shared/settings.ts';
import type { EpochMs } from '../../../shared/units.ts';
import { modelName } from './floor.ts';
import { type Cloud, clouds } from './limits.ts';
import type { Weather } from './weather.ts';

/** What observers are told of the work at one site. */
export interface Load {
  openLines: number;
  answeredLines: number;
  oldestAt: EpochMs;
  depth: QueueDepth;
}

/** One observer, and what it remembers from tick to tick. */
export interface Observer {
  name: string;
  home: Cloud | undefined;
  readings: Reading[];
  alone: Verdict[];
  seen: Map<string, { at: EpochMs; seenAt: EpochMs }>;
  sample: ProgressSample | undefined;
  modelAt: EpochMs;
  /** Work waits at home, and nothing of it moved since the tick before. */
  isStuck: boolean;
  answeredBefore: number;
  /** Last canary to each site, and how many went well in a row. */
  canaries: Map<Cloud, { at: EpochMs; streak: number }>;
}

const references = ['one', 'two', 'three', 'four'];

/** Looks of observers, as a scenario lets them turn out. */
export class Looks {
  readonly #settings: Settings;
  readonly #profile: HealthProfile;
  readonly #weather: Weather;

  constructor(settings: Settings, weather: Weather) {
    this.#settings = settings;
    this.#profile = profileOf(settings);
    this.#weather = weather;
  }

  /** Everything that one observer looks at in one tick. */
  round(
    observer: Observer,
    now: EpochMs,
    load: Readonly<Record<Cloud, Load>>,
    others: readonly SeenObservation[],
  ): Reading[] {
    const isAwaited = modelsIllElsewhere(observer.home ?? null, others).has(modelName);
    const round: Reading[] = [
      ...clouds.flatMap((site) => this.#look(observer, site, now, isAwaited)),
      ...this.#progress(observer, now, load, others),
    ];
    for (const subject of references)
      round.push({
        observer: observer.name,
        site: observer.home ?? 'aws',
        signal: 'reference',
        subject,
        at: now,
        outcome: 'ok',
      });
    return round;
  }

  /**
   * What a judge may still look at: of each neutral place the latest look, of everything else a row long enough to mend
   * it. Older looks change no verdict, and cost time.
   */
  kept(before: readonly Reading[], round: readonly Reading[], now: EpochMs): Reading[] {
    const profile = this.#profile;
    const rowMax = Math.max(profile.good, profile.window) + 2;
    const rows = new Map<string, number>();
    const all = [...before, ...round];
    const kept: Reading[] = [];
    for (let i = all.length - 1; i >= 0; i--) {
      const { site, signal, subject } = all[i]!;
      const row = `${site} ${signal} ${subject}`;
      const seen = rows.get(row) ?? 0;
      if (seen >= (signal === 'reference' ? 1 : rowMax)) continue;
      rows.set(row, seen + 1);
      kept.push(all[i]!);
    }
    return freshReadings(kept.reverse(), profile, now);
  }

  #look(observer: Observer, site: Cloud, now: EpochMs, isModelAwaited: boolean): Reading[] {
    const { name, home } = observer;
    const link =
      this.#weather.linkShare(now, home, site) +
      this.#weather.linkShare(now, site === home ? undefined : site, home ?? '');
    const outcome = (share: number): Reading['outcome'] =>
      this.#weather.fails(link) || this.#weather.fails(share) ? 'failed' : 'ok';
    const share = (service: string, ...ops: string[]) => this.#weather.share(now, site, service, ...ops);
    const one = (signal: Signal, failing: number, subject?: string): Reading => ({
      observer: name,
      site,
      signal,
      at: now,
      outcome: outcome(failing),
      code: 'failed',
      ...(subject !== undefined && { subject }),
    });
    // Another cloud's identity has to be exchanged for one of this cloud's.
    const proofs = home === site ? ['mint', 'validate'] : ['mint', 'validate', 'exchange'];
    const refused = this.#weather.partShare(now, site, 'credentials', ...proofs);
    const readings = [
      one('store.read', 1 - (1 - share('store', 'get')) * (1 - refused)),
      one('store.write', 1 - (1 - share('store', 'put')) * (1 - refused)),
      one('queue', 1 - (1 - share('queue', 'send', 'receive', 'settle')) * (1 - refused), 'work'),
      one('api', 1 - (1 - share('api')) * (1 - share('functions', 'invoke'))),
    ];
    const isAnswered = readings.slice(0, 3).some(({ outcome }) => outcome === 'ok');
    const proved: Reading['outcome'] = isAnswered ? 'ok' : refused > 0 ? 'failed' : 'unknown';
    readings.push({ ...one('credentials', 0), outcome: proved, code: 'credentials' });
    const isIll =
      readings.some((reading) => reading.outcome === 'failed') ||
      observer.canaries.get(site)!.streak === 0 ||
      observer.alone.some((verdict) => verdict.site === site && verdict.health !== 'healthy');
    return [...readings, ...this.#lookNowAndThen(observer, site, now, { isIll, isModelAwaited }, one)];
  }

  /**
   * Models and canaries are asked seldom while they are well, as the product's observers do: a model by its own home every
   * five windows, a canary with a pause that doubles up to 60 ticks, and each three ticks while something is wrong.
   */
  #lookNowAndThen(
    observer: Observer,
    site: Cloud,
    now: EpochMs,
    { isIll, isModelAwaited }: { isIll: boolean; isModelAwaited: boolean },
    one: (signal: Signal, failing: number, subject?: string) => Reading,
  ): Reading[] {
    const { home, readings } = observer;
    const profile = this.#profile;
    const share = (service: string, ...ops: string[]) => this.#weather.share(now, site, service, ...ops);
    const found: Reading[] = [];
    const isModelIll = readings.findLast(({ signal }) => signal === 'model')?.outcome === 'failed';
    const isJudgedIll = observer.alone.some((verdict) => verdict.site === site && verdict.models.length > 0);
    const isModelDue = isModelIll || isJudgedIll || isModelAwaited || observer.isStuck;
    if (home === site && (isModelDue || now - observer.modelAt >= 5 * windowMs(profile))) {
      observer.modelAt = now;
      const model = 1 - (1 - share('model', '*')) * (1 - this.#weather.share(now, 'provider', 'model', '*'));
      found.push({
        ...one('model', model, modelName),
        code: this.#weather.isThrottled(now, site) ? 'throttled' : 'failed',
      });
    }
    const canary = observer.canaries.get(site)!;
    const calmTicks = home === site ? Math.min(6 * 2 ** canary.streak, 60) : 120;
    if (now - canary.at >= (isIll ? 3 : calmTicks) * this.#settings.tickMs) {
      const parts = [
        share('functions', 'invoke', 'poller'),
        share('queue', 'send', 'receive'),
        share('store', 'get', 'put'),
      ];
      const reading = one('canary', 1 - parts.reduce((good, bad) => good * (1 - bad), 1));
      observer.canaries.set(site, { at: now, streak: reading.outcome === 'ok' ? canary.streak + 1 : 0 });
      found.push({ ...reading, code: 'stalled' });
    }
    return found;
  }

  #progress(
    observer: Observer,
    now: EpochMs,
    load: Readonly<Record<Cloud, Load>>,
    others: readonly SeenObservation[],
  ): Reading[] {
    const { home, name } = observer;
    // Whoever sweeps lists what is open; that takes a store.
    if (home === undefined || this.#weather.share(now, home, 'store', 'list', 'get') >= 1) return [];
    const open = clouds.flatMap((site) => {
      const { openLines, answeredLines, oldestAt } = load[site];
      if (openLines === 0) return [];
      const common = { batch: `all of ${site}`, site, model: modelName, endpoint: '/v1/chat/completions' as const };
      return [
        {
          ...common,
          lines: openLines + answeredLines,
          answered: answeredLines,
          written: answeredLines,
          acceptedAt: oldestAt,
        },
      ];
    });
    const previous = observer.sample;
    observer.sample = nextSample(previous, open, now);
    const depths = new Map(clouds.map((site) => [site, { work: load[site].depth }]));
    const ownLook = observer.readings.filter(({ signal }) => signal === 'model').slice(-1);
    const looks = [...ownLook, ...modelLooksOf(others)];
    return progressReadings(name, clouds, previous, observer.sample, depths, this.#settings, silentModels(looks));
  }
}
