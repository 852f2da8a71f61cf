import type { Core } from '../core.ts';
import type { SeenObservation } from '../health/types.ts';
import { runFailback } from '../redrive/failback.ts';
import { actOnObservations } from './act.ts';
import { type Consumers, tendConsumers } from './consumers.ts';

/**
 * What the monitor of a site does in each tick about what all observers see:
 *
 * 1. carries out what `decide` says (under `failover: recommend` it only tells it);
 * 2. goes on with the return of a site, whoever started it: the steps of a return are gated, and never a surprise;
 * 3. brings the consumers of its own site in line with the control entry.
 *
 * One that fails does not keep the others from happening; all of them come again with the next tick.
 */
export async function tendSite(
  core: Core,
  observations: readonly SeenObservation[],
  consumers?: Consumers,
): Promise<void> {
  const steps: [string, () => Promise<unknown>][] = [
    ['decision', () => actOnObservations(core, observations)],
    ['failback', () => runFailback(core, observations)],
  ];
  if (consumers !== undefined)
    steps.push(['consumers', async () => tendConsumers(core, await core.control.current(), consumers)]);
  for (const [what, run] of steps) {
    try {
      await run();
    } catch (error) {
      core.log.warn('tend.failed', { what, error: String((error as Error)?.message).slice(0, 200) });
    }
  }
}
