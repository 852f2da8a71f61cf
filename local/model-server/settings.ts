import type { EpochMs } from '../../shared/units.ts';
import { DEFAULT_BEHAVIOUR, type ModelBehaviour, type ModelServerBehaviour } from './behaviour.ts';

/** One change made while the server runs. */
export interface BehaviourSetting {
  /** A model, or `*` for all. */
  readonly model: string;
  readonly patch: Partial<ModelBehaviour>;
  /** When it ends by itself; null: never. */
  readonly until: EpochMs | null;
}

/** Names whose resolved behaviour is kept. Any name is a model here, so the number of names has no bound of its own. */
const RESOLVED_MAX = 1_000;

/**
 * What every model does at a moment. Layers, the later one winning member by member: defaults, `*` at start, the model at
 * start, then each change in the order in which it was made, so that `*` set last reaches every model.
 */
export class BehaviourSettings {
  readonly #start: ModelServerBehaviour;
  #settings: readonly BehaviourSetting[] = [];
  readonly #resolved = new Map<string, { readonly behaviour: ModelBehaviour; readonly until: EpochMs }>();

  constructor(start: ModelServerBehaviour) {
    this.#start = start;
  }

  /** The behaviour of a model now; the same object until something changes. */
  of(model: string, now: EpochMs): ModelBehaviour {
    const known = this.#resolved.get(model);
    if (known && now < known.until) return known.behaviour;
    const settings = this.list(now).filter((setting) => setting.model === model || setting.model === '*');
    const behaviour = Object.assign(
      {},
      DEFAULT_BEHAVIOUR,
      this.#start['*'],
      Object.hasOwn(this.#start, model) ? this.#start[model] : undefined,
      ...settings.map((setting) => setting.patch),
    );
    if (this.#resolved.size >= RESOLVED_MAX) this.#resolved.clear();
    const until = Math.min(...settings.map((setting) => setting.until ?? Number.POSITIVE_INFINITY));
    this.#resolved.set(model, { behaviour, until });
    return behaviour;
  }

  /** Changes some members for a model or `*`. What it overrides for good is forgotten, so the list stays short. */
  set(setting: BehaviourSetting, now: EpochMs): void {
    const overridden = setting.until === null ? Object.keys(setting.patch) : [];
    const kept = this.list(now)
      .map((earlier) =>
        setting.model === '*' || earlier.model === setting.model
          ? { ...earlier, patch: without(earlier.patch, overridden) }
          : earlier,
      )
      .filter((earlier) => Object.keys(earlier.patch).length > 0);
    this.#settings = [...kept, setting];
    this.#resolved.clear();
  }

  /** Back to how the server was started: one model's own changes, or with `*` every change. */
  reset(model: string): void {
    this.#settings = model === '*' ? [] : this.#settings.filter((setting) => setting.model !== model);
    this.#resolved.clear();
  }

  /** The changes in force, oldest first. */
  list(now: EpochMs): readonly BehaviourSetting[] {
    return this.#settings.filter((setting) => setting.until === null || now < setting.until);
  }
}

function without(patch: Partial<ModelBehaviour>, names: readonly string[]): Partial<ModelBehaviour> {
  return Object.fromEntries(Object.entries(patch).filter(([name]) => !names.includes(name)));
}
