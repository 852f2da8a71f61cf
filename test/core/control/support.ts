import { jest } from '@jest/globals';
import type { ControlCommand } from '../../../shared/control/commands.ts';
import { type CommandOptions, type ExecuteCore, execute } from '../../../shared/control/execute.ts';
import { controlView, initControl, learnControl } from '../../../shared/control/log.ts';
import type { ControlPolicy } from '../../../shared/control/policy.ts';
import {
  type Backlog,
  type Cause,
  type Health,
  profiles,
  type SeenObservation,
  type Verdict,
} from '../../../shared/health/types.ts';
import type { ControlEntry } from '../../../shared/journal/facts.ts';
import { firstEntry } from '../../support/world.ts';
import { storeIds, TwoSites } from '../journal/two-sites.ts';

export const now = Date.UTC(2026, 0, 2);
export type SiteName = 'aws' | 'azure';

export const policy: ControlPolicy = {
  profile: profiles.balanced,
  minimumIntervalMs: 120_000,
  settleMs: 25_000,
  automaticFailover: true,
  isActing: true,
  automaticFailback: true,
  hasWitness: true,
  sitesFor: (model) => (model === 'only-aws' ? ['aws'] : model === 'm' || model === 'e' ? ['aws', 'azure'] : []),
};

/** What one observer says of one site: health alone, or with causes and models. */
export type Says = Health | [health: Health, causes: Cause[], models?: string[]];

export interface Observer {
  aws?: Says;
  azure?: Says;
  /** Default: the site of the same name, if there is one. */
  home?: SiteName;
  stale?: boolean;
  trustsItself?: boolean;
  /** Default: every store, the witness too. */
  stores?: string[];
  backlog?: Backlog[];
  /** Models that it has just seen answer at home, or not. */
  looks?: Record<string, 'ok' | 'failed'>;
  since?: number;
  holdUntil?: number;
  at?: number;
}

function verdict(site: SiteName, says: Says, { since = now - 60_000, holdUntil = 0, at = now }: Observer): Verdict {
  const [health, causes = [], models = []] = Array.isArray(says) ? says : [says];
  const evidence = health === 'healthy' ? [] : [`${site} looks ${health}`];
  return { site, health, causes: [...causes], models: [...models], since, at, evidence, flaps: 0, holdUntil };
}

/** What every store shows: observers by name; `aws` and `azure` live there, anybody else in a third place. */
export function seen(observers: Record<string, Observer>): SeenObservation[] {
  return Object.entries(observers).map(([observer, one]) => ({
    observation: {
      v: 1,
      kind: 'observation',
      observer,
      home: one.home ?? (observer === 'aws' || observer === 'azure' ? observer : null),
      at: one.at ?? now,
      trustsItself: one.trustsItself ?? true,
      verdicts: (['aws', 'azure'] as const).flatMap((site) =>
        one[site] === undefined ? [] : [verdict(site, one[site], one)],
      ),
      backlog: one.backlog ?? [],
      readings: Object.entries(one.looks ?? {}).map(([subject, outcome]) => ({
        observer,
        site: observer,
        signal: 'model',
        subject,
        at: one.at ?? now,
        outcome,
      })),
    },
    stale: one.stale ?? false,
    stores: one.stores ?? ['aws', 'azure', 'witness'],
  }));
}

export const well: Observer = { aws: 'healthy', azure: 'healthy' };
export const allWell = seen({ aws: well, azure: well, third: well });
export const dark: Says = ['down', ['site-dark']];
/** AWS is gone, its observer with it. */
export const awsDark = seen({
  aws: { ...well, stale: true },
  azure: { aws: dark, azure: 'healthy' },
  third: { aws: dark, azure: 'healthy' },
});
export const azureDark = seen({
  aws: { aws: 'healthy', azure: dark },
  azure: { ...well, stale: true },
  third: { aws: 'healthy', azure: dark },
});

/** An entry that follows `previous`. */
export function entryAfter(previous: ControlEntry, change: Partial<ControlEntry>): ControlEntry {
  return { ...structuredClone(previous), epoch: previous.epoch + 1, at: previous.at + 1_000, ...change };
}

export const first: ControlEntry = firstEntry(now - 3_600_000);

/** AWS failed over to Azure, by whom and when the test says. */
export function awsFenced(
  by = 'monitor/azure',
  at = now - 600_000,
  state: 'fenced' | 'recovering' = 'fenced',
): ControlEntry {
  const { aws, azure } = first.sites;
  return entryAfter(first, {
    at,
    actor: by,
    operation: 'op-2',
    sites: { aws: { ...aws!, state, weight: 0, fencedEpoch: 2 }, azure: { ...azure!, weight: 100 } },
  });
}

export const failover = (from: SiteName, to: SiteName): Extract<ControlCommand, { kind: 'failover' }> => ({
  kind: 'failover',
  from,
  to,
  scope: { kind: 'all' },
  mode: 'forced',
});

/** Real registers and control log over stores in memory, with two processes that may be split, starved and killed. */
export class ControlWorld extends TwoSites {
  static async start(): Promise<ControlWorld> {
    const world = new ControlWorld();
    world.now = now;
    await initControl(world.core('aws'), {
      sites: { aws: { cloud: 'aws', region: 'local' }, azure: { cloud: 'azure', region: 'local' } },
      voters: storeIds.map((store) => ({ store, incarnation: `${store}-1` })),
      actor: 'test',
      reason: 'first entry',
    });
    return world;
  }

  /** A process of one site, with a view of the log of its own. */
  process(self: SiteName, options: { witness?: boolean } = {}): ExecuteCore {
    const core = this.core(self, options);
    return { ...core, control: controlView(core), models: { sitesFor: (model) => [...policy.sitesFor(model)] } };
  }

  /** A command as a person sends it, everything being well. */
  run(core: ExecuteCore, command: ControlCommand, options: Partial<CommandOptions> = {}) {
    return execute(core, command, {
      operationId: core.ids.uuid(),
      actor: 'operator:test',
      reason: 'because',
      observations: allWell,
      policy,
      ...options,
    });
  }

  learned(self: SiteName): Promise<ControlEntry> {
    return learnControl(this.core(self));
  }
}

/** A promise that another party resolves. */
export function gate(): { open: () => void; opened: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: jest.fn(resolve) as () => void, opened: promise };
}
