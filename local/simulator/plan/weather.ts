import type { Random } from '../../../shared/ports/random.ts';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import { drawLognormal } from '../../model-server/random.ts';
import type { EffectMode, Scenario, ScenarioEffect } from '../scenario/index.ts';
import type { Cloud } from './limits.ts';

/** What of a scenario this model knows; the rest changes nothing here and is told. */
const modelled =
  /^(aws|azure)(\.(store(\.(get|put|list))?|queue(\.(send|receive|settle))?|functions(\.(invoke|poller))?|credentials(\.\w+)?|model(\.[\w-]+)?|api|timer))?$|^witness(\.store(\.\w+)?)?$|^provider(\.model(\.[\w-]+)?)?$|^link\.|^operator\./;

/** A probe that takes longer has failed. */
const probeMs: DurationMs = 5_000;

/** What is wrong at which moment: a scenario laid over a trace. */
export class Weather {
  readonly #effects: readonly ScenarioEffect[];
  readonly #zero: EpochMs;
  readonly #random: Random;
  readonly #changes: readonly EpochMs[];
  /** Effects in force, for one stretch between two changes. */
  #now: { from: EpochMs; until: EpochMs; shares: Map<string, number>; effects: ScenarioEffect[] } | undefined;

  /** @param zero the moment that the scenario calls T+0 */
  constructor(scenario: Scenario | undefined, zero: EpochMs, random: Random) {
    this.#effects = (scenario?.effects ?? []).filter(
      ({ target, mode }) => modelled.test(target) && mode.kind !== 'command' && mode.kind !== 'ok',
    );
    this.#zero = zero;
    this.#changes = this.#allChanges();
    this.#random = random;
  }

  /** Moments at which something begins or ends, ascending. */
  get changes(): readonly EpochMs[] {
    return this.#changes;
  }

  #allChanges(): EpochMs[] {
    const all = this.#effects.flatMap(({ fromMs, untilMs }) => (untilMs === undefined ? [fromMs] : [fromMs, untilMs]));
    return [...new Set(all)].sort((a, b) => a - b).map((ms) => this.#zero + ms);
  }

  /** When nothing is wrong any more; `undefined` if that never comes. */
  get endsAt(): EpochMs | undefined {
    if (this.#effects.some(({ untilMs }) => untilMs === undefined)) return undefined;
    return this.#zero + Math.max(0, ...this.#effects.map(({ untilMs }) => untilMs!));
  }

  /**
   * Share of calls that fail, 0 … 1, of a service of a site: of its named operations, of the service as such, of the
   * whole site.
   */
  share(now: EpochMs, site: string, service: string, ...operations: readonly string[]): number {
    const { effects } = this.#at(now);
    return effects.length === 0 ? 0 : this.#shareOf(now, site, service, operations, true);
  }

  /** As `share`, where the whole site is no part of it: a dark site refuses nobody's credentials. */
  partShare(now: EpochMs, site: string, service: string, ...operations: readonly string[]): number {
    const { effects } = this.#at(now);
    return effects.length === 0 ? 0 : this.#shareOf(now, site, service, operations, false);
  }

  #shareOf(now: EpochMs, site: string, service: string, operations: readonly string[], isWhole: boolean): number {
    const key = `${site} ${service} ${operations.join()} ${isWhole}`;
    const { shares, effects } = this.#at(now);
    const known = shares.get(key);
    if (known !== undefined) return known;
    const names = [...(isWhole ? [site] : []), ...namesOf(site, service, operations)];
    const isMeant = (target: string) =>
      names.some((name) => name === target || (name.endsWith('*') && target.startsWith(name.slice(0, -1))));
    const well = effects
      .filter(({ target }) => isMeant(target))
      .reduce((left, { mode }) => left * (1 - failing(mode)), 1);
    shares.set(key, 1 - well);
    return 1 - well;
  }

  /** Share of calls from one cloud to another that fail on the way. */
  linkShare(now: EpochMs, from: Cloud | undefined, to: string): number {
    return from === undefined || from === to ? 0 : this.share(now, 'link', `${from}-to-${to}`);
  }

  /** A draw of how one call goes that fails at this rate. */
  fails(share: number): boolean {
    if (share <= 0) return false;
    return share >= 1 || this.#random() < share;
  }

  /** Extra time of a call of the model, drawn. */
  modelDelayMs(now: EpochMs, site: Cloud): DurationMs {
    let delay = 0;
    for (const { target, mode } of this.#at(now).effects)
      if (
        mode.kind === 'slow' &&
        (target === site || target.startsWith(`${site}.model`) || target.startsWith('provider'))
      )
        delay = Math.max(delay, drawLognormal(this.#random, mode.p50Ms, mode.p99Ms));
    return delay;
  }

  /** Whether the model of a site is refused for want of quota, and not for anything worse. */
  isThrottled(now: EpochMs, site: Cloud): boolean {
    const ofModel = this.#at(now).effects.filter(({ target }) => target.startsWith(`${site}.model`));
    return ofModel.some(({ mode }) => mode.kind === 'throttle' || (mode.kind === 'error' && mode.code === '429'));
  }

  /** Sites that something is wrong with now; `link` and `provider` among them. */
  struck(now: EpochMs): string[] {
    return [...new Set(this.#at(now).effects.map(({ target }) => target.split('.')[0]!))];
  }

  #at(now: EpochMs) {
    const known = this.#now;
    if (known !== undefined && known.from <= now && now < known.until) return known;
    const ms = now - this.#zero;
    const effects = this.#effects.filter(({ fromMs, untilMs = Infinity }) => fromMs <= ms && ms < untilMs);
    const until = this.changes.find((at) => at > now) ?? Number.POSITIVE_INFINITY;
    const from = this.changes.findLast((at) => at <= now) ?? Number.NEGATIVE_INFINITY;
    this.#now = { from, until, shares: new Map(), effects };
    return this.#now;
  }
}

/** `*` stands for any operation. */
const namesOf = (site: string, service: string, operations: readonly string[]) => [
  `${site}.${service}`,
  ...operations.map((one) => `${site}.${service}.${one}`),
];

/** Targets of a scenario that change nothing in this model, and why not: it knows nothing of them. */
export function unmodelled({ effects }: Scenario): string[] {
  return [...new Set(effects.map(({ target }) => target))].filter((target) => !modelled.test(target)).sort();
}

/** Share of calls that a mode fails. */
function failing(mode: EffectMode): number {
  switch (mode.kind) {
    case 'error':
    case 'timeout':
    case 'partial':
      return mode.rate;
    case 'throttle':
      return 1 - mode.share;
    case 'slow':
      return shareAbove(probeMs, mode.p50Ms, mode.p99Ms);
    case 'freeze':
    case 'gone':
    case 'new_conns_only':
      return 1;
    // The effect of a lost reply happens and is found by looking again; what is stale or warm answers.
    default:
      return 0;
  }
}

/** Share of a lognormal spread that lies above `ms`. */
function shareAbove(ms: DurationMs, p50Ms: DurationMs, p99Ms: DurationMs): number {
  if (p50Ms <= 0 || p99Ms <= p50Ms) return p50Ms > ms ? 1 : 0;
  const z = Math.log(ms / p50Ms) / (Math.log(p99Ms / p50Ms) / 2.3263);
  // Logistic stand-in for the normal distribution, right within one percent.
  return 1 / (1 + Math.exp(1.702 * z));
}
