import { type ControlCommand, describeChange } from '../control/commands.ts';
import { execute } from '../control/execute.ts';
import { readPast } from '../control/history.ts';
import { learnControl, readEntry } from '../control/log.ts';
import { opinionOf } from '../control/opinion.ts';
import { controlPolicy } from '../control/policy.ts';
import type { RuleName } from '../control/rules.ts';
import { codeOf, SiteUnavailableError } from '../errors.ts';
import type { CanaryJob } from '../health/canary-batch.ts';
import { readObservations, type SeenBefore } from '../health/observation.ts';
import { type ControlEntry, factBytes } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { drillReportKey } from '../journal/keys.ts';
import type { SiteId } from '../ports/site.ts';
import { convergeJournals, convergeNow } from '../redrive/converge.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import {
  type BatchProgress,
  forgetBatches,
  isHeldElsewhere,
  isLearnedElsewhere,
  progressOf,
  submitBatch,
} from './batches.ts';
import { beyondShare, commandsOf } from './commands.ts';
import { gatherEvidence, reportOf } from './conclude.ts';
import { showDuration } from './duration.ts';
import type { DrillEntry, DrillPage, DrillSample, DrillState, DrillTurn } from './facts.ts';
import type { Drill, DrillAction, DrillProbe, FaultArguments } from './file.ts';
import { type DrillObjection, endsDrill } from './incident.ts';
import {
  afterProbe,
  type DrillMove,
  enterPhase,
  newDrillState,
  nextDrillMove,
  nextStep,
  noteUnsteady,
} from './machine.ts';
import { DrillPages } from './pages.ts';
import { probeValue, type Sight } from './probes.ts';
import { concernsProduction, openProduction } from './production.ts';
import { readStops } from './read.ts';
import type { DrillReport } from './report.ts';
import { onPaper } from './tabletop.ts';
import { drillActor } from './tenant.ts';
import type { TurnCore } from './turns.ts';
import { undoOf } from './undo.ts';
import { judgeDrill } from './verdict.ts';

/** Something that breaks clouds for a while: the local clouds' own, or a test's. Each fault ends by itself. */
export interface FaultInjector {
  /** What is wrong with a fault; `undefined` where it can be injected. */
  refuse(fault: FaultArguments): string | undefined;
  /** Resolves when it holds. @returns its name, to end it by */
  inject(fault: FaultArguments): Promise<string>;
  clear(id: string): Promise<void>;
}

export interface DrillDeps {
  /** What batches ask for where a drill says nothing. */
  job: CanaryJob;
  /** Absent in production. */
  faults?: FaultInjector;
  /** Name of this process in pages: unique, or that of its site. */
  runner: string;
  /** Told of everything as it happens. */
  onEntry?: (entry: DrillEntry) => void;
  onSample?: (sample: DrillSample, state: DrillState) => void;
}

/** How a runner left a drill: ended; over its time, to be gone on with; or it was no longer its own. */
export type DrillEnd = { status: 'ended'; report: DrillReport; sha256: string } | { status: 'paused' | 'lost-lease' };

/** Shortest pause between two samples; of a drill that may take long there are not more than `samplesMax`. */
const sampleEveryMs: DurationMs = 1_000;
const samplesMax = 2_000;
/** How often a command that others overtook is tried again. */
const triesMax = 5;

/**
 * One runner of one drill. Everything it knows stands in pages below `drills/<id>/`, so that another can go on: each
 * page renews the lease, and is written before anything is done for as long as the lease lasts.
 */
export class DrillRun {
  readonly turn: DrillTurn;
  readonly drill: Drill;
  state: DrillState;
  readonly #core: TurnCore;
  readonly #deps: DrillDeps;
  readonly #seen: SeenBefore = new Map();
  readonly #pages: DrillPages;
  #progress = new Map<string, BatchProgress>();
  #toldEpoch: number;
  #toldWhy = '';
  #lookedAt: EpochMs | undefined;
  /** When the step began that was acted upon last. */
  #actedAt: EpochMs | undefined;
  readonly #toldHealth = new Map<SiteId, string>();

  constructor(core: TurnCore, deps: DrillDeps, turn: DrillTurn, drill: Drill, pages: readonly DrillPage[]) {
    const last = pages.at(-1);
    this.#core = core;
    this.#deps = deps;
    this.turn = turn;
    this.drill = drill;
    this.state = last?.state ?? { ...newDrillState(emptyControl, turn.at), before: turn.before };
    this.#pages = new DrillPages(core, turn, { lease: drill.holdfast.lease, runner: deps.runner, pages });
    this.#toldEpoch = Math.max(turn.before.epoch, ...Object.keys(this.state.learned).map(Number));
  }

  get id(): string {
    return this.turn.drill;
  }

  /** Takes over a drill whose runner was not heard for a whole lease: whatever it left is undone. */
  async takeOver(): Promise<void> {
    const now = this.#core.clock.now();
    const sentence = `its runner was not heard since ${new Date(this.#pages.heardAt).toISOString()}: it is undone by ${this.#deps.runner}`;
    const isLeft = this.state.phase === 'before' || this.state.phase === 'method';
    if (isLeft) this.state = enterPhase(this.state, 'undo', now, { rule: 'lease-expired', sentence });
    this.#say('note', `lease-expired: ${sentence}`);
    await this.#pages.take(this.state);
  }

  /** Renews the lease before anything else is done. */
  async begin(): Promise<void> {
    this.#say('phase', `before: ${this.drill['steady-state-hypothesis'].title}`);
    await this.#write();
  }

  /**
   * Runs the drill on, to its end or until `deadline`.
   * @param signal aborted: the drill is stopped, and undone
   */
  async run(options: { deadline?: EpochMs; stop?: () => string | undefined } = {}): Promise<DrillEnd> {
    try {
      return await this.#run(options);
    } catch (error) {
      if (codeOf(error) !== 'drill_lease_lost') throw error;
      return { status: 'lost-lease' };
    }
  }

  async #run(options: { deadline?: EpochMs; stop?: () => string | undefined }): Promise<DrillEnd> {
    const { clock } = this.#core;
    for (;;) {
      if (this.state.phase === 'ended') throw new Error('a drill that has ended is not run');
      if (clock.now() > this.#pages.until) return { status: 'lost-lease' };
      if (options.deadline !== undefined && clock.now() >= options.deadline) {
        await this.#write();
        return { status: 'paused' };
      }
      const sight = await this.#look();
      const wish = options.stop?.();
      const stopped: DrillObjection | undefined =
        wish === undefined || this.state.aborted !== null ? undefined : { rule: 'stopped', sentence: wish };
      const seen = {
        ends: stopped ?? endsDrill(this.drill, this.id, this.state, sight, clock.now()),
        undo: undoOf(this.id, this.state.before, sight.control, sight.past),
      };
      const move = nextDrillMove(this.drill, this.state, seen, clock.now());
      if (move.kind === 'judge') return this.#judge(sight);
      await this.#make(move, sight);
      if (this.#pages.isAging) await this.#write();
    }
  }

  /** What is seen now: the control log, the observers, the drill's own batches. */
  async #look(): Promise<Sight> {
    const core = this.#core;
    const now = core.clock.now();
    const [control, observations, stops] = await Promise.all([
      learnControl(core).catch(() => core.control.current()),
      readObservations(core, this.#seen),
      readStops(core, this.id),
    ]);
    const past = await readPast(core, control, { whole: true });
    const policy = controlPolicy(core);
    await this.#follow(control, now);
    for (const { batch, lines } of this.state.batches) {
      if (this.#progress.get(batch)?.hasEnded === true) continue;
      const progress = await progressOf(core, batch, lines).catch(() => undefined);
      if (progress !== undefined) this.#progress.set(batch, progress);
    }
    const progress = [...this.#progress.values()];
    const failed = progress.reduce((sum, one) => sum + one.failed, 0);
    const ended = progress.filter(({ hasEnded }) => hasEnded).reduce((sum, { lines }) => sum + lines, 0);
    const errorShare = ended === 0 ? 0 : failed / ended;
    const sight: Sight = { control, past, observations, policy, stops, errorShare, progress, now };
    this.#note(sight);
    const passedMs = now - (this.#lookedAt ?? now);
    this.state = noteUnsteady(this.drill, this.state, (one) => probeValue(one, sight, this.state), passedMs);
    this.#lookedAt = now;
    return sight;
  }

  /** Tells of new control entries, and notes when the survivors hold them. */
  async #follow(control: ControlEntry, now: EpochMs): Promise<void> {
    const victim = this.drill.holdfast.site;
    const learned = { ...this.state.learned };
    for (let epoch = this.state.before.epoch + 1; epoch <= control.epoch; epoch++)
      if (learned[epoch] === undefined && (await isLearnedElsewhere(this.#core, epoch, victim))) learned[epoch] = now;
    this.state = { ...this.state, learned };
    if (control.epoch <= this.#toldEpoch) return;
    for (let epoch = this.#toldEpoch + 1; epoch <= control.epoch; epoch++) {
      const [entry, previous] = await Promise.all([readEntry(this.#core, epoch), readEntry(this.#core, epoch - 1)]);
      if (entry === undefined || previous === undefined) continue;
      const changes = describeChange(previous.entry, entry.entry).join(', ');
      this.#say('control', `epoch ${epoch}, ${entry.entry.actor}: ${changes} (${entry.entry.reason})`, entry.entry.at);
    }
    this.#toldEpoch = control.epoch;
  }

  /** Verdicts that changed, the moment of detection, of the cleared backlog, and a sample now and then. */
  #note({ control, observations, policy, progress, now }: Sight): void {
    const detected = { ...this.state.detected };
    const sites: DrillSample['sites'] = {};
    for (const [site, { state, weight }] of Object.entries(control.sites)) {
      const opinion = opinionOf(site, observations, policy.profile, now);
      const backlog = observations.find(({ observation }) => observation.home === site)?.observation.backlog ?? [];
      const rows = backlog.filter((row) => row.site === site);
      sites[site] = {
        state,
        weight,
        health: opinion.health,
        openLines: rows.reduce((sum, { openLines }) => sum + openLines, 0),
        oldestMs: Math.max(0, ...rows.map(({ oldestMs }) => oldestMs)),
      };
      const says = [opinion.health, ...opinion.causes].join(' ');
      if (this.#toldHealth.get(site) !== says) this.#say('verdict', `${site}: ${says}`);
      this.#toldHealth.set(site, says);
      const { faultAt } = this.state;
      const word = opinion.words.find(({ place, verdict }) => place !== site && verdict.health !== 'healthy');
      if (faultAt !== null && detected[site] === undefined && word !== undefined && this.state.phase === 'method')
        detected[site] = {
          at: Math.max(faultAt, word.verdict.since),
          says: `${word.observer}: ${word.verdict.health} (${word.verdict.causes.join(', ')})`,
        };
    }
    const open = progress.reduce((sum, one) => sum + one.open, 0);
    const isCleared = this.state.faultAt !== null && this.state.clearedAt === null && open === 0 && progress.length > 0;
    this.state = { ...this.state, detected, ...(isCleared && { clearedAt: now }) };
    const lastAt = this.#pages.samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
    if (now - lastAt < Math.max(sampleEveryMs, this.drill.holdfast.limit / samplesMax)) return;
    const answered: DrillSample['answered'] = {};
    for (const one of progress)
      for (const [site, lines] of Object.entries(one.answered)) answered[site] = (answered[site] ?? 0) + lines;
    const sample = { at: now, epoch: control.epoch, sites, open, answered };
    this.#pages.add(sample);
    this.#deps.onSample?.(sample, this.state);
  }

  async #make(move: DrillMove, sight: Sight): Promise<void> {
    const { clock } = this.#core;
    switch (move.kind) {
      case 'wait':
        return clock.sleep(move.ms);
      case 'skip':
        this.state = nextStep(this.state, clock.now());
        return;
      case 'enter': {
        this.state = enterPhase(this.state, move.phase, clock.now(), move.aborted, move.late);
        if (move.phase === 'undo' && move.aborted === undefined && this.state.aborted === null)
          this.#say('phase', 'undo');
        else this.#say('phase', `${move.phase}: ${move.aborted ? `${move.aborted.rule}: ` : ''}${move.why}`);
        return this.#write();
      }
      case 'probe': {
        const value = await this.#probe(move.probe, sight);
        this.state = afterProbe(this.drill, this.state, move, value, clock.now());
        const check = this.state.checks.at(-1)!;
        if (this.state.doneAt !== null)
          this.#say('probe', `${check.name}: ${check.value}${check.isOk ? '' : ` (wanted ${check.wanted})`}`);
        return;
      }
      case 'act':
        return this.#act(move.action, move.of, sight);
      case 'clear':
        return this.#clear();
      case 'command':
        return this.#undo(move.undo.command, move.undo.why, sight);
      default:
        return;
    }
  }

  async #probe(probe: DrillProbe, sight: Sight) {
    if (probe.provider.func === 'journals-equal') return convergeNow(this.#core);
    return probeValue(probe.provider, sight, this.state);
  }

  /** Carries out one action; in a tabletop drill it is planned, and nothing happens. */
  async #act(action: DrillAction, of: 'method' | 'rollbacks', sight: Sight): Promise<void> {
    const { clock } = this.#core;
    const { provider, name } = action;
    if (this.drill.holdfast.kind === 'tabletop') return this.#plan(action, sight);
    // Long enough for the effect to be known before the lease ends. What waits and is tried again needs no page each time.
    const isNew = this.#actedAt !== this.state.stepAt;
    this.#actedAt = this.state.stepAt;
    if (isNew || this.#pages.isAging) await this.#write();
    try {
      switch (provider.func) {
        case 'submit':
          await this.#submit(provider.arguments);
          break;
        case 'fault':
          await this.#inject(provider.arguments);
          break;
        case 'struck':
          await this.#strike(provider.arguments.site);
          this.#say('action', `${name}: ${provider.arguments.site} was struck by somebody else`);
          break;
        case 'restore-backup': {
          await this.#strike(provider.arguments.site);
          const batches = this.state.batches.map(({ batch }) => batch);
          const count = await forgetBatches(this.#core, provider.arguments.site, batches);
          this.#say('action', `${name}: ${count} objects of this drill are gone from ${provider.arguments.site}`);
          break;
        }
        default:
          if (!(await this.#command(action, sight))) {
            await clock.sleep(1_000);
            return;
          }
      }
      this.state = { ...this.state, doneAt: clock.now() };
    } catch (error) {
      if (codeOf(error) === 'drill_lease_lost') throw error;
      const sentence = `${name}: ${String((error as Error)?.message).slice(0, 500)}`;
      this.#say('note', sentence);
      this.state =
        of === 'rollbacks'
          ? { ...this.state, doneAt: clock.now() }
          : enterPhase(this.state, 'undo', clock.now(), { rule: 'refused', sentence });
    }
    await this.#write();
  }

  async #submit(order: Extract<DrillAction['provider'], { func: 'submit' }>['arguments']): Promise<void> {
    const { home, held, lines, model = this.#deps.job.model, endpoint = this.#deps.job.endpoint } = order;
    for (let i = 0; i < order.batches; i++) {
      const number = this.state.batches.length + 1;
      const batch = await submitBatch(this.#core, { model, endpoint }, { drill: this.id, number, lines, home, held });
      this.state = { ...this.state, batches: [...this.state.batches, { batch, home, lines, wasHeld: null }] };
    }
    const where = held ? `home ${home}, their pointers withheld` : `home ${home}`;
    this.#say('action', `${order.batches} batches of ${lines} lines were accepted, ${where}`);
  }

  async #inject(fault: FaultArguments): Promise<void> {
    const { faults } = this.#deps;
    if (faults === undefined)
      throw new SiteUnavailableError('faults_absent', 'nothing here can inject a fault', 'faults');
    const id = await faults.inject(fault);
    const until = this.#core.clock.now() + fault.ttl;
    const what = `${fault.target} ${fault.kind}`;
    this.state = { ...this.state, faults: [...this.state.faults, { id, name: what, until }] };
    const site = fault.target.split('/')[0]!;
    if (!fault.prepares) await this.#strike(site);
    this.#say('action', `${what} for ${showDuration(fault.ttl)} (${id})`);
  }

  /** The first fault or command: from here on everything is measured. */
  async #strike(site: SiteId | undefined): Promise<void> {
    if (this.state.faultAt !== null) return;
    const faultAt = this.#core.clock.now();
    const lost = this.drill.holdfast.site ?? site;
    const batches = await Promise.all(
      this.state.batches.map(async (one) => ({
        ...one,
        wasHeld: lost === undefined ? null : await isHeldElsewhere(this.#core, one.batch, lost),
      })),
    );
    this.state = { ...this.state, faultAt, batches };
    if (!concernsProduction(this.drill)) return;
    const open = await openProduction(this.#core, lost);
    this.state = { ...this.state, production: open.batches, productionTotal: open.total };
  }

  /** @returns false while a graceful failover waits for its site to finish */
  async #command(action: DrillAction, sight: Sight): Promise<boolean> {
    const { provider, name } = action;
    const commands = commandsOf(provider, this.state, this.id);
    const beyond = beyondShare(provider, this.drill, sight.control);
    if (beyond !== undefined) throw new Error(beyond);
    const from = provider.func === 'failover' ? provider.arguments.from : undefined;
    const { site, store } = provider.arguments as { site?: string; store?: string };
    await this.#strike(from ?? site ?? store);
    for (const [i, command] of commands.entries()) {
      const isGraceful = command.kind === 'failover' && command.mode === 'graceful' && command.scope.kind === 'all';
      const state = isGraceful ? sight.control.sites[command.from]?.state : '';
      // Production's backlog leaves the drill's batches out, so the rule \`drained\` does not wait for them.
      if (isGraceful && state === 'cordoned' && this.#openAt(command.from) > 0) return false;
      const operation = `${this.state.phase} ${this.state.step} ${i} ${state}`;
      const rule = provider.func === 'failover' ? provider.arguments['refused-by'] : undefined;
      if (rule !== undefined) {
        await this.#mistake(command, operation, name, rule);
        continue;
      }
      const outcome = await this.#send(command, operation, `drill ${this.id}: ${name}`);
      if (outcome === 'waiting' || (isGraceful && state === 'active')) return false;
    }
    this.#say('action', name);
    return true;
  }

  /** A command that a rule has to refuse. @throws Error where it was not, or by another rule */
  async #mistake(command: ControlCommand, operation: string, name: string, rule: string): Promise<void> {
    const said = await this.#send(command, operation, `drill ${this.id}: ${name}`).then(
      () => 'it was carried out',
      (error: Error) => error.message,
    );
    if (!said.split('; ').some((one) => one.startsWith(`${rule}: `)))
      throw new Error(`${rule} did not refuse it: ${said}`);
    this.#say('note', `refused, as it has to be: ${said}`);
  }

  #openAt(site: SiteId): number {
    const own = this.state.batches.filter(({ home }) => home === site);
    return own.reduce((sum, { batch, lines }) => sum + (this.#progress.get(batch)?.open ?? lines), 0);
  }

  /** Sends one command, again where others were faster. @throws Error where rules forbid it */
  async #send(
    command: ControlCommand,
    operation: string,
    reason: string,
    force: readonly RuleName[] = [],
  ): Promise<'done' | 'waiting'> {
    const core = this.#core;
    for (let tries = 1; ; tries++) {
      const outcome = await execute(core, command, {
        operationId: sha256(`drill ${this.id} ${operation}`).slice(0, 32),
        actor: drillActor(this.id),
        reason,
        force,
        observations: await readObservations(core, this.#seen),
        isConverged: () => convergeJournals(core),
      });
      switch (outcome.status) {
        case 'done':
        case 'replayed':
        case 'unchanged':
        case 'planned':
          return 'done';
        case 'refused':
          if (outcome.objections.every(({ rule }) => rule === 'drained')) return 'waiting';
          throw new Error(outcome.objections.map(({ rule, sentence }) => `${rule}: ${sentence}`).join('; '));
        case 'impossible':
          throw new Error(outcome.sentence);
        default:
          if (tries >= triesMax) throw new Error(`nothing was decided (${outcome.status})`);
          await core.clock.sleep(1_000 * core.random());
      }
    }
  }

  async #plan(action: DrillAction, sight: Sight): Promise<void> {
    const { told, checks } = await onPaper(this.#core, this.turn, this.drill, action, sight);
    this.#say('action', `${action.name}: ${told}`);
    this.state = { ...this.state, doneAt: sight.now, checks: [...this.state.checks, ...checks] };
  }

  async #clear(): Promise<void> {
    const { faults } = this.#deps;
    const now = this.#core.clock.now();
    for (const { id, name, until } of this.state.faults) {
      if (until <= now) continue;
      if (faults === undefined) {
        this.#say('undo', `${name} ends by itself at ${new Date(until).toISOString()}`);
        await this.#core.clock.sleep(Math.min(1_000, until - now));
        return;
      }
      await faults.clear(id).catch(() => {});
      this.#say('undo', `${name} was ended`);
    }
    this.state = {
      ...this.state,
      faults: this.state.faults.map((one) => ({ ...one, until: Math.min(one.until, now) })),
    };
  }

  async #undo(command: ControlCommand, why: string, { control }: Sight): Promise<void> {
    await this.#write();
    try {
      const operation = `undo ${control.epoch} ${JSON.stringify(command)}`;
      await this.#send(command, operation, `drill ${this.id} is undone: ${why}`, forcedToUndo);
      this.#say('undo', why);
    } catch (error) {
      const note = `${why}: ${String((error as Error)?.message).slice(0, 500)}`;
      if (this.#toldWhy !== note) this.#say('note', note);
      this.#toldWhy = note;
      await this.#core.clock.sleep(1_000);
    }
  }

  async #judge({ control }: Sight): Promise<DrillEnd> {
    const core = this.#core;
    const now = core.clock.now();
    const found = await gatherEvidence(core, this.drill, this.state, control, async () => {
      if (this.#pages.isAging) await this.#write();
    });
    for (const batch of found.missing) this.#say('note', `${batch} is in no journal`);
    const verdict = judgeDrill(this.drill, this.state, found);
    this.state = enterPhase(this.state, 'ended', now);
    this.#say('end', [verdict.outcome, ...verdict.reasons].join('; ').slice(0, 2_000));
    const { turn, drill, state } = this;
    const { entries, samples } = this.#pages;
    const report = reportOf(
      { turn, drill, state, entries, samples, runner: this.#deps.runner, endedAt: now },
      verdict,
      found,
    );
    const bytes = factBytes(report);
    const hash = sha256(bytes);
    await this.#pages.put(drillReportKey(this.id, hash), bytes);
    await this.#pages.write(this.state, hash);
    return { status: 'ended', report, sha256: hash };
  }

  #say(kind: DrillEntry['kind'], text: string, at: EpochMs = this.#core.clock.now()): void {
    const entry: DrillEntry = { at: Math.floor(at), kind, text: text.slice(0, 2_000) };
    this.#pages.say(entry);
    this.#deps.onEntry?.(entry);
  }

  /** @throws as `DrillPages.write` */
  #write(): Promise<void> {
    return this.#pages.write(this.state);
  }
}

/** A drill takes back what it did itself, and does so above all where there is an incident. */
const forcedToUndo: readonly RuleName[] = ['minimum-interval', 'no-drill-in-incident'];
const emptyControl = { epoch: 0, sites: {} } as ControlEntry;
