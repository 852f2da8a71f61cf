import type { Dispatch } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';
import type { LineMap } from './progress.ts';

/** A pointer that should be in a queue or in work: nobody has answered all of its lines. */
export interface OutstandingRange {
  firstLine: number;
  lines: number;
  to: SiteId;
  sentAt: EpochMs;
  /** Under which it was sent. */
  epoch: number;
  reason: Dispatch['reason'];
  /** A lost pointer is not told from a slow one before this moment. */
  leaseEnds: EpochMs;
}

/**
 * The ranges whose pointers are still needed: for each line the latest dispatch that covers it counts, so halves replace
 * the chunk they were cut from, and what was sent again replaces what was lost. A wave that is `dead` (stale where it was
 * sent) never replaces one that is not, however late its record came. Ranges without an open line are left out.
 */
export function outstandingRanges(
  dispatches: readonly Dispatch[],
  answered: LineMap,
  isParked: (line: number) => boolean = () => false,
  isDead: (dispatch: Dispatch) => boolean = () => false,
): OutstandingRange[] {
  const ranges: OutstandingRange[] = [];
  const owner = new Int32Array(answered.length).fill(-1);
  const inForce = dispatches.toSorted((a, b) => Number(isDead(b)) - Number(isDead(a)));
  for (const dispatch of inForce)
    for (const [firstLine, lines] of dispatch.ranges) {
      owner.fill(ranges.length, firstLine, firstLine + lines);
      const { to, at, leaseMs, epoch, reason } = dispatch;
      ranges.push({ firstLine, lines, to, sentAt: at, epoch, reason, leaseEnds: at + leaseMs });
    }
  const needed = new Set<number>();
  for (const [line, range] of owner.entries())
    if (range !== -1 && answered[line] === 0 && !isParked(line)) needed.add(range);
  return ranges.filter((_, index) => needed.has(index));
}

/** Lines that no dispatch covers, as `[firstLine, lines]`: a wave that died half-way left them out. */
export function neverDispatched(lines: number, dispatches: readonly Dispatch[]): boolean {
  const covered = new Uint8Array(lines);
  for (const { ranges } of dispatches) for (const [first, count] of ranges) covered.fill(1, first, first + count);
  return covered.includes(0);
}

/**
 * How many pointers a queue has lost, judging by its depth; 0 until it was short for `shortMs`, because queue counts
 * lag. A queue cannot be asked for one message, so this is all that can be known.
 */
export function lostCount(
  expected: number,
  depth: number,
  shortSince: EpochMs | undefined,
  now: EpochMs,
  shortMs: number,
): { lost: number; shortSince: EpochMs | undefined } {
  if (depth >= expected) return { lost: 0, shortSince: undefined };
  const since = shortSince ?? now;
  return { lost: now - since >= shortMs ? expected - depth : 0, shortSince: since };
}
