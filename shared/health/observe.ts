import type { BreakerNote } from '../batching/breaker.ts';
import type { Core } from '../core.ts';
import { codeOf } from '../errors.ts';
import { type Endpoint, factVersion } from '../journal/facts.ts';
import type { QueueDepth, QueuePart } from '../ports/queue.ts';
import type { Site, SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { readBreakers } from './breakers.ts';
import { type CanaryJob, type CanaryMemory, type CanaryTurn, tendCanary } from './canary.ts';
import { type HeldMemory, lookAtHeld } from './held.ts';
import { judgeAll } from './judge-all.ts';
import { lastModelLooks, lookAtModels, modelLooksOf, modelsIllElsewhere } from './models.ts';
import { listObservers, readObservations, type SeenBefore, writeObservation } from './observation.ts';
import { type Looks, probeReferences, probeSite, type SiteLook } from './probe.ts';
import {
  backlogOf,
  nextSample,
  type OpenBatch,
  type ProgressSample,
  progressReadings,
  type SilentModels,
  silentModels,
  turnMs,
} from './progress.ts';
import {
  type Backlog,
  type HealthProfile,
  heard,
  type Observation,
  profileOf,
  type Reading,
  type SeenObservation,
  type Verdict,
  windowMs,
} from './types.ts';
import { freshReadings } from './windows.ts';

/** What observing needs of `Core`; a third place has no more. */
export type ObserveCore = Pick<Core, 'sites' | 'witness' | 'clock' | 'ids' | 'log' | 'settings' | 'control'>;

/** What an observer is given by its shell. */
export interface ObserveDeps extends Looks {
  /** The site it runs in; `null` for a third place. */
  home: SiteId | null;
  /** What canaries ask for; absent: none are run from here. */
  canary?: CanaryJob;
}

/** What an observer remembers from tick to tick. Lost with its process, which costs it a few ticks of patience. */
export interface ObserveMemory {
  readings: Reading[];
  alone: Verdict[];
  seen: SeenBefore;
  etags: Map<string, string>;
  observers?: { names: string[]; at: EpochMs };
  sample?: ProgressSample;
  canaries: Map<SiteId, CanaryMemory>;
  /** What the workers of each site said of the messages they hold; of sites that had work at the last tick. */
  held: Map<SiteId, HeldMemory>;
  /** Last look at each model, and how it went. */
  models: Map<string, Reading>;
  /** Looks at models that are under way, by alias, oldest first. */
  modelLooks: Map<string, { at: EpochMs }[]>;
  /** Looks at models that ended since the last tick. */
  modelReadings: Reading[];
  /** How each model is asked, from the batches that want it. */
  endpoints: Map<string, Endpoint>;
  /** What was told of the home's breakers last. */
  breakers: BreakerNote[];
  referencesAt?: EpochMs;
  writtenAt?: EpochMs;
  /** Health, causes and models as they were written last. */
  written?: string;
}

export function observeMemory(): ObserveMemory {
  return {
    readings: [],
    alone: [],
    seen: new Map(),
    etags: new Map(),
    breakers: [],
    canaries: new Map(),
    held: new Map(),
    models: new Map(),
    modelLooks: new Map(),
    modelReadings: [],
    endpoints: new Map(),
  };
}

/** Neutral places are asked when something is wrong, and otherwise once in this many windows. */
const referencePauseWindows = 10;
/** The list of observers is read again after this many windows. */
const observersPauseWindows = 10;

/**
 * One tick of one observer: looks at both sites, reads what the others saw, judges, and writes its observation to every
 * store that takes it, the witness too.
 *
 * Every look of a tick runs beside the others, so that a tick against a cloud that swallows everything takes as long as
 * two bounded calls. An idle pair is cheap: models, canaries, neutral places and the observation itself have longer
 * pauses while all is well (`docs/operations/probe-cost.md` counts what is left).
 * @param open what the last pass of the sweeper saw; absent where none ended since the tick before
 */
export async function observe(
  core: ObserveCore,
  deps: ObserveDeps,
  memory: ObserveMemory,
  open?: readonly OpenBatch[],
): Promise<Observation> {
  return (await observeAll(core, deps, memory, open)).own;
}

/** As `observe`, with what the others saw. */
export async function observeAll(
  core: ObserveCore,
  deps: ObserveDeps,
  memory: ObserveMemory,
  open?: readonly OpenBatch[],
): Promise<{ own: Observation; others: SeenObservation[] }> {
  const profile = profileOf(core.settings);
  const sites = [...core.sites.values()];
  const [looks, held, others] = await Promise.all([
    Promise.all(sites.map((site) => probeSite(core, site, deps))),
    lookAtAllHeld(core, memory),
    readOthers(core, deps, memory, profile),
  ]);
  const before = memory.sample;
  const works = new Map(looks.map((look) => [look.site, workIn(look, held.get(look.site), others)]));
  const silent = silentModels([...lastModelLooks(core, deps, memory), ...modelLooksOf(others)]);
  const progress = lookAtProgress(core, deps, memory, works, open, silent);
  const backlog = memory.sample === undefined ? [] : backlogOf(before, memory.sample);
  const told = [...backlog, ...backlogsOf(others)];
  memory.held = new Map(told.map(({ site }) => [site, memory.held.get(site) ?? {}]));
  const round = [...looks.flatMap(({ readings }) => readings), ...progress];
  // What is not well is looked at more closely.
  const isIll = (site: SiteId) =>
    round.some((one) => one.site === site && one.outcome === 'failed') ||
    memory.alone.some((verdict) => verdict.site === site && verdict.health !== 'healthy');
  const illElsewhere = modelsIllElsewhere(deps.home, others);
  const [breakers, ...closer] = await Promise.all([
    lookAtBreakers(core, deps, memory, backlog),
    lookAtModels(core, deps, memory, profile, backlog, illElsewhere),
    lookAtReferences(
      core,
      deps,
      memory,
      profile,
      sites.some(({ id }) => isIll(id)),
    ),
    ...looks.map((look) => {
      const isBusy = isWorking(look.site, works.get(look.site)!, told);
      const isModelSilent = deps.canary !== undefined && silent.has(look.site, deps.canary.model);
      const waitsMs = silent.any(look.site) ? turnMs(core.settings) : 0;
      return tend(core, deps, memory, profile, look, { isBusy, isModelSilent, waitsMs, isUrgent: isIll(look.site) });
    }),
  ]);
  round.push(...closer.flat());

  const now = core.clock.now();
  memory.readings = freshReadings([...memory.readings, ...round], profile, now);
  const { trustsItself, verdicts, alone } = judgeAll({
    observer: deps.observer,
    home: deps.home,
    sites: sites.map(({ id }) => id),
    readings: memory.readings,
    previous: memory.alone,
    others,
    profile,
    now,
  });
  announce(core, memory.alone, alone);
  memory.alone = alone;
  const own: Observation = {
    v: factVersion,
    kind: 'observation',
    observer: deps.observer,
    home: deps.home,
    at: now,
    trustsItself,
    verdicts,
    backlog,
    ...(breakers.length > 0 && { breakers }),
    readings: [...round.filter(({ signal }) => signal !== 'model'), ...lastModelLooks(core, deps, memory)].slice(
      0,
      readingsMax,
    ),
  };
  await write(core, memory, own, profile, illElsewhere.size > 0);
  return { own, others };
}

/** Read while there is work, and while anything was told of them: an idle pair pays nothing for it. */
async function lookAtBreakers(
  core: ObserveCore,
  { home }: ObserveDeps,
  memory: ObserveMemory,
  backlog: Observation['backlog'],
): Promise<BreakerNote[]> {
  const site = home === null ? undefined : core.sites.get(home);
  const isWorking = backlog.some((one) => one.site === home);
  if (site === undefined || (!isWorking && memory.breakers.length === 0)) return [];
  memory.breakers = await readBreakers(core, site);
  return memory.breakers;
}

const readingsMax = 500;

async function readOthers(
  core: ObserveCore,
  { observer }: ObserveDeps,
  memory: ObserveMemory,
  profile: HealthProfile,
): Promise<SeenObservation[]> {
  const now = core.clock.now();
  if (memory.observers === undefined || now - memory.observers.at > observersPauseWindows * windowMs(profile)) {
    const isFirst = memory.observers === undefined;
    const listed = await listObservers(core);
    memory.observers = { names: [...new Set([...core.sites.keys(), ...listed])], at: now };
    if (isFirst) await goOn(core, observer, memory);
  }
  const names = memory.observers.names.filter((name) => name !== observer);
  return readObservations(core, memory.seen, names);
}

/** A process that starts takes up what the one before it had found out, or every restart would forget a hold-down. */
async function goOn(core: ObserveCore, observer: string, memory: ObserveMemory): Promise<void> {
  const [own] = await readObservations(core, new Map(), [observer]);
  if (own === undefined || own.stale || !own.observation.trustsItself) return;
  memory.alone = own.observation.verdicts.filter(({ site }) => core.sites.has(site));
}

/** The queues of a site, as they are worked. */
type WorkDepth = SiteLook['depth'];

/** Nobody is asked what he holds where there is nothing to do. */
async function lookAtAllHeld(
  core: ObserveCore,
  memory: ObserveMemory,
): Promise<ReadonlyMap<SiteId, ReadonlySet<QueuePart>>> {
  const looks = [...memory.held].map(async ([id, before]) => {
    const site = core.sites.get(id);
    return [id, site === undefined ? new Set<QueuePart>() : await lookAtHeld(core, site, before)] as const;
  });
  return new Map(await Promise.all(looks));
}

/**
 * Messages are in work where the queue counts them so, or where workers say that they hold some, since Service Bus counts
 * these as waiting. They are only while somebody is there to work them: a site whose front door fails and whose own
 * observer is silent, too, has no functions, and what they held comes back when its lease ends.
 */
function workIn(
  { site, depth, readings }: SiteLook,
  held: ReadonlySet<QueuePart> | undefined,
  others: readonly SeenObservation[],
): WorkDepth {
  const isDoorShut = readings.some(({ signal, outcome }) => signal === 'api' && outcome === 'failed');
  const isSilent = others.every(({ observation, stale }) => observation.home !== site || stale);
  const isGone = isDoorShut && isSilent;
  const queue = (part: QueuePart): QueueDepth | undefined => {
    const one = depth[part];
    if (one === undefined) return undefined;
    if (isGone) return { ...one, visible: one.visible + one.inFlight, inFlight: 0 };
    return { ...one, inFlight: Math.max(one.inFlight, held?.has(part) ? 1 : 0) };
  };
  return { intake: queue('intake'), work: queue('work') };
}

/**
 * Somebody holds messages of the site, or has put some off, or whoever counts saw lines of it answered: what waits there
 * waits its turn.
 */
function isWorking(site: SiteId, { intake, work }: WorkDepth, backlogs: readonly Backlog[]): boolean {
  const isHeld = [intake, work].some((depth) => (depth?.inFlight ?? 0) + (depth?.delayed ?? 0) > 0);
  return isHeld || backlogs.some((row) => row.site === site && row.answeredOfLate > 0);
}

const backlogsOf = (others: readonly SeenObservation[]): Backlog[] =>
  heard(others).flatMap(({ observation }) => observation.backlog);

function lookAtProgress(
  core: ObserveCore,
  { observer }: ObserveDeps,
  memory: ObserveMemory,
  works: ReadonlyMap<SiteId, WorkDepth>,
  open: readonly OpenBatch[] | undefined,
  silent: SilentModels,
): Reading[] {
  if (open === undefined) return [];
  const previous = memory.sample;
  memory.sample = nextSample(previous, open, core.clock.now());
  return progressReadings(observer, [...core.sites.keys()], previous, memory.sample, works, core.settings, silent);
}

async function lookAtReferences(
  core: ObserveCore,
  deps: ObserveDeps,
  memory: ObserveMemory,
  profile: HealthProfile,
  isNeeded: boolean,
): Promise<Reading[]> {
  const now = core.clock.now();
  const isDue =
    memory.referencesAt === undefined || now - memory.referencesAt > referencePauseWindows * windowMs(profile);
  if (!isNeeded && !isDue) return [];
  memory.referencesAt = now;
  return probeReferences(core, deps.home ?? core.sites.keys().next().value!, deps);
}

async function tend(
  core: ObserveCore,
  { observer, home, canary }: ObserveDeps,
  memory: ObserveMemory,
  profile: HealthProfile,
  { site, canary: found }: SiteLook,
  turn: Pick<CanaryTurn, 'isBusy' | 'isModelSilent' | 'waitsMs' | 'isUrgent'>,
): Promise<Reading[]> {
  if (canary === undefined || found === undefined) return [];
  const remembered = memory.canaries.get(site) ?? {};
  memory.canaries.set(site, remembered);
  const target = core.sites.get(site) as Site;
  return tendCanary(core, target, found, canary, remembered, { ...turn, observer, isHome: site === home, profile });
}

/** Written when something changed, at each tick while something is wrong anywhere, and else often enough not to seem silent. */
async function write(
  core: ObserveCore,
  memory: ObserveMemory,
  own: Observation,
  profile: HealthProfile,
  isAwaited: boolean,
) {
  const gist = JSON.stringify([
    own.trustsItself,
    own.verdicts.map(({ health, causes, models }) => [health, causes, models]),
    own.breakers?.map(({ backend, model, state, until }) => [backend, model, state, until]),
  ]);
  const isWell = own.trustsItself && own.verdicts.every(({ health }) => health === 'healthy');
  const pauseMs: DurationMs = windowMs(profile) / 3;
  const isDue = memory.writtenAt === undefined || own.at - memory.writtenAt >= pauseMs;
  if (isWell && !isAwaited && gist === memory.written && !isDue) return;
  memory.written = gist;
  memory.writtenAt = own.at;
  const written = await writeObservation(core, own, memory.etags);
  for (const { store, error } of written)
    if (error !== undefined)
      core.log.debug('observation.unwritten', { store, code: codeOf(error) ?? 'failed', observer: own.observer });
}

function announce(core: ObserveCore, before: readonly Verdict[], after: readonly Verdict[]): void {
  for (const { site, health, causes, evidence } of after) {
    const was = before.find((one) => one.site === site)?.health;
    if (was === health) continue;
    const fields = { site, was, health, causes: causes.join(','), evidence: evidence.slice(0, 3).join('; ') };
    core.log[health === 'healthy' || was === undefined ? 'info' : 'warn']('site.judged', fields);
  }
}
