import type { Settings } from '../../shared/settings.ts';
import { defaultSettings } from '../../shared/settings.ts';
import type { DurationMs } from '../../shared/units.ts';
import type { Stream } from './engine/random.ts';

/** Everything about a run that is drawn from its seed before anything happens, printed first. */
export interface Knobs {
  /** During which faults strike; then they stop, and the world has to come to rest. */
  hours: number;
  tickMs: DurationMs;
  health: Settings['health'];
  failover: Settings['failover'];
  intake: Settings['intake'];
  /** Clocks of the two clouds and of the others, wrong by this much. */
  skewMs: { aws: DurationMs; azure: DurationMs; outside: DurationMs };
  batches: number;
  /** Most lines of one batch. */
  linesMax: number;
  /** Lines of one chunk. */
  chunkLines: number;
  /** Share of batches that ask for embeddings. */
  embeddings: number;
  /** Share of lines that the model refuses. */
  poison: number;
  /** Share of batches that their owner cancels. */
  cancels: number;
  /** Share of files that their owner deletes early. */
  deletions: number;
  /** Share of batches that are sent twice, to both clouds, under one key. */
  twice: number;
  /** Share of jobs under a key that the other cloud is sent with another payload, in the same second. */
  conflicts: number;
  /** Batches with a line that kills the process which works it. They end at their deadline. */
  killers: number;
  /** Torn and foreign objects that are laid among results. */
  torn: number;
  /** Pointers of a later version that are laid into queues. */
  laterVersions: number;
  /** A store that is replaced: by an empty one (`witness`), or by a backup of its `state` of some minutes before (`azure`). */
  replaced: 'none' | 'witness' | 'azure';
  modelP50Ms: DurationMs;
  modelConcurrency: number;
  malformed: number;
  duplicates: number;
  lostLeases: number;
  depthLagMs: DurationMs;
  workersMax: number;
  appInstances: number;
  canaries: boolean;
  observer: boolean;
  /** Faults that strike; 0: a quiet run. */
  faults: number;
  /** Drills that people start; with any, a daily one is due, too. */
  drills: number;
  /** Whether time in which nothing can happen but the passing of it is left out, and counted apart. */
  leavesOutQuiet: boolean;
}

/** The settings that a run's core is given. */
export function settingsOf(knobs: Knobs): Settings {
  const text = { linesMax: knobs.chunkLines, tokensMax: 100_000, bytesMax: 1_000_000 };
  return Object.freeze({
    ...defaultSettings,
    intake: knobs.intake,
    chunks: { text, embeddings: { ...text, linesMax: 2 * knobs.chunkLines } },
    health: knobs.health,
    failover: knobs.failover,
    tickMs: knobs.tickMs,
  });
}

/** Runs so long tick less often: what they try is what takes hours. */
const longHours = 12;
const longTicksMs = [30_000, 60_000, 90_000, 120_000];

/** Draws the knobs of one seed. `given` ones are drawn all the same and then replaced, so that they shift nothing. */
export function drawKnobs(stream: Stream, given: Partial<Knobs> = {}): Knobs {
  const rarely = (rate: number, value: number) => (stream.chance(rate) ? value : 0);
  const drawn: Knobs = {
    hours: 1,
    tickMs: stream.pick((given.hours ?? 1) >= longHours ? longTicksMs : [10_000, 20_000, 30_000, 60_000]),
    health: 'balanced',
    failover: stream.chance(0.85) ? 'automatic' : 'recommend',
    intake: stream.chance(0.6) ? 'strict' : 'available',
    skewMs: {
      aws: rarely(0.3, stream.int(-120_000, 120_000)),
      azure: rarely(0.3, stream.int(-120_000, 120_000)),
      outside: rarely(0.2, stream.int(-30_000, 30_000)),
    },
    batches: stream.int(2, 10),
    linesMax: stream.pick([6, 20, 60]),
    chunkLines: stream.pick([1, 3, 5, 10]),
    embeddings: stream.pick([0, 0.2]),
    poison: rarely(0.3, 0.05),
    cancels: rarely(0.3, 0.2),
    deletions: rarely(0.3, 0.2),
    twice: rarely(0.4, 0.3),
    conflicts: rarely(0.15, 0.3),
    killers: 0,
    torn: rarely(0.2, 3),
    laterVersions: rarely(0.15, 1),
    replaced: stream.chance(0.9) ? 'none' : stream.pick(['witness', 'azure'] as const),
    modelP50Ms: stream.pick([200, 2_000, 15_000]),
    modelConcurrency: stream.pick([8, 32, 200]),
    malformed: rarely(0.2, 0.02),
    duplicates: rarely(0.5, 0.05),
    lostLeases: rarely(0.3, 0.05),
    depthLagMs: stream.pick([0, 15_000, 60_000]),
    workersMax: stream.int(2, 6),
    appInstances: stream.int(1, 3),
    canaries: stream.chance(0.5),
    observer: stream.chance(0.8),
    faults: stream.int(1, 10),
    leavesOutQuiet: true,
    drills: rarely(0.15, 2),
  };
  return { ...drawn, ...given };
}
