import type { Core } from '../core.ts';
import { codeOf, TransientError } from '../errors.ts';
import type { Endpoint } from '../journal/facts.ts';
import { equalBytes } from '../journal/json.ts';
import { canarySlotKey, probeKey } from '../journal/keys.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { CallOptions, StateStore, StoredObject } from '../ports/object-store.ts';
import type { QueueDepth } from '../ports/queue.ts';
import type { Site, SiteId, Stores } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import type { Reading, Signal } from './types.ts';

/** What looking needs of `Core`. */
export type ProbeCore = Pick<Core, 'sites' | 'clock' | 'ids' | 'settings'>;

/** Ways to look at what no port shows, given by the shell. Each rejects when what it looks at is not well. */
export interface Looks {
  /** `aws`, `azure`, or the name of a third place. */
  observer: string;
  /** GET of the site's `/healthz`, over a fresh connection; absent, or `undefined` for a site: no look at its front door. */
  fetchHealth?: (site: SiteId, signal: AbortSignal) => Promise<void> | undefined;
  /** A call for one word. Rejects with code `throttled` where the model is there and refuses for now. */
  probeModel?: (site: SiteId, model: ModelLook, signal: AbortSignal) => Promise<void>;
  /** Names of neutral places, three or more. */
  references: readonly string[];
  reachReference: (name: string, signal: AbortSignal) => Promise<void>;
}

/** A model to look at, and how it is asked. */
export interface ModelLook {
  alias: string;
  endpoint: Endpoint;
}

/** What one round saw of one site. */
export interface SiteLook {
  site: SiteId;
  readings: Reading[];
  /** Absent where the queue did not answer. */
  depth: { intake?: QueueDepth; work?: QueueDepth };
  /** What stands where the canary of the site is noted: `null` if nothing does, absent if that could not be read. */
  canary?: StoredObject | null;
}

/**
 * One round of looks at one site, all at once, each call bounded by `lookMs`. Never rejects. A look that ran out of time
 * while this very process was too busy to keep it says nothing about the site: `unknown`, `observer_late`.
 *
 * - `store.read`: a GET of the note about the site's canary, which is wanted anyway.
 * - `store.write`: a small object of this observer's own is created, read back and deleted. One fixed key an observer,
 *   so that a delete that fails leaves one object at most, which the next round replaces.
 * - `queue`: the depth of both queues. The port has no peek, and a message of our own would disturb intake or work;
 *   sending and receiving are looked at by the canary (`canary.ts`), whose pointer goes the way of all others.
 * - `credentials`: not a call of its own but what the others were told. Failed where everything that was asked of one
 *   service was refused with 401 or 403; a store that reads and refuses to write is read-only, not forbidden.
 * - `api`: the front door, over a fresh connection. The stores and queues are called over whatever connections their
 *   clients hold: no port tells warm from new ones.
 */
export async function probeSite(core: ProbeCore, site: Site, looks: Looks): Promise<SiteLook> {
  const note = (signal: Signal, look: Look, subject?: string): Reading => ({
    observer: looks.observer,
    site: site.id,
    signal,
    ...(subject !== undefined && { subject }),
    at: look.at,
    outcome: look.outcome,
    latencyMs: look.latencyMs,
    ...(look.code !== undefined && { code: look.code }),
  });
  const [read, write, intake, work, api] = await Promise.all([
    lookAt(core, site.id, (signal) => site.state.get(canarySlotKey(site.id), { signal })),
    take(core, () => writeReadDelete(core, site, probeKey(looks.observer), core.ids.uuid())),
    lookAt(core, site.id, (signal) => site.intake.depth({ signal })),
    lookAt(core, site.id, (signal) => site.work.depth({ signal })),
    lookAt(core, site.id, async (signal) => {
      const answer = looks.fetchHealth?.(site.id, signal);
      if (answer === undefined) return false;
      await answer;
      return true;
    }),
  ]);
  const isReadOnly = read.outcome === 'ok' && write.code === 'credentials';
  const written = isReadOnly ? { ...write, code: 'readonly' } : write;
  const readings = [note('store.read', read), note('store.write', written)];
  readings.push(note('queue', intake, 'intake'), note('queue', work, 'work'));
  readings.push(note('credentials', credentialsOf([[read, written], [intake], [work]])));
  if (api.value !== false) readings.push(note('api', api));
  return {
    site: site.id,
    readings,
    depth: { intake: intake.value, work: work.value },
    ...(read.outcome === 'ok' && { canary: read.value ?? null }),
  };
}

/**
 * A one-word call of one model at one site. Models are slow by nature, so it has four times the time of other looks.
 * Never rejects; `undefined` where the shell cannot call models.
 */
export async function probeModel(
  core: ProbeCore,
  site: SiteId,
  model: ModelLook,
  { observer, probeModel: call }: Looks,
): Promise<Reading | undefined> {
  if (call === undefined) return undefined;
  const boundMs = 4 * lookMs(core.settings);
  const look = await lookAt(core, model.alias, (signal) => call(site, model, signal), boundMs);
  return reading({ observer, site, signal: 'model', subject: model.alias }, look);
}

/** A look at every neutral place, noted under `site`: the home, or any where there is none. Never rejects. */
export async function probeReferences(core: ProbeCore, site: SiteId, looks: Looks): Promise<Reading[]> {
  return Promise.all(
    looks.references.map(async (subject) => {
      const look = await lookAt(core, subject, (signal) => looks.reachReference(subject, signal));
      return reading({ observer: looks.observer, site, signal: 'reference', subject }, look);
    }),
  );
}

/** Bound of one call of a look: the next tick must find it over. */
export function lookMs({ peerTimeoutMs, tickMs }: Core['settings']): DurationMs {
  return Math.min(peerTimeoutMs, Math.max(tickMs, 1000));
}

interface Look<T = unknown> extends Pick<Reading, 'at' | 'outcome' | 'latencyMs' | 'code'> {
  value?: T;
}

type LookCore = Pick<Core, 'clock' | 'settings'>;

/** Of a call that was given up this many bounds after it began, not the site is known to be slow but this process. */
const lateBounds = 1.5;
const observerLate = 'observer_late';

function lookAt<T>(
  core: LookCore,
  where: string,
  call: (signal: AbortSignal) => Promise<T>,
  boundMs: DurationMs = lookMs(core.settings),
): Promise<Look<T>> {
  return take(core, () => inTime(core, where, call, boundMs));
}

async function take<T>({ clock }: LookCore, look: () => Promise<T>): Promise<Look<T>> {
  const at = clock.now();
  try {
    const value = await look();
    return { at, outcome: 'ok', latencyMs: clock.now() - at, value };
  } catch (error) {
    const code = codeOf(error) ?? 'failed';
    return { at, outcome: code === observerLate ? 'unknown' : 'failed', latencyMs: clock.now() - at, code };
  }
}

/** @throws TransientError `observer_late`; what `call` throws */
async function inTime<T>(
  { clock, settings }: LookCore,
  where: string,
  call: (signal: AbortSignal) => Promise<T>,
  boundMs: DurationMs = lookMs(settings),
): Promise<T> {
  const from = clock.now();
  try {
    return await withDeadline(clock, boundMs, where, call);
  } catch (error) {
    if (codeOf(error) !== 'timeout' || clock.now() - from <= lateBounds * boundMs) throw error;
    throw new TransientError(observerLate, `${where}: this process looked away for too long`, { cause: error });
  }
}

function reading(about: Pick<Reading, 'observer' | 'site' | 'signal' | 'subject'>, look: Look): Reading {
  const { at, outcome, latencyMs, code } = look;
  return { ...about, at, outcome, latencyMs, ...(code !== undefined && { code }) };
}

function credentialsOf(services: readonly Look[][]): Look {
  const { at } = services[0]![0]!;
  const isRefused = ({ code }: Look) => code === 'credentials';
  if (services.some((looks) => looks.every(isRefused))) return { at, outcome: 'failed', code: 'credentials' };
  const isAnswered = services.flat().some(({ outcome }) => outcome === 'ok');
  return { at, outcome: isAnswered ? 'ok' : 'unknown' };
}

/**
 * Each call has a bound of its own: three that take their time prove a busy store, and not one that is down.
 * @throws what the first call that fails throws
 */
export async function writeReadDelete(
  core: LookCore,
  { id, state }: Pick<Stores, 'id' | 'state'>,
  key: string,
  uuid: string,
): Promise<void> {
  const run = <T>(call: (store: StateStore, options: CallOptions) => Promise<T>) =>
    inTime(core, id, (signal) => call(state, { signal }));
  const body = Buffer.from(uuid);
  const put = await run((store, options) => store.putIfAbsent(key, body, options));
  if (put.status === 'exists') {
    // Left there by a delete that failed, or just written by another process of this observer.
    const left = await run((store, options) => store.get(key, options));
    if (left !== undefined) {
      const replaced = await run((store, options) => store.putIfMatch(key, body, left.etag, options));
      if (replaced.status === 'stale') return;
    }
  }
  const found = await run((store, options) => store.get(key, options));
  if (found !== undefined && !equalBytes(found.bytes, body)) return;
  await run((store, options) => store.delete(key, options));
}
