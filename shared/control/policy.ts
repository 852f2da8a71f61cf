import type { Core } from '../core.ts';
import { type HealthProfile, profileOf } from '../health/types.ts';
import { endpoints } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';

/** What a deployment wants decided, and how soon; the same for machines and people. */
export interface ControlPolicy {
  profile: HealthProfile;
  /** Between two changes of who is fenced. Default: the first hold-down of the profile. */
  minimumIntervalMs: DurationMs;
  /** After an entry, until every process has learned of it and the sites have counted again what they have open. */
  settleMs: DurationMs;
  /** False: nothing moves by itself; verdicts are only shown. Default true. */
  automaticFailover: boolean;
  /** Monitors carry out what is decided; else they say it, and a person commands. Default: `settings.failover`. */
  isActing: boolean;
  /** False: a site that was failed over by machine stays fenced until a person starts its return. Default true. */
  automaticFailback: boolean;
  /** A third voter is configured here. Without it nothing fails over by itself. */
  hasWitness: boolean;
  /** Sites that may serve a model alias, none if it is not known. */
  sitesFor(model: string): readonly SiteId[];
}

/** The policy of a process, from its settings and model map. */
export function controlPolicy(
  core: Pick<Core, 'settings' | 'witness' | 'models'>,
  overrides: Partial<ControlPolicy> = {},
): ControlPolicy {
  const profile = profileOf(core.settings);
  return {
    profile,
    minimumIntervalMs: profile.holdDownMs,
    settleMs: core.settings.controlCacheMs + 2 * profile.tickMs,
    automaticFailover: true,
    isActing: core.settings.failover === 'automatic',
    automaticFailback: true,
    hasWitness: core.witness !== undefined,
    sitesFor: (model) => [...new Set(endpoints.flatMap((endpoint) => core.models.sitesFor(model, endpoint)))],
    ...overrides,
  };
}
