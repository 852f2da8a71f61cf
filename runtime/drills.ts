import type { HoldfastConfig } from '../shared/config/index.ts';
import type { Core } from '../shared/core.ts';
import { type ScheduledDrill, scheduledDrills } from '../shared/drill/defaults.ts';
import type { DrillDeps } from '../shared/drill/run.ts';
import { tendDrills } from '../shared/drill/start.ts';
import type { DurationMs } from '../shared/units.ts';
import { canaryJob } from './health.ts';

/** What a function needs to run drills. */
export interface DrillsWire {
  core: Core;
  deps: DrillDeps;
  drills: readonly ScheduledDrill[];
}

/** @throws ConfigError for a configured drill that does not hold, or where no model is served in both clouds */
export function drillsWire(config: HoldfastConfig, core: Core): DrillsWire {
  const job = canaryJob(config);
  const drills = job === undefined ? [] : scheduledDrills(config.drills, Object.keys(config.sites));
  // Without a model that both clouds serve nothing could be taken over, and nothing is started; what is left is undone.
  return {
    core,
    deps: { job: job ?? { model: 'canary', endpoint: '/v1/chat/completions' }, runner: core.self },
    drills,
  };
}

/** One look, as long as it may take: see `tendDrills`. Never rejects: the next minute looks again. */
export async function tendForAWhile({ core, deps, drills }: DrillsWire, lastingMs: DurationMs): Promise<void> {
  try {
    const tended = await tendDrills(core, deps, drills, core.clock.now() + lastingMs);
    if (tended.status !== 'nothing') core.log.info('drills.tended', { status: tended.status, drill: tended.drill });
  } catch (error) {
    core.log.warn('drills.untended', { error: String((error as Error)?.message).slice(0, 300) });
  }
}
