import { backlogAt } from '../control/opinion.ts';
import type { BackendLimits, ModelCatalog } from '../core.ts';
import { unplanned } from '../health/progress.ts';
import { heard, type Reading, type SeenObservation } from '../health/types.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { QueueDepth } from '../ports/queue.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { showDuration } from './duration.ts';

/** Whether a survivor could carry out what a failover asks of it, item by item: what a tabletop drill shows. */
export interface Ready {
  name: string;
  /** `unknown` is no failure: nothing here can tell. */
  outcome: 'ok' | 'failed' | 'unknown';
  why: string;
}

/** What it is judged by. */
export interface ReadinessFacts {
  from: SiteId;
  to: SiteId;
  /** One alias where it alone would move; absent: everything. */
  model?: string;
  sites: ControlEntry['sites'];
  observations: readonly SeenObservation[];
  entryOf: ModelCatalog['entryOf'];
  /** Between two counts of what was answered. */
  tickMs: DurationMs;
  /** Most lines of one pointer. */
  pointerLines: number;
  /** Of the survivor's work queue; `undefined`: it did not tell. */
  depth: QueueDepth | undefined;
  /** The survivor's last canary that ended; `undefined`: none did. */
  canary: { outcome: 'ok' | 'failed'; at: EpochMs } | undefined;
  now: EpochMs;
}

/**
 * Messages that a queue holds: SQS sets no bound to those that wait; ours at Service Bus is of 5 GB, and a pointer with
 * all that is around it has less than a kilobyte.
 *
 * @source https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html (2026-11);
 *   infra/azure/main.bicep, maxSizeInMegabytes
 */
const queueMessagesMax: Record<string, number> = { aws: Number.POSITIVE_INFINITY, azure: 5_000_000 };

/**
 * Capacity: may the survivor's backends and its queue take what is in work in both clouds. Permission: what its own
 * functions were last seen to do, with the credentials they have. Pure.
 */
export function readinessOf(facts: ReadinessFacts): Ready[] {
  return [...capacityOf(facts), queueOf(facts), ...permissionsOf(facts)];
}

function capacityOf({ from, to, model, sites, observations, entryOf, tickMs }: ReadinessFacts): Ready[] {
  const rows = (site: SiteId) =>
    backlogAt(site, observations).filter((row) => row.model !== unplanned && (model ?? row.model) === row.model);
  const [leaving, staying] = [rows(from), rows(to)];
  const models = [...new Set([...leaving, ...staying].map((row) => row.model))].sort();
  if (models.length === 0) {
    const isCounted = heard(observations).some(({ observation }) => observation.home === from);
    const why = isCounted ? `nothing is open at ${from} or ${to}` : `nobody at ${from} counts what is open there`;
    return [{ name: `capacity of ${to}`, outcome: isCounted ? 'ok' : 'unknown', why }];
  }
  return models.map((alias): Ready => {
    const own = [...leaving, ...staying].filter((row) => row.model === alias);
    const perMinute = Math.ceil((own.reduce((sum, { answeredOfLate }) => sum + answeredOfLate, 0) * 60_000) / tickMs);
    const open = leaving.filter((row) => row.model === alias).reduce((sum, { openLines }) => sum + openLines, 0);
    const name = `capacity for ${alias} at ${to}`;
    const needed = `both clouds answer ${perMinute} lines a minute now, and ${from} has ${open} open`;
    const backend = entryOf?.(alias)?.backends.find(({ cloud }) => cloud === sites[to]?.cloud);
    if (backend !== undefined && !backend.isPermitted)
      return { name, outcome: 'failed', why: `${backend.name} may not stand in for what serves it at ${from}` };
    const most = linesPerMinute(backend?.limits);
    if (most === undefined)
      return { name, outcome: 'unknown', why: `${needed}; no requestsPerMinute is configured for its backend there` };
    if (perMinute > most)
      return { name, outcome: 'failed', why: `${needed}; ${most} a minute is all its backend takes` };
    const spare = most - perMinute;
    const cleared =
      open === 0
        ? ''
        : spare === 0
          ? ', which leaves nothing for them'
          : `, which clears them in ${showDuration((open / spare) * 60_000)}`;
    return { name, outcome: 'ok', why: `${needed}; its backend takes ${most} a minute${cleared}` };
  });
}

function linesPerMinute({ requestsPerMinute, inputsMax }: BackendLimits = {}): number | undefined {
  // A call of embeddings takes many lines, one of chat a single one.
  return requestsPerMinute === undefined ? undefined : requestsPerMinute * (inputsMax ?? 1);
}

function queueOf({ from, to, sites, observations, pointerLines, depth }: ReadinessFacts): Ready {
  const name = `room in the queue of ${to}`;
  if (depth === undefined) return { name, outcome: 'unknown', why: 'it did not tell how much it holds' };
  const open = backlogAt(from, observations).reduce((sum, { openLines }) => sum + openLines, 0);
  const held = depth.visible + depth.inFlight + depth.delayed;
  const pointers = Math.ceil(open / pointerLines);
  const most = queueMessagesMax[sites[to]?.cloud ?? ''] ?? Number.POSITIVE_INFINITY;
  const why = `it holds ${held} messages, and about ${pointers} pointers would come`;
  return held + pointers > most
    ? { name, outcome: 'failed', why: `${why}; ${most} is the most` }
    : { name, outcome: 'ok', why };
}

/** What a failover asks of the survivor's functions, by the look that shows it. */
const needs: readonly { signal: Reading['signal']; subject?: string; what: string }[] = [
  { signal: 'credentials', what: 'hold credentials that are taken' },
  { signal: 'store.write', what: 'write their store' },
  { signal: 'queue', subject: 'intake', what: 'reach the intake queue' },
  { signal: 'queue', subject: 'work', what: 'reach the work queue' },
];

/** The survivor's own observer runs as its functions do, with what they may do: its looks are a dry run with no effect. */
function permissionsOf({ to, model, observations, canary, now }: ReadinessFacts): Ready[] {
  const own = heard(observations).find(({ observation }) => observation.home === to)?.observation;
  const readings = (own?.readings ?? []).filter(({ site }) => site === to);
  const models = readings.filter(({ signal, subject }) => signal === 'model' && (model ?? subject) === subject);
  const asked = models.map(({ subject }) => ({ signal: 'model' as const, subject: subject!, what: `call ${subject}` }));
  const looks = [...needs, ...asked].map(({ signal, subject, what }): Ready => {
    const name = `functions of ${to} ${what}`;
    const isAsked = (one: Reading) => one.signal === signal && (subject === undefined || one.subject === subject);
    const last = readings.filter(isAsked).toSorted((a, b) => b.at - a.at)[0];
    if (own === undefined) return { name, outcome: 'unknown', why: `the observer of ${to} is not heard` };
    if (last === undefined) return { name, outcome: 'unknown', why: 'its observer has not looked at that of late' };
    const ago = `${showDuration(Math.max(0, now - last.at))} ago`;
    if (last.outcome === 'ok') return { name, outcome: 'ok', why: `seen ${ago} by ${last.observer}` };
    return { name, outcome: last.outcome, why: `${last.observer}, ${ago}: ${last.code ?? 'not to be told'}` };
  });
  return [...looks, canaryOf(to, canary, now)];
}

function canaryOf(to: SiteId, canary: ReadinessFacts['canary'], now: EpochMs): Ready {
  const name = `functions of ${to} send, receive and settle a pointer, and publish what it asks for`;
  if (canary === undefined) return { name, outcome: 'unknown', why: 'no canary of that site has ended yet' };
  return {
    name,
    outcome: canary.outcome,
    why: `the last canary ended ${showDuration(Math.max(0, now - canary.at))} ago`,
  };
}
