import type { ControlCommand } from '../../../shared/control/commands.ts';
import { decide } from '../../../shared/control/decide.ts';
import type { ControlDraft } from '../../../shared/control/log.ts';
import { opinionOf } from '../../../shared/control/opinion.ts';
import { draftOf, planCommand } from '../../../shared/control/plan.ts';
import { type ControlPolicy, controlPolicy } from '../../../shared/control/policy.ts';
import { situationOf } from '../../../shared/control/rules.ts';
import { judgeAll } from '../../../shared/health/judge-all.ts';
import { type Backlog, type Observation, type SeenObservation, windowMs } from '../../../shared/health/types.ts';
import { type ControlEntry, factVersion } from '../../../shared/journal/facts.ts';
import type { Random } from '../../../shared/ports/random.ts';
import { nextFailbackStep } from '../../../shared/redrive/failback.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import { modelName } from './floor.ts';
import { type Cloud, clouds, otherCloud, type PlanLimits } from './limits.ts';
import { type Load, Looks, type Observer } from './looks.ts';
import type { Weather } from './weather.ts';

/** What all observers together hold of a site, from a moment on. */
export interface VerdictChange {
  at: EpochMs;
  site: Cloud;
  health: string;
  causes: string[];
}

const stores = ['aws', 'azure', 'witness'] as const;
/** A commit asks two stores twice. */
const commitMs: DurationMs = 400;
/** Facts that anti-entropy carries in a second: it lists, reads and writes across the clouds, some at once. */
const factsMirroredPerS = 100;

/**
 * Observers, judges and deciders: the product's own rules, fed with looks as a scenario lets them turn out. An observer
 * stands in each cloud, and a third one beside the witness.
 */
export class Watch {
  control: ControlEntry;
  readonly entries: ControlEntry[] = [];
  readonly verdicts: VerdictChange[] = [];
  /** Why nothing was done, from when on: the last word of `decide`. */
  readonly reasons: { at: EpochMs; reason: string }[] = [];
  readonly #limits: PlanLimits;
  readonly #weather: Weather;
  readonly #random: Random;
  readonly #policy: ControlPolicy;
  readonly #observers: Observer[];
  readonly #looks: Looks;
  /** By store, the latest word of each observer there. */
  readonly #written = new Map<string, Map<string, Observation>>(stores.map((store) => [store, new Map()]));
  #pending: { at: EpochMs; draft: ControlDraft; epoch: number } | undefined;
  #changedAt: EpochMs;
  /** Facts that one site lacks of those that the other has. */
  missingFacts = 0;

  constructor(limits: PlanLimits, weather: Weather, random: Random, now: EpochMs) {
    this.#limits = limits;
    this.#weather = weather;
    this.#random = random;
    const models = { sitesFor: () => [...clouds] };
    this.#policy = { ...controlPolicy({ settings: limits.settings, models } as never), hasWitness: true };
    this.#looks = new Looks(limits.settings, weather);
    this.control = firstEntry(limits, now);
    this.entries.push(this.control);
    this.#changedAt = now;
    const homes: (Cloud | undefined)[] = limits.observer ? ['aws', 'azure', undefined] : ['aws', 'azure'];
    this.#observers = homes.map((home) => ({
      name: home ?? 'observer',
      home,
      readings: [],
      alone: [],
      seen: new Map(),
      sample: undefined,
      modelAt: Number.NEGATIVE_INFINITY,
      isStuck: false,
      answeredBefore: 0,
      canaries: new Map(clouds.map((site) => [site, { at: Number.NEGATIVE_INFINITY, streak: 0 }])),
    }));
  }

  get #past(): ControlEntry[] {
    return this.entries.slice(0, -1);
  }

  get tickMs(): DurationMs {
    return this.#limits.settings.tickMs;
  }

  /** Whether everything is as in the beginning, as far as anybody knows. */
  get isCalm(): boolean {
    const { aws, azure } = this.control.sites;
    const isHome = aws!.state === 'active' && azure!.state === 'active' && this.control.moves.length === 0;
    // A site that came back has to have all of its weight; a weight of the beginning is as good.
    const hasWeight = clouds.every((id) => [100, this.#limits.home[id]].includes(this.control.sites[id]!.weight));
    return (
      isHome && hasWeight && this.#observers.every(({ alone }) => alone.every(({ health }) => health === 'healthy'))
    );
  }

  /**
   * Nothing that observers hold has changed for so long that nothing will until the weather does: there is none, or what
   * it strikes is fenced already.
   */
  isSteady(now: EpochMs): boolean {
    const isOnItsWay = clouds.some((id) => this.control.sites[id]!.state === 'recovering');
    if (this.#pending !== undefined || isOnItsWay || now - this.#changedAt <= this.#steadyMs) return false;
    const struck = this.#weather.struck(now);
    return struck.every((site) => this.control.sites[site]?.state === 'fenced');
  }

  get #steadyMs(): DurationMs {
    return Math.max(3_600_000, 4 * this.#policy.profile.good * this.tickMs);
  }

  /** As if everything had gone on in the same way for so long. */
  skip(ms: DurationMs): void {
    for (const observer of this.#observers) {
      observer.readings = observer.readings.map((reading) => ({ ...reading, at: reading.at + ms }));
      for (const seen of observer.seen.values()) seen.seenAt += ms;
    }
  }

  /**
   * What is due at `now`, a whole second: each observer has its own second in a tick.
   * @returns true if somebody looked
   */
  step(now: EpochMs, load: Readonly<Record<Cloud, Load>>): boolean {
    this.#commit(now);
    let hasLooked = false;
    for (const [i, observer] of this.#observers.entries()) {
      const phaseMs = Math.floor((i * this.tickMs) / this.#observers.length / 1_000) * 1_000;
      if ((now - phaseMs) % this.tickMs !== 0 || !this.#isAwake(observer, now)) continue;
      hasLooked = true;
      this.#tick(observer, now, load);
    }
    return hasLooked;
  }

  /** A person commands, overruling what may be overruled. @returns why nothing came of it */
  command(command: ControlCommand, actor: string, reason: string, now: EpochMs, isForced: boolean): string | undefined {
    const situation = situationOf({
      control: this.control,
      observations: this.#all(now),
      policy: this.#policy,
      now,
      actor,
      past: this.#past,
    });
    const free = planCommand(command, situation);
    const plan = isForced
      ? planCommand(
          command,
          situation,
          free.objections.map(({ rule }) => rule),
        )
      : free;
    if (plan.impossible !== undefined) return plan.impossible;
    if (plan.objections.length > 0)
      return plan.objections.map(({ rule, sentence }) => `${rule}: ${sentence}`).join('; ');
    if (plan.changes.length === 0) return 'it is so already';
    this.#append(draftOf(plan, { at: now, actor, reason, operation: `${actor}-${now}`, evidence: [] }));
    return undefined;
  }

  #isAwake({ home }: Observer, now: EpochMs): boolean {
    if (home === undefined) return true;
    const share = (service: string, ...ops: string[]) => this.#weather.share(now, home, service, ...ops);
    return !this.#weather.fails(share('functions', 'invoke')) && !this.#weather.fails(share('timer'));
  }

  #tick(observer: Observer, now: EpochMs, load: Readonly<Record<Cloud, Load>>): void {
    const { profile } = this.#policy;
    if (observer.home !== undefined) {
      const { openLines, answeredLines } = load[observer.home];
      observer.isStuck = openLines > 0 && answeredLines === observer.answeredBefore;
      observer.answeredBefore = answeredLines;
    }
    const others = this.#readOthers(observer, now);
    const round = this.#looks.round(observer, now, load, others);
    observer.readings = this.#looks.kept(observer.readings, round, now);
    const { trustsItself, verdicts, alone } = judgeAll({
      observer: observer.name,
      home: observer.home ?? null,
      sites: clouds,
      readings: observer.readings,
      previous: observer.alone,
      others,
      profile,
      now,
    });
    observer.alone = alone;
    const own: Observation = {
      v: factVersion,
      kind: 'observation',
      observer: observer.name,
      home: observer.home ?? null,
      at: now,
      trustsItself,
      verdicts,
      backlog: observer.home === undefined ? [] : clouds.map((site) => backlogAt(site, load[site], now)),
      readings: round,
    };
    for (const store of stores)
      if (this.#canWrite(observer.home, store, now)) this.#written.get(store)!.set(observer.name, own);
    if (observer.home === undefined) return;
    const fresh: SeenObservation = { observation: own, stale: false, stores: [observer.home] };
    this.#act(observer.home, [...others, fresh], now);
  }

  /** The latest word of everybody else, from every store that answers this observer. */
  #readOthers(observer: Observer, now: EpochMs): SeenObservation[] {
    const found = new Map<string, SeenObservation>();
    for (const store of stores) {
      if (!this.#canRead(observer.home, store, now)) continue;
      for (const [name, observation] of this.#written.get(store)!) {
        if (name === observer.name) continue;
        const known = found.get(name);
        if (known !== undefined && known.observation.at > observation.at) continue;
        if (known?.observation.at === observation.at) known.stores.push(store);
        else found.set(name, { observation, stale: false, stores: [store] });
      }
    }
    for (const [name, one] of found) {
      const before = observer.seen.get(name);
      const seenAt = before === undefined ? one.observation.at : before.at === one.observation.at ? before.seenAt : now;
      observer.seen.set(name, { at: one.observation.at, seenAt });
      one.stale = now - seenAt > windowMs(this.#policy.profile);
    }
    return [...found.values()];
  }

  #all(now: EpochMs): SeenObservation[] {
    const nobody: Observer = { ...this.#observers[0]!, name: '', home: undefined, seen: new Map() };
    return this.#readOthers(nobody, now).map((one) => ({
      ...one,
      stale: now - one.observation.at > windowMs(this.#policy.profile),
    }));
  }

  #act(site: Cloud, observations: readonly SeenObservation[], now: EpochMs): void {
    const actor = `monitor/${site}`;
    this.#noteVerdicts(observations, now);
    const decision = decide(observations, this.control, this.#policy, now, { past: this.#past, actor });
    if (decision.kind === 'none') {
      this.#noteReason(decision.reason, now);
    } else if (this.#policy.isActing) {
      this.#propose(decision.draft, site, now);
      return;
    }
    if (this.#policy.isActing && this.control.sites[site]!.state !== 'fenced') this.#return(site, observations, now);
  }

  /** The next step of a site on its way back. */
  #return(self: Cloud, observations: readonly SeenObservation[], now: EpochMs): void {
    const { profile } = this.#policy;
    const recovering = clouds.find((id) => this.control.sites[id]!.state === 'recovering');
    const isConverged = recovering !== undefined && this.#converge(now);
    const step = nextFailbackStep(
      {
        control: this.control,
        past: this.#past,
        opinion: (id) => opinionOf(id, observations, profile, now),
        profile,
        isConverged,
      },
      now,
    );
    if (step.kind !== 'step') return;
    const actor = `monitor/${self}`;
    const converged = new Set(isConverged ? [step.site] : []);
    const situation = situationOf({
      control: this.control,
      observations,
      policy: this.#policy,
      now,
      actor,
      past: this.#past,
      converged,
    });
    const plan = planCommand(step.command, situation);
    if (plan.impossible !== undefined || plan.objections.length > 0 || plan.changes.length === 0) return;
    const { operation, reason, evidence } = step;
    this.#propose(draftOf(plan, { at: now, actor, reason, operation, evidence }), self, now);
  }

  #converge(now: EpochMs): boolean {
    const isOpen = clouds.every(
      (id) => this.#canWrite(otherCloud(id), id, now) && this.#canRead(otherCloud(id), id, now),
    );
    if (isOpen) this.missingFacts = Math.max(0, this.missingFacts - (factsMirroredPerS * this.tickMs) / 1_000);
    return isOpen && this.missingFacts === 0;
  }

  #propose(draft: ControlDraft, site: Cloud, now: EpochMs): void {
    const voters = stores.filter((store) => this.#canWrite(site, store, now) && this.#canRead(site, store, now));
    if (voters.length < 2 || this.#pending !== undefined) return;
    const jitterMs = this.#random() * Math.min(1_000, this.tickMs / 2);
    this.#pending = { at: now + jitterMs + commitMs, draft, epoch: this.control.epoch };
  }

  #commit(now: EpochMs): void {
    const pending = this.#pending;
    if (pending === undefined || pending.at > now) return;
    this.#pending = undefined;
    if (pending.epoch === this.control.epoch) this.#append(pending.draft, now);
  }

  #append(draft: ControlDraft, now = draft.at): void {
    this.control = {
      v: factVersion,
      kind: 'control',
      epoch: this.control.epoch + 1,
      previous: '0'.repeat(64),
      ...draft,
    };
    this.entries.push(this.control);
    this.#changedAt = now;
  }

  #canWrite(home: Cloud | undefined, store: (typeof stores)[number], now: EpochMs): boolean {
    const share = this.#weather.share(now, store, 'store', 'put');
    return !this.#weather.fails(share) && !this.#weather.fails(this.#weather.linkShare(now, home, store));
  }

  #canRead(home: Cloud | undefined, store: (typeof stores)[number], now: EpochMs): boolean {
    const share = this.#weather.share(now, store, 'store', 'get');
    return !this.#weather.fails(share) && !this.#weather.fails(this.#weather.linkShare(now, home, store));
  }

  #noteVerdicts(observations: readonly SeenObservation[], now: EpochMs): void {
    for (const site of clouds) {
      const { health, causes } = opinionOf(site, observations, this.#policy.profile, now);
      const last = this.verdicts.findLast((one) => one.site === site);
      if (last?.health === health) {
        last.causes = [...new Set([...last.causes, ...causes])];
        continue;
      }
      this.verdicts.push({ at: now, site, health, causes });
      this.#changedAt = now;
    }
  }

  #noteReason(reason: string, now: EpochMs): void {
    // Numbers in a reason tick; that is no news.
    const gist = (text: string) => text.replace(/\d+/g, '#');
    const last = this.reasons.at(-1);
    if (last === undefined || gist(last.reason) !== gist(reason)) this.reasons.push({ at: now, reason });
  }
}

/** What the log holds before anything happens. */
function firstEntry({ home }: PlanLimits, now: EpochMs): ControlEntry {
  const site = (cloud: Cloud) =>
    ({ cloud, region: 'plan', generation: 1, state: 'active', weight: home[cloud], fencedEpoch: 0 }) as const;
  return {
    v: factVersion,
    kind: 'control',
    epoch: 1,
    previous: null,
    at: now - 86_400_000,
    actor: 'init',
    reason: 'first entry',
    operation: 'init',
    evidence: [],
    forced: [],
    sites: { aws: site('aws'), azure: site('azure') },
    voters: stores.map((store) => ({ store, incarnation: `${store}-1` })),
    frozen: false,
    moves: [],
  };
}

function backlogAt(site: Cloud, { openLines, oldestAt }: Load, now: EpochMs): Backlog {
  return { site, model: modelName, openLines, oldestMs: openLines === 0 ? 0 : now - oldestAt, answeredOfLate: 0 };
}
