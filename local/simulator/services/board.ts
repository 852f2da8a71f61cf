import { createHash } from 'node:crypto';
import type { DurationMs, EpochMs } from '../../../shared/units.ts';
import type { Process } from '../engine/process.ts';
import type { Stream } from '../engine/random.ts';
import type { EffectMode, ScenarioEffect } from '../scenario/index.ts';

/** An effect that is in force, and since when. */
export interface ActiveEffect {
  effect: ScenarioEffect;
  since: EpochMs;
}

/** What becomes of one call on its way to a service. */
export interface Fate {
  /** Longer than usual by this much. */
  delayMs: DurationMs;
  /** It fails with this code, without an effect as far as the caller can tell. */
  error?: string;
  /** Nothing is heard for so long, then the caller's client gives up. `Infinity`: nothing is ever heard. */
  silentMs?: DurationMs;
  /** It has its effect, and the answer does not come. */
  isReplyLost?: boolean;
}

const smooth: Fate = { delayMs: 0 };

/** A token holds for an hour, and is asked for anew a little before that. */
const tokenLifeMs: DurationMs = 55 * 60_000;
/** Share of calls that find no standing connection. */
const newConnections = 0.1;

/**
 * Everything that is wrong now, by component: the effects of a scenario, as callers meet them. Times of effects are
 * absolute by now.
 */
export class Board {
  #active: ActiveEffect[] = [];
  /** Grows with each change, so that routes look up what concerns them once. */
  version = 0;
  readonly #stream: Stream;
  /** Told when something begins or ends. */
  onChange: (() => void) | undefined;
  /** Calls that met an effect, by kind of mode. */
  readonly met: Record<string, number> = {};

  constructor(stream: Stream) {
    this.#stream = stream;
  }

  get active(): readonly ActiveEffect[] {
    return this.#active;
  }

  begin(effect: ScenarioEffect, now: EpochMs): ActiveEffect {
    const active = { effect, since: now };
    this.#active.push(active);
    this.version += 1;
    this.onChange?.();
    return active;
  }

  end(active: ActiveEffect): void {
    this.#active = this.#active.filter((one) => one !== active);
    this.version += 1;
    this.onChange?.();
  }

  /** Effects on exactly this component, or on something that holds it. */
  on(...parts: string[]): ActiveEffect[] {
    return this.#active.filter(({ effect }) => holds(effect.target, parts));
  }

  /** True with the probability that some `error`, `gone` or `freeze` on the component strikes now. */
  strikes(...parts: string[]): boolean {
    return this.on(...parts).some(({ effect: { mode } }) => {
      if (mode.kind === 'gone' || mode.kind === 'freeze') return true;
      if (mode.kind === 'error' || mode.kind === 'partial') return this.#stream.chance(mode.rate);
      return mode.kind === 'throttle' && !this.#stream.chance(mode.share);
    });
  }

  /** What one call meets, its effects taken one after the other; the first that fails it decides. */
  fate(effects: readonly Concern[], process: Process, key: string, now: EpochMs, bytes = 0): Fate {
    if (effects.length === 0) return smooth;
    const fate: Fate = { delayMs: 0 };
    for (const { active, when } of effects) {
      if (!this.#isConcerned(when, active, process, now)) continue;
      this.#meet(fate, active, process, key, bytes);
      if (fate.error !== undefined || fate.silentMs !== undefined) break;
    }
    return fate;
  }

  #isConcerned(when: Concern['when'], { since }: ActiveEffect, process: Process, now: EpochMs): boolean {
    if (when === 'always') return true;
    if (when === 'connection') return process.startedAt >= since || this.#stream.chance(newConnections);
    const renewals = Math.floor((now - process.startedAt) / tokenLifeMs);
    return process.startedAt + renewals * tokenLifeMs >= since;
  }

  #meet(fate: Fate, active: ActiveEffect, process: Process, key: string, bytes: number): void {
    const { mode, target } = active.effect;
    if (!this.#hits(active, process, key, bytes)) return;
    this.met[mode.kind] = (this.met[mode.kind] ?? 0) + 1;
    switch (mode.kind) {
      case 'error':
        fate.error = target.includes('.credentials.') ? '401' : mode.code;
        break;
      case 'timeout':
        fate.silentMs = mode.afterMs;
        break;
      case 'slow':
        fate.delayMs += this.#stream.latency(mode.p50Ms, mode.p99Ms);
        break;
      case 'throttle':
        fate.error = '429';
        break;
      case 'drop_reply':
        fate.isReplyLost = true;
        break;
      case 'partial':
        fate.error = '5xx';
        break;
      case 'freeze':
        fate.silentMs = Number.POSITIVE_INFINITY;
        break;
      default:
        fate.error = 'refused';
    }
  }

  /** Whether this call is one of those that the effect concerns. */
  #hits({ effect, since }: ActiveEffect, process: Process, key: string, bytes: number): boolean {
    const { mode } = effect;
    switch (mode.kind) {
      case 'ok':
      case 'command':
      // Old answers are given by the store itself.
      case 'stale':
        return false;
      case 'error':
      case 'timeout':
      case 'drop_reply':
        return this.#stream.chance(mode.rate);
      case 'throttle':
        return !this.#stream.chance(mode.share);
      case 'new_conns_only':
      case 'cold_only':
        return process.startedAt >= since;
      case 'partial':
        return this.#isInCohort(effect, mode, process, key, bytes);
      default:
        return true;
    }
  }

  /** Nodes are met by chance; large objects are large; everything else that is alike (accounts, zones) always fares alike. */
  #isInCohort(
    { target, fromMs }: ScenarioEffect,
    { cohort, rate }: Extract<EffectMode, { kind: 'partial' }>,
    process: Process,
    key: string,
    bytes: number,
  ): boolean {
    if (cohort === 'random-nodes') return this.#stream.chance(rate);
    if (cohort === 'large-objects') return bytes > 2_000 && this.#stream.chance(rate);
    const member = cohort === 'tenant' ? (key.split('/')[1] ?? '') : `${process.name} ${key.split('/').at(-1)}`;
    const digest = createHash('sha256').update(`${target} ${fromMs} ${cohort} ${member}`).digest();
    return digest.readUInt32BE(0) / 4_294_967_296 < rate;
  }
}

/** An effect as it concerns one route. */
export interface Concern {
  active: ActiveEffect;
  /** `token`: only once the caller has to ask for a new one; `connection`: only where one has to be opened. */
  when: 'always' | 'token' | 'connection';
}

/** The way from one place to one operation of one service of one site. */
export class Route {
  readonly #board: Board;
  readonly #from: string;
  readonly #parts: string[];
  #version = -1;
  #concerns: Concern[] = [];

  constructor(board: Board, from: string, site: string, service: string, operation?: string) {
    this.#board = board;
    this.#from = from;
    this.#parts = operation === undefined ? [site, service] : [site, service, operation];
  }

  fate(process: Process, key: string, now: EpochMs, bytes?: number): Fate {
    if (this.#version !== this.#board.version) {
      this.#version = this.#board.version;
      this.#concerns = this.#board.active.flatMap((active) => {
        const when = concernOf(active.effect.target, this.#from, this.#parts);
        return when === undefined ? [] : [{ active, when }];
      });
    }
    return this.#board.fate(this.#concerns, process, key, now, bytes);
  }
}

/** Whether, and when, what is wrong with `target` is met by a call from `from` to `parts`. */
function concernOf(target: string, from: string, parts: readonly string[]): Concern['when'] | undefined {
  if (holds(target, parts)) return 'always';
  const [site, service, operation] = target.split('.');
  const [to, kind] = parts;
  if (site === 'link') return service === `${from}-to-${to}` ? 'always' : undefined;
  // What leaves a site meets its network, and a site that is gone sends nothing.
  if (site === from && (service === undefined || service === 'net')) return 'always';
  if (kind === 'model') return concernsModel(target, parts) ? 'always' : undefined;
  // Names are looked up for new connections; a look at a front door opens one each time.
  if (service === 'dns') return site !== to ? undefined : kind === 'api' ? 'always' : 'connection';
  if (service !== 'credentials' || kind === 'api') return undefined;
  if (operation === 'validate') return site === to ? 'always' : undefined;
  if (operation === 'exchange') return site === to && from !== to ? 'token' : undefined;
  if (operation === 'mint') return site === from ? 'token' : undefined;
  return undefined;
}

/** A vendor's model is behind both clouds; a name that we do not serve means the one that everybody asks for. */
function concernsModel(target: string, [to, , alias]: readonly string[]): boolean {
  const [site, service, model] = target.split('.');
  if (service !== 'model' || (site !== 'provider' && site !== to)) return false;
  return model === undefined || alias === (['m', 'e', 'only-aws'].includes(model) ? model : 'm');
}

/** `aws` holds `aws.store`, which holds `aws.store.put`. */
function holds(target: string, parts: readonly string[]): boolean {
  const wanted = target.split('.');
  return wanted.length <= parts.length && wanted.every((part, i) => part === parts[i]);
}
