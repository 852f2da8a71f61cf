import { describeChange } from '../control/commands.ts';
import { readPast } from '../control/history.ts';
import { learnControl, readEntry } from '../control/log.ts';
import { opinionOf } from '../control/opinion.ts';
import { controlPolicy } from '../control/policy.ts';
import { lastCanary } from '../health/canary.ts';
import { readObservations, type SeenBefore } from '../health/observation.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { SiteId } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { type BatchProgress, isLearnedElsewhere, progressOf } from './batches.ts';
import type { DrillEntry, DrillSample, DrillState, DrillTurn } from './facts.ts';
import type { Drill } from './file.ts';
import { noteUnsteady } from './machine.ts';
import { probeValue, type Sight } from './probes.ts';
import { type DrillDesk, readDesk } from './read.ts';
import type { TurnCore } from './turns.ts';

/** Shortest pause between two samples; of a drill that may take long there are not more than `samplesMax`. */
const sampleEveryMs: DurationMs = 1_000;
const samplesMax = 2_000;

/** What a look came to. */
export interface Looked {
  sight: Sight;
  /** Who wrote pages. */
  pages: DrillDesk['pages'];
  /** As it was, with what was seen noted. */
  state: DrillState;
  /** Now and then. */
  sample: DrillSample | undefined;
}

/** The eyes of a runner: the control log, the observers, the drill's own batches; and what of them was told already. */
export class DrillWatch {
  /** What observers said before: whether one is silent follows from that. */
  readonly seen: SeenBefore = new Map();
  readonly #core: TurnCore;
  readonly #turn: DrillTurn;
  readonly #drill: Drill;
  readonly #say: (kind: DrillEntry['kind'], text: string, at?: EpochMs) => void;
  readonly #progress = new Map<string, BatchProgress>();
  readonly #toldHealth = new Map<SiteId, string>();
  /** As it was learned last. */
  #control: ControlEntry | undefined;
  #toldEpoch: number;
  #sampledAt: EpochMs;
  #lookedAt: EpochMs | undefined;

  /**
   * @param told last epoch that was told of, and moment of the last sample, by whoever had the drill before
   * @param say tells of what changed
   */
  constructor(
    core: TurnCore,
    turn: DrillTurn,
    drill: Drill,
    told: { epoch: number; sampledAt: EpochMs },
    say: (kind: DrillEntry['kind'], text: string, at?: EpochMs) => void,
  ) {
    this.#core = core;
    this.#turn = turn;
    this.#drill = drill;
    this.#say = say;
    this.#toldEpoch = told.epoch;
    this.#sampledAt = told.sampledAt;
  }

  /** What is seen now. */
  async look(state: DrillState): Promise<Looked> {
    const core = this.#core;
    const now = core.clock.now();
    const [learnt, observations, { stops, pages }] = await Promise.all([
      learnControl(core).catch(() => undefined),
      readObservations(core, this.seen),
      readDesk(core, this.#turn.drill),
    ]);
    // What this process read for itself may be from before the drill: nothing may be concluded from its silence.
    const control = learnt ?? this.#control ?? (await core.control.current());
    this.#control = control;
    const past = await readPast(core, control, { whole: true });
    const policy = controlPolicy(core);
    const learned = await this.#follow(state, control, now);
    for (const { batch, lines } of state.batches) {
      if (this.#progress.get(batch)?.hasEnded === true) continue;
      const progress = await progressOf(core, batch, lines).catch(() => undefined);
      if (progress !== undefined) this.#progress.set(batch, progress);
    }
    const progress = [...this.#progress.values()];
    const failed = progress.reduce((sum, one) => sum + one.failed, 0);
    const ended = progress.filter(({ hasEnded }) => hasEnded).reduce((sum, { lines }) => sum + lines, 0);
    const errorShare = ended === 0 ? 0 : failed / ended;
    const canaries = await this.#canaries();
    // An entry that is missing may be the drill's own.
    const since = [control, ...past].filter(({ epoch }) => epoch > state.before.epoch);
    const isLearned = learnt !== undefined && since.length === control.epoch - state.before.epoch;
    const sight: Sight = { control, isLearned, past, observations, policy, stops, errorShare, progress, canaries, now };
    this.#tellHealth(sight);
    const passedMs = now - (this.#lookedAt ?? now);
    this.#lookedAt = now;
    const noted = noteSight({ ...state, learned }, sight);
    return {
      sight,
      pages,
      state: noteUnsteady(this.#drill, noted, (one) => probeValue(one, sight, noted), passedMs),
      sample: this.#isSampleDue(now) ? sampleOf(sight) : undefined,
    };
  }

  /** Lines of the drill that a site still has to do. */
  openAt(site: SiteId, { batches }: DrillState): number {
    const own = batches.filter(({ home }) => home === site);
    return own.reduce((sum, { batch, lines }) => sum + (this.#progress.get(batch)?.open ?? lines), 0);
  }

  /** Tells of new control entries. @returns when each was seen in the journals of the survivors */
  async #follow({ learned: before, before: { epoch: first } }: DrillState, control: ControlEntry, now: EpochMs) {
    const victim = this.#drill.holdfast.site;
    const learned = { ...before };
    for (let epoch = first + 1; epoch <= control.epoch; epoch++)
      if (learned[epoch] === undefined && (await isLearnedElsewhere(this.#core, epoch, victim))) learned[epoch] = now;
    for (let epoch = this.#toldEpoch + 1; epoch <= control.epoch; epoch++) {
      const [entry, previous] = await Promise.all([readEntry(this.#core, epoch), readEntry(this.#core, epoch - 1)]);
      if (entry === undefined || previous === undefined) continue;
      const changes = describeChange(previous.entry, entry.entry).join(', ');
      this.#say('control', `epoch ${epoch}, ${entry.entry.actor}: ${changes} (${entry.entry.reason})`, entry.entry.at);
    }
    this.#toldEpoch = Math.max(this.#toldEpoch, control.epoch);
    return learned;
  }

  /** Of the sites that a probe asks for. */
  async #canaries(): Promise<Record<SiteId, 'ok' | 'failed'>> {
    const steps = [...this.#drill['steady-state-hypothesis'].probes, ...this.#drill.method];
    const asked = new Set(
      steps.flatMap(({ provider }) => (provider.func === 'canary' ? [provider.arguments.site] : [])),
    );
    const found: Record<SiteId, 'ok' | 'failed'> = {};
    for (const id of asked) {
      const site = this.#core.sites.get(id);
      const last = site === undefined ? undefined : await lastCanary(this.#core, site).catch(() => undefined);
      if (last !== undefined) found[id] = last.outcome;
    }
    return found;
  }

  #tellHealth({ control, observations, policy, now }: Sight): void {
    for (const site of Object.keys(control.sites)) {
      const { health, causes } = opinionOf(site, observations, policy.profile, now);
      const says = [health, ...causes].join(' ');
      if (this.#toldHealth.get(site) !== says) this.#say('verdict', `${site}: ${says}`);
      this.#toldHealth.set(site, says);
    }
  }

  #isSampleDue(now: EpochMs): boolean {
    if (now - this.#sampledAt < Math.max(sampleEveryMs, this.#drill.holdfast.limit / samplesMax)) return false;
    this.#sampledAt = now;
    return true;
  }
}

/** The state with the moments of detection and of the cleared backlog. Pure. */
export function noteSight(state: DrillState, { control, observations, policy, progress, now }: Sight): DrillState {
  const { faultAt, clearedAt } = state;
  if (faultAt === null) return state;
  const detected = { ...state.detected };
  for (const site of state.phase === 'method' ? Object.keys(control.sites) : []) {
    const { words } = opinionOf(site, observations, policy.profile, now);
    const word = words.find(({ place, verdict }) => place !== site && verdict.health !== 'healthy');
    if (detected[site] === undefined && word !== undefined)
      detected[site] = {
        at: Math.max(faultAt, word.verdict.since),
        says: `${word.observer}: ${word.verdict.health} (${word.verdict.causes.join(', ')})`,
      };
  }
  const isCleared = clearedAt === null && progress.length > 0 && progress.every(({ open }) => open === 0);
  return { ...state, detected, ...(isCleared && { clearedAt: now }) };
}

/** What the report draws of one look. Pure. */
export function sampleOf({ control, observations, policy, progress, now }: Sight): DrillSample {
  const sites: DrillSample['sites'] = {};
  for (const [site, { state, weight }] of Object.entries(control.sites)) {
    const backlog = observations.find(({ observation }) => observation.home === site)?.observation.backlog ?? [];
    const rows = backlog.filter((row) => row.site === site);
    sites[site] = {
      state,
      weight,
      health: opinionOf(site, observations, policy.profile, now).health,
      openLines: rows.reduce((sum, { openLines }) => sum + openLines, 0),
      oldestMs: Math.max(0, ...rows.map(({ oldestMs }) => oldestMs)),
    };
  }
  const answered: DrillSample['answered'] = {};
  for (const one of progress)
    for (const [site, lines] of Object.entries(one.answered)) answered[site] = (answered[site] ?? 0) + lines;
  const open = progress.reduce((sum, one) => sum + one.open, 0);
  return { at: now, epoch: control.epoch, sites, open, answered };
}
