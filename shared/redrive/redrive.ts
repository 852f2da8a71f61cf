import type { Core } from '../core.ts';
import { isCanary } from '../health/canary-batch.ts';
import { type BatchView, deadlineOf } from '../journal/batch.ts';
import type { ControlEntry, Dispatch } from '../journal/facts.ts';
import type { WorkNeed } from '../worker/assess.ts';
import { dispatch, locateRange } from '../worker/dispatch.ts';
import { isDead } from '../worker/owner.ts';
import { type Pace, type PacedBatch, paceAfter } from './pace.ts';
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
  // Canaries are nobody's work: they would make an idle site look busy.
  const counted = open.filter(({ view }) => !isCanary(view.tenant));
  const limits = redriveLimits(core.settings.tickMs);
  const now = core.clock.now();
  const paced = counted.map((one) => pacedBatch(wavesHere(core, control, one), one));
  const pace = paceAfter(paces.get(core.control), paced, now, limits.horizonMs);
  paces.set(core.control, pace);
  const batches = counted.map((one) => redriveBatch(wavesHere(core, control, one), one));
  return planRedrive(batches, { self: core.self, control, now, pace }, limits, scope);
}

/** By the one thing of a process that every core made of its core shares. */
const paces = new WeakMap<Core['control'], Pace>();

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

function wavesHere(core: Core, control: ControlEntry, { need }: OpenWork): Dispatch[] {
  return need.dispatches.filter((one) => one.to === core.self && !isDead(one, control));
}

const isRedrive = ({ reason }: Dispatch) => reason === 'redrive' || reason === 'spillover';

function redriveBatch(here: readonly Dispatch[], { view, need }: OpenWork): RedriveBatch {
  return {
    batch: view.batch,
    model: need.plan.model,
    boundTo: view.manifest.boundTo,
    deadline: deadlineOf(view),
    isMoved: need.isMoved,
    ranges: need.ranges,
    redrivenHere: here.filter(isRedrive).reduce((sum, { ranges }) => sum + ranges.length, 0),
  };
}

function pacedBatch(here: readonly Dispatch[], { view, need }: OpenWork): PacedBatch {
  const sent = here.flatMap(({ ranges }) => ranges);
  const isAnswered = ([first, lines]: readonly [number, number]) =>
    !need.answered.subarray(first, first + lines).includes(0);
  return {
    batch: view.batch,
    sentHere: sent.length,
    answeredHere: sent.filter(isAnswered).length,
    ownSentAt: here.findLast((one) => !isRedrive(one))?.at,
  };
}
