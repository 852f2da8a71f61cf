import { isWitnessSeen, opinionOf } from '../control/opinion.ts';
import type { EpochMs } from '../units.ts';
import type { BatchProgress } from './batches.ts';
import type { DrillState, DrillStop } from './facts.ts';
import type { DrillProbe } from './file.ts';
import { backlogAgeMs, type DrillSight } from './incident.ts';

/** Everything that a runner saw in one look. */
export interface Sight extends DrillSight {
  /** False where the control log could not be read: then `control` is what was learned before. */
  isLearned: boolean;
  stops: readonly DrillStop[];
  errorShare: number;
  progress: readonly BatchProgress[];
  /** By site that some probe asks for: how the last canary went that ended. */
  canaries: Readonly<Record<string, 'ok' | 'failed'>>;
  now: EpochMs;
}

type Provider = Exclude<DrillProbe['provider'], { func: 'journals-equal' }>;

/** What a probe tells; `null` where nothing is known. Spans are in seconds. Pure. */
export function probeValue(
  provider: Provider,
  { control, observations, policy, errorShare, progress, canaries, now }: Sight,
  state: Pick<DrillState, 'before'>,
): string | number | boolean | null {
  const opinion = (site: string) => opinionOf(site, observations, policy.profile, now);
  switch (provider.func) {
    case 'sites-healthy':
      return Object.keys(control.sites).filter((site) => opinion(site).health === 'healthy').length;
    case 'health':
      return opinion(provider.arguments.site).health;
    case 'causes':
      return opinion(provider.arguments.site).causes.join(' ');
    case 'canary':
      return canaries[provider.arguments.site] ?? null;
    case 'state':
      return control.sites[provider.arguments.site]?.state ?? null;
    case 'witness':
      return isWitnessSeen(observations);
    case 'frozen':
      return control.frozen;
    case 'backlog-age':
      return backlogAgeMs(control, observations, provider.arguments.site) / 1000;
    case 'answered':
      return progress.reduce((sum, { lines, open }) => sum + lines - open, 0);
    case 'answered-by':
      return progress.reduce((sum, { answered }) => sum + (answered[provider.arguments.site] ?? 0), 0);
    case 'open':
      return progress.reduce((sum, { open }) => sum + open, 0);
    case 'batches-ended':
      return progress.every(({ hasEnded }) => hasEnded);
    case 'error-share':
      return errorShare;
    case 'moves':
      return control.moves.length;
    case 'votes': {
      const voter = control.voters.find(({ store }) => store === provider.arguments.store);
      return voter !== undefined && voter.joining !== true;
    }
    case 'epoch-raised':
      return control.epoch > state.before.epoch;
  }
}
