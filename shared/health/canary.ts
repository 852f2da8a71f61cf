import * as z from 'zod';
import { codeOf } from '../errors.ts';
import { factVersion, parseFact } from '../journal/facts.ts';
import { canonicalBytes } from '../journal/json.ts';
import { batchIdPattern, canarySlotKey, openKey } from '../journal/keys.ts';
import type { PutResult, ReplaceResult, StoredObject } from '../ports/object-store.ts';
import type { Site } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { pointerMessage } from '../worker/pointers.ts';
import {
  acceptCanary,
  bounded,
  type CanaryCore,
  type CanaryJob,
  canaryIsWorked,
  canaryLifeMs,
  canaryPublication,
  canaryTenant,
  tidyCanaries,
  tidyCanary,
} from './canary-batch.ts';
import { type HealthProfile, type Reading, windowMs } from './types.ts';

export type { CanaryJob } from './canary-batch.ts';

/**
 * End-to-end canaries: a batch of one line, home and payload forced to one site, that goes the way of every other batch,
 * through intake queue, planner, work queue, worker, model and publisher. What no single look can show (a trigger that
 * is detached, credentials that only workers have) shows here.
 *
 * It is accepted at its site alone and bound to it, so that it says nothing about the other cloud: it needs its own
 * store and one more voter. A slot in that site's `state`, changed only by compare-and-swap, says which canary is under
 * way: there is never more than one, whoever starts it, and every observer reads the same outcome from it.
 */

const slotSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('canary'),
  batch: z.string().regex(batchIdPattern),
  /** Observer that started it. */
  by: z.string().max(64),
  startedAt: z.int(),
  /** `null` while it is under way. */
  endedAt: z.int().nullable(),
  /** `unstored`, `unsent`: its site's store or queue did not take it. */
  outcome: z.enum(['ok', 'failed', 'unstored', 'unsent']).nullable(),
  /** Code of what went wrong. */
  code: z.string().max(64).nullable(),
  /** Canaries that went well in a row: the pause before the next grows with it. */
  streak: z.int().min(0),
  /** Canaries before this one that were given up as overdue, in a row. */
  overdue: z.int().min(0).optional(),
  /** Fresh random bits in every write, so that equal bytes mean the same write. */
  nonce: z.string(),
});
type Slot = z.infer<typeof slotSchema>;
type End = { outcome: NonNullable<Slot['outcome']>; code?: string };
type About = Pick<Reading, 'observer' | 'site' | 'at'>;

/** What one observer remembers of the canaries of one site. */
export interface CanaryMemory {
  /** The canary under way, and when this observer saw it first: its own clock measures how long it takes. */
  batch?: string;
  seenAt?: EpochMs;
  /** The last one whose end was noted as a reading. */
  noted?: string;
  hasInput?: boolean;
  /** When everything left by canaries was last looked for. */
  tidiedAt?: EpochMs;
}

/** Shortest and longest pause between canaries of a healthy site, in ticks; it doubles from one to the other. */
const pauseTicks = { min: 6, max: 60 } as const;
const tidyEveryMs: DurationMs = 24 * 3_600_000;

/**
 * How the last canary of a site went that has ended, for whoever looks between two of them: they are minutes apart.
 * `undefined` where none has.
 * @throws what reading the slot throws
 */
export async function lastCanary(
  core: Pick<CanaryCore, 'clock' | 'settings'>,
  site: Site,
): Promise<{ outcome: 'ok' | 'failed'; at: EpochMs } | undefined> {
  const found = await bounded(core, site.id, (signal) => site.state.get(canarySlotKey(site.id), { signal }));
  const parsed = found === undefined ? undefined : parseFact(slotSchema, found.bytes);
  if (parsed === undefined || 'fault' in parsed) return undefined;
  const { endedAt, startedAt, outcome, streak } = parsed.fact;
  if (endedAt !== null) return { outcome: outcome === 'ok' ? 'ok' : 'failed', at: endedAt };
  // One is under way: of the one before it only the streak is left.
  return streak > 0 ? { outcome: 'ok', at: startedAt } : undefined;
}

/** How long a canary may take before it counts as failed. */
export function canaryBoundMs(profile: HealthProfile): DurationMs {
  return Math.max(windowMs(profile) / 2, 20_000);
}

/** How a canary is looked after. */
export interface CanaryTurn {
  observer: string;
  /** It is the own site's. */
  isHome: boolean;
  /** Something about the site is not well: the next one does not wait for its turn. */
  isUrgent: boolean;
  /** Somebody has messages of the site in work, so one that waits behind them proves nothing. */
  isBusy: boolean;
  /** The model that canaries ask for was not seen to answer at the site, and is accused by itself. */
  isModelSilent: boolean;
  /** How long it may wait behind calls of a model that does not answer; 0 where all answer. */
  waitsMs: DurationMs;
  profile: HealthProfile;
}

/**
 * Looks after the canary of one site: notes how the last one went, and starts the next when it is due. Never rejects.
 * @param found what stands in the slot (`SiteLook.canary`)
 */
export async function tendCanary(
  core: CanaryCore,
  site: Site,
  found: StoredObject | null,
  job: CanaryJob,
  memory: CanaryMemory,
  options: CanaryTurn,
): Promise<Reading[]> {
  const parsed = found === null ? undefined : parseFact(slotSchema, found.bytes);
  // A slot of a later version is another process's business.
  if (parsed !== undefined && 'fault' in parsed && parsed.fault === 'unknown') return [];
  const slot = parsed !== undefined && 'fact' in parsed ? parsed.fact : undefined;
  const about: About = { observer: options.observer, site: site.id, at: core.clock.now() };
  try {
    const control = await core.control.current();
    // Nothing is sent there, and nothing can come through; what was seen before must not hold the site down while it is away.
    if ((control.sites[site.id]?.state ?? 'fenced') === 'fenced')
      return signalsOf(about).map((one) => ({ ...one, outcome: 'unknown' }));
    if (slot !== undefined && slot.endedAt === null)
      return await follow(core, site, { slot, found: found! }, memory, about, options);
    const readings = slot === undefined ? [] : noteEnd(slot, memory, about, options.profile);
    if (!isDue(core, slot, options)) return readings;
    return [...readings, ...(await start(core, site, slot, found, job, memory, { ...options, epoch: control.epoch }))];
  } catch (error) {
    core.log.warn('canary.untended', { site: site.id, error: String((error as Error)?.message).slice(0, 200) });
    return [];
  }
}

/** A canary under way: has it come through, is it late, has it been given up? */
async function follow(
  core: CanaryCore,
  site: Site,
  { slot, found }: { slot: Slot; found: StoredObject },
  memory: CanaryMemory,
  about: About,
  { profile, isBusy, isModelSilent, waitsMs }: CanaryTurn,
): Promise<Reading[]> {
  const now = about.at;
  if (memory.batch !== slot.batch) {
    memory.batch = slot.batch;
    memory.seenAt = now;
  }
  const waitedMs = now - memory.seenAt!;
  const publication = await canaryPublication(core, site, slot.batch);
  if (publication !== undefined) {
    const isWell = publication.status === 'completed' && publication.counts.failed === 0;
    const end: End = isWell ? { outcome: 'ok' } : { outcome: 'failed', code: publication.status };
    await endSlot(core, site, slot, found.etag, end);
    memory.noted = slot.batch;
    return readingsOf({ code: null, ...end }, about);
  }
  // The sweeper ends it as expired at its deadline; a slot whose acceptance was never written ends here.
  if (waitedMs > 2 * canaryLifeMs) await endSlot(core, site, slot, found.etag, { outcome: 'failed', code: 'lost' });
  // One that was worked and cannot be published lacks a majority: that is about the voters, and not about its site.
  const isOverdue = !isBusy && !isModelSilent && waitedMs > canaryBoundMs(profile) + waitsMs;
  const isLate = isOverdue && !(await canaryIsWorked(core, site, slot.batch));
  if (!isLate) return [{ ...about, signal: 'canary', outcome: 'unknown' }];
  // One may be lost like any message. The next one has to be late as well before its site is accused in each tick.
  if ((slot.overdue ?? 0) === 0) {
    await endSlot(core, site, slot, found.etag, { outcome: 'failed', code: overdue });
    memory.noted = slot.batch;
  }
  return [{ ...about, signal: 'canary', outcome: 'failed', code: overdue }];
}

const overdue = 'overdue';

/** What a canary is a look at: it was stored, sent, and came through. */
function signalsOf(about: About) {
  return [
    { ...about, signal: 'store.write', subject: 'journal' },
    { ...about, signal: 'queue', subject: 'send' },
    { ...about, signal: 'canary' },
  ] as const;
}

/** What the end of a canary says. */
function readingsOf(slot: Pick<Slot, 'outcome' | 'code'>, about: About): Reading[] {
  const [stored, sent, canary] = signalsOf(about);
  const code = slot.code ?? 'failed';
  switch (slot.outcome) {
    case null:
      return [];
    case 'unstored':
      return [{ ...stored, outcome: 'failed', code }];
    case 'unsent':
      return [
        { ...stored, outcome: 'ok' },
        { ...sent, outcome: 'failed', code },
      ];
    case 'failed':
      return [{ ...canary, outcome: 'failed', code }];
    case 'ok':
      return [stored, sent, canary].map((one) => ({ ...one, outcome: 'ok' }));
  }
}

/**
 * Somebody else noted the end of a canary: the news is as good as our own, once. But that somebody could not store or
 * send one is about him as much as about the site: whoever wants to know tries himself.
 */
function noteEnd(slot: Slot, memory: CanaryMemory, about: About, profile: HealthProfile): Reading[] {
  if (memory.noted === slot.batch) return [];
  const isFirstLook = memory.noted === undefined && memory.batch === undefined;
  memory.noted = slot.batch;
  if (slot.outcome === 'unstored' || slot.outcome === 'unsent') return [];
  // A process that has just started may find a very old note.
  return isFirstLook && about.at - slot.endedAt! > windowMs(profile) ? [] : readingsOf(slot, about);
}

function isDue(core: CanaryCore, slot: Slot | undefined, { observer, isHome, isUrgent, profile }: CanaryTurn): boolean {
  if (slot?.endedAt == null) return true;
  const sinceMs = core.clock.now() - slot.endedAt;
  // In turns, so that every observer finds out for itself.
  if (slot.outcome === 'unsent' || slot.outcome === 'unstored')
    return sinceMs >= (slot.by === observer ? 2 : 0.5) * profile.tickMs;
  if (slot.outcome !== 'ok') return sinceMs >= 2 * profile.tickMs;
  if (isUrgent) return sinceMs >= (pauseTicks.min / 2) * profile.tickMs;
  const pause = Math.min(pauseTicks.min * 2 ** Math.min(slot.streak, 10), pauseTicks.max) * profile.tickMs;
  // The site's own observer goes first; the others notice when nobody does.
  return sinceMs >= (isHome ? pause : 2 * pauseTicks.max * profile.tickMs);
}

/** Takes the slot, accepts the canary at its site, and sends its pointer. What the site refuses is a reading, too. */
async function start(
  core: CanaryCore,
  site: Site,
  slot: Slot | undefined,
  found: StoredObject | null,
  job: CanaryJob,
  memory: CanaryMemory,
  { observer, epoch }: { observer: string; epoch: number },
): Promise<Reading[]> {
  const now = core.clock.now();
  const batch = `batch_${core.ids.uuid()}`;
  const streak = slot?.streak ?? 0;
  const fresh: Slot = {
    v: factVersion,
    kind: 'canary',
    batch,
    by: observer,
    startedAt: now,
    endedAt: null,
    outcome: null,
    code: null,
    streak,
    overdue: slot?.overdue ?? 0,
    nonce: core.ids.uuid(),
  };
  const etag = await writeSlot(core, site, fresh, found?.etag);
  if (etag === undefined) return [];
  memory.batch = batch;
  memory.seenAt = now;
  // Whoever still had something to write about the one before has done so by now.
  if (slot !== undefined) await tidyCanary(core, site, slot.batch);
  await tidyNowAndThen(core, site, memory);
  const end = await launch(core, site, batch, epoch, job, memory);
  if (end === undefined) return [];
  await endSlot(core, site, fresh, etag, end);
  memory.noted = batch;
  return readingsOf({ code: null, ...end }, { observer, site: site.id, at: now });
}

/** Accepts a canary and sends its pointer; gives how it ended, if it did before it began. */
async function launch(
  core: CanaryCore,
  site: Site,
  batch: string,
  epoch: number,
  job: CanaryJob,
  memory: CanaryMemory,
): Promise<End | undefined> {
  try {
    await acceptCanary(core, site, batch, epoch, job, memory.hasInput ?? false);
    memory.hasInput = true;
  } catch (error) {
    return { outcome: 'unstored', code: codeOf(error) ?? 'failed' };
  }
  const message = pointerMessage({ v: factVersion, kind: 'plan', tenant: canaryTenant, batch, epoch }, core.ids.uuid());
  try {
    await bounded(core, site.id, (signal) => site.intake.send([message], { signal }));
    return undefined;
  } catch (error) {
    // Else the sweeper would plan it, and it would be no test of sending.
    await bounded(core, site.id, (signal) => site.state.delete(openKey(canaryTenant, batch), { signal })).catch(
      () => {},
    );
    return { outcome: 'unsent', code: codeOf(error) ?? 'failed' };
  }
}

/** The new ETag, or `undefined` if somebody else was faster. */
async function writeSlot(
  core: CanaryCore,
  site: Site,
  slot: Slot,
  etag: string | undefined,
): Promise<string | undefined> {
  const key = canarySlotKey(site.id);
  const bytes = canonicalBytes(slot);
  const put = await bounded(
    core,
    site.id,
    (signal): Promise<PutResult | ReplaceResult> =>
      etag === undefined
        ? site.state.putIfAbsent(key, bytes, { signal })
        : site.state.putIfMatch(key, bytes, etag, { signal }),
  );
  return 'etag' in put ? put.etag : undefined;
}

async function endSlot(core: CanaryCore, site: Site, slot: Slot, etag: string, end: End): Promise<void> {
  const { outcome, code = null } = end;
  const endedAt = core.clock.now();
  const counts = {
    streak: outcome === 'ok' ? slot.streak + 1 : 0,
    overdue: code === overdue ? (slot.overdue ?? 0) + 1 : 0,
  };
  const ended = { ...slot, endedAt, outcome, code, ...counts, nonce: core.ids.uuid() };
  await writeSlot(core, site, ended, etag).catch(() => {});
  if (outcome !== 'ok') core.log.warn('canary.failed', { site: site.id, batch: slot.batch, outcome, code });
}

async function tidyNowAndThen(core: CanaryCore, site: Site, memory: CanaryMemory): Promise<void> {
  const now = core.clock.now();
  if (memory.tidiedAt !== undefined && now - memory.tidiedAt < tidyEveryMs) return;
  memory.tidiedAt = now;
  await tidyCanaries(core, site).catch((error) =>
    core.log.debug('canary.untidied', { site: site.id, error: String(error?.message).slice(0, 200) }),
  );
}
