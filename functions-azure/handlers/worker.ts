import type { ServiceBusQueueHandler } from '@azure/functions';
import { work } from '../../shared/worker/index.ts';
import { wireSite } from '../wire.ts';
import { EndedMessages, workMessage } from './deliveries.ts';

/**
 * A worker for one queue: one message an invocation. Invocations that run at once share one process, and with it one
 * batching core, so that their lines are packed together. Which queue it is matters only for what is given back.
 */
export function serviceBusWorker(
  queue: 'intake' | 'work',
  wire: typeof wireSite,
  run: typeof work,
): ServiceBusQueueHandler {
  const ended = new EndedMessages();
  return async (message, context) => {
    const { core, own } = await wire();
    await workMessage(core, message, context, {
      queue,
      ended,
      sendCopy: (original, delayMs) => own[queue].sendCopy(original, delayMs),
      run,
    });
  };
}

export const workerIntake = serviceBusWorker('intake', wireSite, work);
export const workerWork = serviceBusWorker('work', wireSite, work);
