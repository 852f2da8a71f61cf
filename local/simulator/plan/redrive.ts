import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { type Pace, paceAfter } from '../../../shared/redrive/pace.ts';
import { planRedrive, type RedriveBatch, redriveLimits } from '../../../shared/redrive/plan.ts';
import type { EpochMs } from '../../../shared/units.ts';
import { isDead, moveFrom, placeOf } from '../../../shared/worker/owner.ts';
import { type Floor, modelName } from './floor.ts';
import { type Cloud, otherCloud } from './limits.ts';
import type { Batch, Task } from './work.ts';

/** The redriver of one site: the product's rule, tick by tick, over the batches of a run. */
export class Redriver {
  readonly #self: Cloud;
  readonly #tickMs: number;
  #pace: Pace | undefined;

  constructor(self: Cloud, tickMs: number) {
    this.#self = self;
    this.#tickMs = tickMs;
  }

  /**
   * Sends what this tick allows.
   * @returns pointers sent, and the lines of those among them that somebody may be at all the same: a model that was moved
   *   leaves behind what is in work, and one that returns leaves pointers that are still good
   */
  step(floor: Floor, control: ControlEntry, now: EpochMs): { sent: number; doubtful: number } {
    const self = this.#self;
    const limits = redriveLimits(this.#tickMs);
    const own = [...floor.openBatches].flatMap((batch) => {
      const view = {
        batch: batch.spec.name,
        acceptance: { home: batch.home },
        manifest: { boundTo: null },
        plan: { model: modelName },
      };
      const place = placeOf(view as never, batch.dispatches, control, undefined);
      return place.owner === self ? [{ batch, isMoved: place.isMoved }] : [];
    });
    const isHere = ({ to, epoch }: { to: string; epoch: number }) => to === self && !isDead({ to, epoch }, control);
    this.#pace = paceAfter(
      this.#pace,
      own.map(({ batch }) => {
        const here = batch.tasks.filter(isHere);
        const answeredHere = here.filter((task) => floor.canSee(now, self, task)).length;
        const ownSentAt = batch.dispatches.findLast((one) => isHere(one) && one.reason === 'plan')?.at;
        return { batch: batch.spec.name, sentHere: here.length, answeredHere, ownSentAt };
      }),
      now,
      limits.horizonMs,
    );
    const byName = new Map(own.map(({ batch }) => [batch.spec.name, batch]));
    const open = own.map(({ batch, isMoved }) =>
      redriveBatch(batch, isMoved, (task) => floor.canSee(now, self, task), isHere),
    );
    const plan = planRedrive(open, { self, control, now, pace: this.#pace }, limits);
    const wave = plan.waves[0] ?? [];
    const tasks = wave.map(
      ({ batch, firstLine }) => byName.get(batch)!.tasks.find(({ chunk }) => chunk.firstLine === firstLine)!,
    );
    const isDoubtful = (task: Task) => {
      const subject = { batch: task.batch.spec.name, model: modelName, boundTo: null };
      const move = moveFrom(control, task.to, subject);
      const isForgotten = isDead(task, control) || (move !== undefined && task.epoch < move.since);
      return floor.isInWork(task, otherCloud(self)) ? !isDead(task, control) : !isForgotten && task.leaseEnds <= now;
    };
    const doubtful = tasks.filter(isDoubtful).reduce((sum, { chunk }) => sum + chunk.lines, 0);
    for (const reason of ['redrive', 'spillover'] as const) {
      const some = tasks.filter((_task, i) => wave[i]!.reason === reason);
      if (some.length > 0) floor.send(some, self, control.epoch, reason, now);
    }
    return { sent: tasks.length, doubtful };
  }
}

function redriveBatch(
  { spec, deadline, tasks }: Batch,
  isMoved: boolean,
  isAnswered: (task: Task) => boolean,
  isHere: (task: Task) => boolean,
): RedriveBatch {
  const isRedriven = ({ reason }: Task) => reason === 'redrive' || reason === 'spillover';
  return {
    batch: spec.name,
    model: modelName,
    boundTo: null,
    deadline,
    isMoved,
    ranges: tasks
      .filter((task) => !isAnswered(task))
      .map(({ chunk, to, sentAt, epoch, reason, leaseEnds }) => {
        const { firstLine, lines } = chunk;
        return { firstLine, lines, to, sentAt, epoch, reason, leaseEnds };
      }),
    redrivenHere: tasks.filter((task) => isHere(task) && isRedriven(task)).length,
  };
}
