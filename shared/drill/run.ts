import type { ControlCommand } from '../control/commands.ts';
import type { RuleName } from '../control/rules.ts';
import { codeOf, SiteUnavailableError } from '../errors.ts';
import type { CanaryJob } from '../health/canary-batch.ts';
import { type ControlEntry, factBytes } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { drillReportKey } from '../journal/keys.ts';
import type { SiteId } from '../ports/site.ts';
import { compareJournals } from '../redrive/converge.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { forgetBatches, submitBatch } from './batches.ts';
import { beyondShare, commandsOf } from './commands.ts';
import { gatherEvidence, reportOf } from './conclude.ts';
import { showDuration } from './duration.ts';
import type { DrillEntry, DrillPage, DrillSample, DrillState, DrillTurn } from './facts.ts';
import type { Drill, DrillAction, DrillProbe, FaultArguments } from './file.ts';
import { type DrillObjection, endsDrill } from './incident.ts';
import { afterProbe, type DrillMove, enterPhase, newDrillState, nextDrillMove, nextStep } from './machine.ts';
import { DrillPages } from './pages.ts';
import { probeValue, type Sight } from './probes.ts';
import { readDesk } from './read.ts';
import type { DrillReport } from './report.ts';
import { sendCommand } from './send.ts';
import { struckState } from './strike.ts';
import { onPaper } from './tabletop.ts';
import type { TurnCore } from './turns.ts';
import { type Undo, undoOf } from './undo.ts';
import { judgeDrill } from './verdict.ts';
import { DrillWatch } from './watch.ts';

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

/** Between two looks of a drill that waits to be undone for the same thing: doubles up to this. */
const undoPauseMsMax: DurationMs = 10_000;

/** How a runner left a drill: ended; over its time, to be gone on with; or it was no longer its own. */
export type DrillEnd = { status: 'ended'; report: DrillReport; sha256: string } | { status: 'paused' | 'lost-lease' };

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
  readonly #watch: DrillWatch;
  readonly #pages: DrillPages;
  /** What its undoing waits for, as it was told last, and how long it paused for that. */
  #waiting = { why: '', pauseMs: 0 };
  #deadline: EpochMs = Number.POSITIVE_INFINITY;
  /** What a page was written before, last. */
  #writtenBefore = '';

  constructor(core: TurnCore, deps: DrillDeps, turn: DrillTurn, drill: Drill, pages: readonly DrillPage[]) {
    const last = pages.at(-1);
    this.#core = core;
    this.#deps = deps;
    this.turn = turn;
    this.drill = drill;
    this.state = last?.state ?? { ...newDrillState(emptyControl, turn.at), before: turn.before };
    this.#pages = new DrillPages(core, turn, { lease: drill.holdfast.lease, runner: deps.runner, pages });
    const told = {
      epoch: Math.max(turn.before.epoch, ...Object.keys(this.state.learned).map(Number)),
      sampledAt: this.#pages.samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY,
    };
    this.#watch = new DrillWatch(core, turn, drill, told, (kind, text, at) => this.#say(kind, text, at));
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
    this.state = { ...this.state, takenAt: now };
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
    this.#deadline = options.deadline ?? Number.POSITIVE_INFINITY;
    for (;;) {
      if (this.state.phase === 'ended') throw new Error('a drill that has ended is not run');
      if (clock.now() > this.#pages.until) return { status: 'lost-lease' };
      if (clock.now() >= this.#deadline) {
        await this.#write();
        return { status: 'paused' };
      }
      const { sight, pages, state, sample } = await this.#watch.look(this.state);
      this.#pages.assertMine(pages);
      this.state = state;
      if (sample !== undefined) {
        this.#pages.add(sample);
        this.#deps.onSample?.(sample, state);
      }
      const wish = options.stop?.();
      const stopped: DrillObjection | undefined =
        wish === undefined || this.state.aborted !== null ? undefined : { rule: 'stopped', sentence: wish };
      const seen = {
        ends: stopped ?? endsDrill(this.drill, this.id, this.state, sight, clock.now()),
        undo: sight.isLearned ? undoOf(this.id, this.state.before, sight.control, sight.past) : unlearned,
      };
      const move = nextDrillMove(this.drill, this.state, seen, clock.now());
      if (move.kind === 'judge') return this.#judge(sight);
      await this.#make(move, sight);
      if (this.#pages.isAging) await this.#write();
    }
  }

  async #make(move: DrillMove, sight: Sight): Promise<void> {
    const { clock } = this.#core;
    switch (move.kind) {
      case 'wait':
        // A return takes its time: whoever looks on is told what for.
        return this.state.phase === 'undo' ? this.#waitToUndo(`waits: ${move.why}`) : clock.sleep(move.ms);
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
    if (probe.provider.func === 'journals-equal')
      return compareJournals(this.#core).then(
        ({ isConverged }) => isConverged,
        () => false,
      );
    return probeValue(probe.provider, sight, this.state);
  }

  /** Carries out one action; in a tabletop drill it is planned, and nothing happens. */
  async #act(action: DrillAction, of: 'method' | 'rollbacks', sight: Sight): Promise<void> {
    const { clock } = this.#core;
    const { provider, name } = action;
    if (this.drill.holdfast.kind === 'tabletop') return this.#plan(action, sight);
    // Long enough for the effect to be known before the lease ends.
    await this.#writeBefore(`step ${this.state.stepAt}`);
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

  async #strike(site: SiteId | undefined): Promise<void> {
    this.state = await struckState(this.#core, this.drill, this.state, site);
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
      if (isGraceful && state === 'cordoned' && this.#watch.openAt(command.from, this.state) > 0) return false;
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

  async #send(command: ControlCommand, operation: string, reason: string, force: readonly RuleName[] = []) {
    // Since the look others may have found that it is over, by their clocks.
    this.#pages.assertMine((await readDesk(this.#core, this.id)).pages);
    return sendCommand(this.#core, this.#watch.seen, { drill: this.id, command, operation, reason, force });
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
    const operation = `undo ${control.epoch} ${JSON.stringify(command)}`;
    await this.#writeBefore(operation);
    try {
      await this.#send(command, operation, `drill ${this.id} is undone: ${why}`, forcedToUndo);
      this.#say('undo', why);
    } catch (error) {
      if (codeOf(error) === 'drill_lease_lost') throw error;
      await this.#waitToUndo(`${why}: ${String((error as Error)?.message).slice(0, 500)}`);
    }
  }

  /** A second, and ever longer for the same reason: it may last until a person unfreezes control. */
  #waitToUndo(why: string): Promise<void> {
    const isNew = this.#waiting.why !== why;
    if (isNew) this.#say('note', why);
    const pauseMs = isNew ? 1_000 : Math.min(2 * this.#waiting.pauseMs, undoPauseMsMax, this.drill.holdfast.lease / 4);
    this.#waiting = { why, pauseMs };
    const { clock } = this.#core;
    return clock.sleep(Math.min(pauseMs, Math.max(0, this.#deadline - clock.now())));
  }

  async #judge({ control }: Sight): Promise<DrillEnd> {
    const core = this.#core;
    const now = core.clock.now();
    const found = await gatherEvidence(core, this.drill, this.state, control, async () => {
      if (this.#pages.isAging) await this.#write();
    });
    this.#pages.assertMine((await readDesk(core, this.id)).pages);
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

  /**
   * What waits and is tried again needs no page each time: a drill that may not be undone before somebody unfreezes control
   * wrote one every two seconds, for hours.
   * @throws as `DrillPages.write`
   */
  async #writeBefore(what: string): Promise<void> {
    const isNew = this.#writtenBefore !== what;
    this.#writtenBefore = what;
    if (isNew || this.#pages.isAging) await this.#write();
  }

  /** @throws as `DrillPages.write` */
  #write(): Promise<void> {
    return this.#pages.write(this.state);
  }
}

/** Whether anything is left of it, nobody can say. */
const unlearned: Undo = { kind: 'wait', why: 'the control log cannot be read now', isOwn: true };
/** A drill takes back what it did itself, and does so above all where there is an incident. */
const forcedToUndo: readonly RuleName[] = ['minimum-interval', 'no-drill-in-incident'];
const emptyControl = { epoch: 0, sites: {} } as ControlEntry;
