import type { Core } from '../core.ts';
import { type BatchView, deadlineOf } from '../journal/batch.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { WorkNeed } from '../worker/assess.ts';
import { dispatch, locateRange } from '../worker/dispatch.ts';
import { isDead } from '../worker/owner.ts';
import type { LineMap } from '../worker/progress.ts';
import { planRedrive, type RedriveBatch, type RedriveRange, type RedriveScope, redriveLimits } from './plan.ts';

/** A batch of this site with open lines, as it was judged. */
export interface OpenWork {
  view: BatchView;
  need: WorkNeed;
}

/** How far the redrive to this site has come. All counts are pointers. */
export interface RedriveProgress {
  /** Sent here by redrive so far, as far as their batches are open. */
  redriven: number;
  /** Still to be sent. */
  left: number;
}

/** Pointers that one dispatch record covers at most: what a redriver that dies between sending and recording repeats. */
const recordedAtOnce = 250;
/** Batches served side by side. */
const parallel = 4;

/**
 * Sends one wave to this site and records it: called at each tick, until nothing is stranded. Idempotent: what a record
 * covers is not sent again. A crash loses the record of at most `recordedAtOnce` pointers of each of `parallel` batches,
 * which are then sent twice, marked as repeats; so does a second redriver at the same moment, for one wave.
 * @param failed told of a batch that could not be served; it is met again at the next tick
 */
export async function redrive(
  core: Core,
  control: ControlEntry,
  open: readonly OpenWork[],
  options: { scope?: RedriveScope; failed?: (batch: string, error: unknown) => void } = {},
): Promise<RedriveProgress> {
  const plan = planOf(core, control, open, options.scope);
  const wave = plan.waves[0] ?? [];
  const batches = Map.groupBy(wave, ({ batch }) => batch);
  let sent = 0;
  const next = batches.entries();
  const walk = async () => {
    for (const [batch, ranges] of next) {
      try {
        sent += await sendBatch(core, open.find(({ view }) => view.batch === batch)!, ranges);
      } catch (error) {
        options.failed?.(batch, error);
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, walk));
  if (sent > 0) core.log.info('redrive.wave', { sent, left: plan.left - sent, room: plan.room, epoch: control.epoch });
  return { redriven: plan.redriven + sent, left: plan.left - sent };
}

/** What `redrive` would do, from the same facts. */
export function planOf(core: Core, control: ControlEntry, open: readonly OpenWork[], scope?: RedriveScope) {
  const where = { self: core.self, control, now: core.clock.now() };
  const batches = open.map((one) => redriveBatch(core, control, one));
  return planRedrive(batches, where, redriveLimits(core.settings.tickMs), scope);
}

async function sendBatch(core: Core, { view, need }: OpenWork, ranges: readonly RedriveRange[]): Promise<number> {
  let sent = 0;
  for (let from = 0; from < ranges.length; from += recordedAtOnce) {
    const some = ranges.slice(from, from + recordedAtOnce);
    const located = [];
    for (const { firstLine, lines } of some) located.push(await locateRange(core, view, need.plan, firstLine, lines));
    await dispatch(core, view, need.plan, { to: core.self, reason: some[0]!.reason, ranges: located, repeat: true });
    sent += some.length;
  }
  return sent;
}

function redriveBatch(core: Core, control: ControlEntry, { view, need }: OpenWork): RedriveBatch {
  const here = need.dispatches.filter((one) => one.to === core.self && !isDead(one, control));
  const sentHere = here.flatMap(({ ranges }) => ranges);
  const redriven = here.filter(({ reason }) => reason === 'redrive' || reason === 'spillover');
  return {
    batch: view.batch,
    model: need.plan.model,
    boundTo: view.manifest.boundTo,
    deadline: deadlineOf(view),
    isMoved: need.isMoved,
    ranges: need.ranges,
    answeredHere: sentHere.filter((range) => isAnswered(need.answered, range)).length,
    workedSince: here[0]?.at,
    redrivenHere: redriven.reduce((sum, { ranges }) => sum + ranges.length, 0),
  };
}

function isAnswered(answered: LineMap, [first, lines]: readonly [number, number]): boolean {
  return !answered.subarray(first, first + lines).includes(0);
}
