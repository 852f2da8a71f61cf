import type { Core } from '../core.ts';
import { codeOf } from '../errors.ts';
import { tellHeld } from '../health/held.ts';
import type { Pointer } from '../journal/facts.ts';
import type { Delivery, Settlement } from '../ports/delivery.ts';
import type { QueuePart } from '../ports/queue.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { backoffMs, workChunk } from './chunk.ts';
import { withLease } from './lease.ts';
import { planBatch } from './planner.ts';
import { isStale, parsePointer, pointerText } from './pointers.ts';
import { publishBatch } from './publisher.ts';
import { sparing } from './spare.ts';
import { splitRange } from './split.ts';
import { tellUnread } from './unread.ts';

const minuteMs: DurationMs = 60_000;
/** Longest pause of a pointer of a later version: 14 days of them, the retention of both queues, are under 700 deliveries. */
const unknownVersionPauseMaxMs: DurationMs = 30 * minuteMs;

/**
 * How long a pointer of a later version waits before it is handed out again, maybe to a process that knows it: as many
 * minutes as it was handed out times, at most half an hour. With the same pause each time the broker would dead-letter it
 * after 1,000 deliveries, which one a minute reaches in 17 hours: less than a batch may take.
 */
export function unknownVersionPauseMs(deliveryCount: number): DurationMs {
  return Math.min(Math.max(1, deliveryCount) * minuteMs, unknownVersionPauseMaxMs);
}

/**
 * Works messages of either queue, all at once, each settled on its own and last. Never rejects: whatever goes wrong with
 * one message concerns that message only.
 * @param options.queue the queue they are from; absent: nobody is told that some are held, or cannot be read
 * @param options.deadline when the function must have returned; default and upper bound: now + `runMs`
 */
export async function work(
  core: Core,
  deliveries: readonly Delivery[],
  options: { deadline?: EpochMs; queue?: QueuePart } = {},
): Promise<void> {
  const runEnd = core.clock.now() + core.settings.runMs;
  const deadline = Math.min(options.deadline ?? runEnd, runEnd);
  const stopTelling = options.queue === undefined ? undefined : tellHeld(core, options.queue);
  await Promise.all(deliveries.map((delivery) => workOne(core, delivery, deadline, options.queue)));
  stopTelling?.();
}

async function workOne(core: Core, delivery: Delivery, deadline: EpochMs, queue: QueuePart | undefined): Promise<void> {
  const parsed = parsePointer(delivery.body);
  if ('fault' in parsed) {
    core.log.warn('pointer.unreadable', { fault: parsed.fault, detail: parsed.detail });
    if (parsed.fault === 'unknown') {
      if (queue !== undefined) await tellUnread(core, queue, pointerText(delivery.body)!);
      await delivery.settle({ kind: 'giveBack', delayMs: unknownVersionPauseMs(delivery.deliveryCount) });
    } else await delivery.settle({ kind: 'deadLetter', reason: 'unreadable', description: parsed.detail });
    return;
  }
  if (delivery.deliveryCount > core.settings.deliveriesMax) {
    core.log.warn('pointer.leftToSweeper', { batch: parsed.fact.batch, deliveries: delivery.deliveryCount });
    await delivery.settle({ kind: 'complete' });
    return;
  }
  const settlement = await withLease(core.clock, delivery, core.settings.leaseMs, () =>
    handle(core, parsed.fact, delivery.deliveryCount, deadline).catch((error) =>
      settlementOf(core, parsed.fact, delivery.deliveryCount, error),
    ),
  );
  const settling = delivery.settle(settlement);
  if (settling !== undefined) await settling;
}

async function handle(own: Core, pointer: Pointer, deliveryCount: number, deadline: EpochMs): Promise<Settlement> {
  const control = await own.control.current();
  if (isStale(pointer, control, own.self)) {
    if (pointer.epoch <= control.epoch) return { kind: 'complete' };
    // Sent under an entry that this process has yet to learn: it knows the site as fenced, and the sender knew better.
    return { kind: 'giveBack', delayMs: own.settings.controlCacheMs };
  }
  const core = await sparing(own, control);
  if (pointer.kind === 'chunk') return workChunk(core, pointer, deliveryCount, deadline);
  if (pointer.kind === 'split') await splitRange(core, pointer);
  else {
    const outcome = pointer.kind === 'plan' ? await planBatch(core, pointer.tenant, pointer.batch) : undefined;
    if (outcome === 'being-sent') return { kind: 'giveBack', delayMs: own.settings.controlCacheMs };
    if (outcome === undefined || outcome === 'refused' || outcome === 'cancelled')
      await publishBatch(core, pointer.tenant, pointer.batch);
  }
  return { kind: 'complete' };
}

/** An error never loses a message: it comes back later. Only what belongs to no input is set aside for a human. */
function settlementOf(core: Core, pointer: Pointer, deliveryCount: number, error: unknown): Settlement {
  const message = String((error as Error)?.message).slice(0, 300);
  const code = codeOf(error) ?? 'unexpected';
  core.log.warn('pointer.failed', { kind: pointer.kind, batch: pointer.batch, code, error: message });
  if ((error as Error)?.name === 'PermanentJobError') return { kind: 'deadLetter', reason: code, description: message };
  return { kind: 'giveBack', delayMs: backoffMs(deliveryCount, core.random) };
}
