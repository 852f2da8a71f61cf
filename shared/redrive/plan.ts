import type { ControlEntry, Dispatch } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import type { OutstandingRange } from '../worker/outstanding.ts';
import { isDead, moveFrom } from '../worker/owner.ts';
import { doneWithin, type Pace } from './pace.ts';

/**
 * Redrive as a pure rule: which pointers have to be sent to this site because the site that had them is fenced, or
 * because their model or batch was moved here; in which order; how many now.
 *
 * There is no cursor. A wave leaves its dispatch records under the new epoch, and what they cover is no longer stranded:
 * whoever plans next, in this process or another, begins where the records end (docs/decisions/0008-redrive.md).
 */

/** What redrive may send. All counts are pointers. */
export interface RedriveLimits {
  /** First wave. */
  start: number;
  /** Most in one wave: what the queue takes in one tick beside the site's own traffic. */
  waveMax: number;
  /** A wave may bring the total to this many times what was sent before it. */
  growth: number;
  /** Redriven pointers waiting here at a time, where the site has no work of its own. */
  waitingMax: number;
  /** Headroom that is assumed where nothing was seen to get done. */
  floor: number;
  /** Share of the headroom that own work may always have, 0 … 1. */
  reserve: number;
  /** Where the site has own work, or had some within this time, at most what it gets done in it may wait. */
  horizonMs: DurationMs;
}

/**
 * 50 pointers/s at first, doubling every 5 s, up to 500/s: half of what a Service Bus Standard namespace takes, so that
 * receiving and settling go on beside it. A million lines (20,000 pointers) are on their way within a minute.
 * @source https://learn.microsoft.com/azure/service-bus-messaging/service-bus-throttling (1,000 credits/s; 2026-11)
 */
export function redriveLimits(tickMs: DurationMs): RedriveLimits {
  return {
    start: Math.ceil((50 * tickMs) / 1000),
    waveMax: Math.ceil((500 * tickMs) / 1000),
    growth: 2 ** (tickMs / 5_000),
    waitingMax: 25_000,
    floor: 50,
    reserve: 0.5,
    horizonMs: 60_000,
  };
}

/** What to redrive: all that is stranded, one batch, or what asks for one model. */
export type RedriveScope = { kind: 'all' } | { kind: 'batch'; batch: string } | { kind: 'model'; model: string };

/** An open batch of this site. */
export interface RedriveBatch {
  batch: string;
  model: string | null;
  boundTo: SiteId | null;
  /** Of its completion window. */
  deadline: EpochMs;
  /** It is here by a move of the control entry. */
  isMoved: boolean;
  /** Pointers that are still needed, wherever they were sent; none whose lines are all answered. */
  ranges: readonly OutstandingRange[];
  /** Pointers that redrive sent here, under any epoch that is not stale, answered or not. */
  redrivenHere: number;
}

/** One range to send to this site again. */
export interface RedriveRange {
  batch: string;
  firstLine: number;
  lines: number;
  reason: Extract<Dispatch['reason'], 'redrive' | 'spillover'>;
}

/** Where and when it is planned. */
interface Where {
  self: SiteId;
  control: ControlEntry;
  now: EpochMs;
}

export interface RedrivePlan {
  /** The first is to be sent now; the others are a forecast, one a tick, for a site that keeps pace. */
  waves: RedriveRange[][];
  /** Stranded pointers. */
  left: number;
  /** Their lines; some may be answered. */
  lines: number;
  /** Pointers that redrive sent here before. */
  redriven: number;
  /** Redriven pointers that may wait here now. */
  room: number;
}

/** Oldest deadline first, ramped, never beyond the headroom. The same inputs give the same waves. */
export function planRedrive(
  open: readonly RedriveBatch[],
  where: Where & { pace: Pace },
  limits: RedriveLimits,
  scope: RedriveScope = { kind: 'all' },
): RedrivePlan {
  const stranded = open
    .filter((one) => isIn(scope, one))
    .toSorted((a, b) => a.deadline - b.deadline || (a.batch < b.batch ? -1 : 1))
    .flatMap((one) => strandedRanges(one, where));
  const redriven = open.reduce((sum, one) => sum + one.redrivenHere, 0);
  const { headroom, waiting } = roomFor(open, where, limits);
  const room = Math.max(0, headroom - waiting);
  const waves: RedriveRange[][] = [];
  for (let from = 0, sent = redriven; from < stranded.length; ) {
    const ramp = Math.max(limits.start, Math.floor(sent * (limits.growth - 1)));
    // What is forecast finds the site as it is now; a wave of nothing ends the forecast.
    const size = Math.min(ramp, limits.waveMax, waves.length === 0 ? room : headroom);
    if (size === 0 && waves.length > 0) break;
    waves.push(stranded.slice(from, from + size));
    from += size;
    sent += size;
  }
  return { waves, left: stranded.length, lines: stranded.reduce((sum, { lines }) => sum + lines, 0), redriven, room };
}

/** Whether a pointer has to be sent to `self` because nobody will work it where it was sent. */
export function isStranded(
  range: OutstandingRange,
  one: Pick<RedriveBatch, 'batch' | 'model' | 'boundTo'>,
  { self, control, now }: Where,
): boolean {
  if (isDead(range, control) || control.sites[range.to]?.state === 'recovering') return true;
  if (range.to === self) return false;
  const move = moveFrom(control, range.to, one);
  if (move?.to === self && range.epoch < move.since) return true;
  // A move that ended left it there, or a split did. That site is well, so it is given the time to finish it.
  return range.leaseEnds <= now;
}

function strandedRanges(one: RedriveBatch, where: Where): RedriveRange[] {
  const reason = one.isMoved ? 'spillover' : 'redrive';
  return one.ranges
    .filter((range) => isStranded(range, one, where))
    .map(({ firstLine, lines }) => ({ batch: one.batch, firstLine, lines, reason }));
}

/**
 * How many redriven pointers may wait here. Own work keeps its reserve as far as it needs it: either all of it and all
 * that is redriven fit into the headroom, or half of the headroom is its own. The headroom is what the site was seen to
 * get done within the horizon, so that whoever comes now waits no longer than that. Of an idle site nothing is known,
 * and nobody waits there.
 */
function roomFor(
  open: readonly RedriveBatch[],
  { self, control, now, pace }: Where & { pace: Pace },
  limits: RedriveLimits,
): { headroom: number; waiting: number } {
  const here = open.flatMap(({ ranges }) => ranges).filter((range) => range.to === self && !isDead(range, control));
  const waiting = here.filter(({ reason }) => reason === 'redrive' || reason === 'spillover').length;
  const own = here.length - waiting;
  if (own === 0 && pace.ownSentAt <= now - limits.horizonMs) return { headroom: limits.waitingMax, waiting };
  const within = doneWithin(pace, now, limits.horizonMs);
  const headroom = Math.min(limits.waitingMax, Math.max(limits.floor, within));
  return { headroom: headroom - Math.min(own, Math.ceil(headroom * limits.reserve)), waiting };
}

function isIn(scope: RedriveScope, { batch, model }: RedriveBatch): boolean {
  return scope.kind === 'all' || (scope.kind === 'batch' ? scope.batch === batch : scope.model === model);
}
