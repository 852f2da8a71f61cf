import type { ServiceBusQueueHandler } from '@azure/functions';
import { work } from '../../shared/worker/index.ts';
import { earlierDeliveries } from '../adapters/queue.ts';
import { wireSite } from '../wire.ts';
import { holdOf, serviceBusDelivery } from './deliveries.ts';

/**
 * A worker for one queue: one message an invocation. Invocations that run at once share one process, and with it one
 * batching core, so that their lines are packed together. Which queue it is matters only for what is given back.
 */
export function serviceBusWorker(
  queue: 'intake' | 'work',
  wire: typeof wireSite,
  run: typeof work,
): ServiceBusQueueHandler {
  return async (message, context) => {
    const { core, own } = await wire();
    const { delivery, conclude } = serviceBusDelivery(
      message,
      context,
      earlierDeliveries,
      (...copy) => own[queue].sendCopy(...copy),
      holdOf(core.clock, core.clock.now()),
    );
    await run(core, [delivery], { queue });
    await conclude();
  };
}

export const workerIntake = serviceBusWorker('intake', wireSite, work);
export const workerWork = serviceBusWorker('work', wireSite, work);
