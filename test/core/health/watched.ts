import { SiteUnavailableError, TransientError } from '../../../shared/errors.ts';
import { type MonitorDeps, monitorSettled, monitorTick } from '../../../shared/health/monitor.ts';
import { type ObserveMemory, observe, observeMemory } from '../../../shared/health/observe.ts';
import type { SeenObservation, Verdict } from '../../../shared/health/types.ts';
import { factBytes } from '../../../shared/journal/facts.ts';
import { controlKey } from '../../../shared/journal/keys.ts';
import type { Settings } from '../../../shared/settings.ts';
import { World } from '../../support/world.ts';

type SiteName = 'aws' | 'azure';

/** A world whose two monitors run, and a third place if asked for. */
export class Watched {
  readonly world: World;
  /** Front doors and neutral places that do not answer; models, `site alias`, with the code they fail with. */
  readonly broken = { doors: new Set<string>(), references: new Set<string>(), models: new Map<string, string>() };
  /** Sites whose triggers poll. */
  polling: SiteName[] = ['aws', 'azure'];
  /** Sites whose monitors run. */
  watching: SiteName[] = ['aws', 'azure'];
  /** False: ticks do not wait for a sweeper that hangs. */
  patient = true;
  seen: readonly SeenObservation[] = [];
  modelCalls = 0;
  /** What a model takes for a token. */
  modelMs = 0;
  readonly #third: ObserveMemory = observeMemory();

  constructor(settings: Partial<Settings> = {}) {
    this.world = new World({ settings });
  }

  async begin(): Promise<this> {
    const { world } = this;
    for (const store of [world.aws, world.azure, world.witness])
      await store.journal.putIfAbsent(controlKey(1), factBytes(world.control));
    return this;
  }

  deps(observer: string, home: SiteName | null): MonitorDeps {
    const down = (where: string) => new SiteUnavailableError('refused', `${where} refused`, where);
    return {
      observer,
      home,
      canary: { endpoint: '/v1/chat/completions', model: 'm' },
      fetchHealth: async (site) => {
        if (this.broken.doors.has(site)) throw down(site);
      },
      probeModel: async (site, { alias }) => {
        this.modelCalls += 1;
        if (this.modelMs > 0) await this.world.clock.sleep(this.modelMs);
        const code = this.broken.models.get(`${site} ${alias}`);
        if (code === 'throttled') throw new TransientError(code, 'slow down');
        if (code !== undefined) throw new SiteUnavailableError(code, 'gone', alias);
      },
      references: ['one', 'two', 'three'],
      reachReference: async (name) => {
        if (this.broken.references.has(`${observer} ${name}`)) throw down(name);
      },
      act: async (_, observations) => {
        this.seen = observations;
      },
    };
  }

  /** Ticks until `ms` have passed or `until` holds; gives the time that took. */
  async run(ms: number, until: () => boolean = () => false): Promise<number> {
    const { world } = this;
    const began = world.clock.now();
    while (world.clock.now() - began < ms && !until()) {
      const next = world.clock.now() + world.settings.tickMs;
      await world.serveAll(this.polling);
      for (const site of this.watching) {
        const core = world.core(site);
        await world.settled(monitorTick(core, this.deps(site, site)));
        if (this.patient) await world.settled(monitorSettled(core));
      }
      await world.serveAll(this.polling);
      await world.clock.advance(Math.max(0, next - world.clock.now()));
    }
    return world.clock.now() - began;
  }

  async third(): Promise<Verdict[]> {
    const core = this.world.core('aws');
    return (await this.world.settled(observe(core, this.deps('third', null), this.#third))).verdicts;
  }

  /** What one observer says of a site, in the last round of anybody. */
  verdict(observer: string, site: string): Verdict | undefined {
    const found = this.seen.find(({ observation }) => observation.observer === observer);
    return found?.observation.verdicts.find((one) => one.site === site);
  }
}
