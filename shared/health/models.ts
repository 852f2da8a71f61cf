import type { BreakerNote } from '../batching/breaker.ts';
import type { Core } from '../core.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { ObserveCore, ObserveDeps, ObserveMemory } from './observe.ts';
import { lookMs, probeModel } from './probe.ts';
import { unplanned } from './progress.ts';
import { type HealthProfile, heard, type Observation, type Reading, type SeenObservation, windowMs } from './types.ts';

/** A model that answered is asked again after this many windows; one that did not, at each tick. */
const modelPauseWindows = 5;

/** How the last look at each model at home went; `unknown` where one is under way that is slow to be answered. */
export function lastModelLooks(core: ObserveCore, { observer, home }: ObserveDeps, memory: ObserveMemory): Reading[] {
  if (home === null) return [];
  const last = new Map(memory.models);
  for (const [subject, looks] of memory.modelLooks) {
    const slow = looks.findLast(({ at }) => core.clock.now() - at > lookMs(core.settings));
    const ended = last.get(subject);
    if (slow !== undefined && ended?.outcome !== 'failed' && slow.at >= (ended?.at ?? 0))
      last.set(subject, { observer, site: home, signal: 'model', subject, at: slow.at, outcome: 'unknown' });
  }
  return [...last.values()];
}

/** What others who are believed saw last of the models at their own sites. */
export function modelLooksOf(others: readonly SeenObservation[]): Reading[] {
  return heard(others).flatMap(({ observation: { home, readings = [] } }) =>
    readings.filter(({ signal, site }) => signal === 'model' && site === home),
  );
}

/** Models that somebody who is believed holds ill at another site: whether they answer here is what others wait for. */
export function modelsIllElsewhere(home: SiteId | null, others: readonly SeenObservation[]): Set<string> {
  if (home === null) return new Set();
  const verdicts = heard(others).flatMap(({ observation }) => observation.verdicts);
  return new Set(verdicts.filter(({ site }) => site !== home).flatMap(({ models }) => models));
}

/**
 * Models are asked where their work waits and does not move, where they did not answer before, where a canary that asks
 * for them did not come through, and where they are ill elsewhere, since their work moves only to where they are seen to
 * answer; a canary asks the others often enough. One whose lines were answered of late need not be asked: work that is
 * done beats any look. Only the home's own: each cloud knows best what serves it.
 *
 * A model that hangs is asked anew at each tick, beside the looks that still wait for it: else each of the five that
 * accuse it would take its whole time first. A tick waits for first looks only.
 */
export async function lookAtModels(
  core: ObserveCore,
  deps: ObserveDeps,
  memory: ObserveMemory,
  profile: HealthProfile,
  backlog: Observation['backlog'],
  illElsewhere: ReadonlySet<string>,
): Promise<Reading[]> {
  const { home, canary } = deps;
  if (home === null) return [];
  const now = core.clock.now();
  for (const { model, endpoint } of [...(canary === undefined ? [] : [canary]), ...(memory.sample?.open ?? [])])
    memory.endpoints.set(model, endpoint);
  const waiting = new Map(
    backlog.flatMap((one) => (one.site === home && one.model !== unplanned ? [[one.model, one]] : [])),
  );
  const ill = [...memory.models].flatMap(([alias, { outcome }]) => (outcome === 'ok' ? [] : [alias]));
  const lastCanary = memory.readings.findLast(({ signal, site }) => signal === 'canary' && site === home);
  // The backlog leaves drills out; what is rehearsed with their models has to be seen all the same.
  const drilled = (memory.sample?.open ?? []).filter(
    ({ isDrill, site, model }) => isDrill === true && site === home && model !== unplanned,
  );
  const doubted = new Set([
    ...memory.alone.flatMap((verdict) => (verdict.site === home ? verdict.models : [])),
    ...illElsewhere,
    ...(canary !== undefined && lastCanary?.outcome === 'failed' ? [canary.model] : []),
    ...drilled.map(({ model }) => model),
  ]);
  const isMoving = (alias: string) => (waiting.get(alias)?.answeredOfLate ?? 0) > 0;
  const due = [...new Set([...waiting.keys(), ...ill, ...doubted])].filter((alias) => {
    const last = memory.models.get(alias);
    if (isMoving(alias)) return false;
    if (last === undefined || last.outcome !== 'ok' || doubted.has(alias)) return true;
    const isStuck = (waiting.get(alias)?.openLines ?? 0) > 0 && waiting.get(alias)!.answeredOfLate === 0;
    return isStuck || now - last.at >= modelPauseWindows * windowMs(profile);
  });
  const first = due.flatMap((alias) => {
    const earlier = memory.modelLooks.get(alias) ?? [];
    const endpoint = memory.endpoints.get(alias) ?? '/v1/chat/completions';
    const ended = probeModel(core, home, { alias, endpoint }, deps).then((reading) => {
      const others = (memory.modelLooks.get(alias) ?? []).filter((one) => one !== look);
      if (others.length > 0) memory.modelLooks.set(alias, others);
      else memory.modelLooks.delete(alias);
      // Nobody here wants it, and nothing here serves it.
      const isForeign = reading?.code === 'unserved' && !waiting.has(alias);
      if (reading !== undefined && !isForeign)
        memory.modelReadings.push(heldAgainst(reading, memory, core.clock.now()));
    });
    const look = { at: now, ended };
    memory.modelLooks.set(alias, [...earlier, look]);
    return earlier.length === 0 ? [ended] : [];
  });
  if (first.length > 0) await atMost(core, lookMs(core.settings), Promise.all(first));
  const moving = [...waiting.keys()].filter(isMoving).map((subject): Reading => {
    return { observer: deps.observer, site: home, signal: 'model', subject, at: now, outcome: 'ok' };
  });
  const readings = [...memory.modelReadings.splice(0), ...moving];
  for (const reading of readings)
    if (reading.at >= (memory.models.get(reading.subject!)?.at ?? 0)) memory.models.set(reading.subject!, reading);
  return readings;
}

/** A model whose calls take long serves one now and then. */
const servedHoldsMs: DurationMs = 90_000;

/**
 * A look that was refused for now, since our own lines have every place, is no sign of illness: a line was served of late.
 * The word of a clock that is a day ahead would hold for a day, so it does not count.
 */
function heldAgainst(reading: Reading, { breakers }: ObserveMemory, now: EpochMs): Reading {
  const isServed = ({ site, serves }: BreakerNote) =>
    site === reading.site && serves?.aliases.includes(reading.subject!) && Math.abs(now - serves.at) <= servedHoldsMs;
  if (reading.code !== 'throttled' || !breakers.some(isServed)) return reading;
  const { code: _, ...rest } = reading;
  return { ...rest, outcome: 'ok' };
}

/** Waits for `task`, and no longer than `ms`; what it throws is its own business. */
async function atMost({ clock }: Pick<Core, 'clock'>, ms: DurationMs, task: Promise<unknown>): Promise<void> {
  const over = new AbortController();
  await Promise.race([task, clock.sleep(ms, over.signal)]).catch(() => {});
  over.abort('over');
}
