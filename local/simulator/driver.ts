import type { Drills } from './actors/drills.ts';
import type { Operators } from './actors/operator.ts';
import type { ScenarioEffect } from './scenario/index.ts';
import { type Disturbance, describe } from './schedule.ts';
import type { ActiveEffect } from './services/board.ts';
import { type Cloud, clouds, startOfTime, type World } from './world.ts';

/** Lets a schedule happen: effects come and go on the board, processes die and freeze, clocks jump, people command. */
export class Driver {
  readonly #world: World;
  readonly #operators: Operators;
  readonly #drills: Drills;
  readonly #active = new Map<ActiveEffect, () => void>();
  struck = 0;
  #orders = 0;

  constructor(world: World, operators: Operators, drills: Drills) {
    this.#world = world;
    this.#operators = operators;
    this.#drills = drills;
  }

  /** @param from the moment that the schedule's times count from */
  play(schedule: readonly Disturbance[], from = startOfTime): void {
    for (const one of schedule) this.#world.scheduler.fix(from + one.fromMs, () => this.#strike(one, from));
  }

  /** Ends everything that is wrong: from now on the world is well. */
  endAll(): void {
    for (const [active, undo] of [...this.#active]) this.#end(active, undo);
  }

  #strike(one: Disturbance, from: number): void {
    const { trace, scheduler, now } = this.#world;
    this.struck += 1;
    trace.write(now, `strikes: ${describe(one)}`);
    if (one.kind === 'order') {
      const { command, force, at } = one;
      const captured = one.replay ? this.#operators.given[0] : undefined;
      void this.#operators.give(captured ?? { command, force, at, operationId: `order-${++this.#orders}` });
      return;
    }
    if (one.kind === 'drill') return void this.#drills.rehearse(one);
    const active = this.#world.board.begin(one, now);
    const undo = this.#begin(one);
    this.#active.set(active, undo);
    if (one.untilMs !== undefined) scheduler.fix(from + one.untilMs, () => this.#end(active, undo));
  }

  #end(active: ActiveEffect, undo: () => void): void {
    if (!this.#active.delete(active)) return;
    this.#world.trace.write(this.#world.now, `ends: ${active.effect.target} ${active.effect.mode.kind}`);
    this.#world.board.end(active);
    undo();
  }

  /** What an effect does beside being met by calls; gives how that is undone. */
  #begin({ target, mode }: ScenarioEffect): () => void {
    const [site, service, operation] = target.split('.');
    if (!clouds.includes(site as Cloud) && site !== 'witness') return nothing;
    if (mode.kind === 'stale' && (service === 'store' || service === undefined)) return this.#staleStore(site as Cloud);
    if (site === 'witness') return nothing;
    if (service === 'clock' && mode.kind === 'stale')
      return this.#wrongClock(site!, operation === 'behind' ? -mode.ageMs : mode.ageMs);
    if (target === `${site}.queue.messages`) return this.#loseMessages(site as Cloud);
    if (service !== undefined && `${service}.${operation}` !== 'functions.process') return nothing;
    if (mode.kind === 'freeze') return this.#freezeProcesses(site!);
    if (mode.kind === 'gone') return this.#kill(site!, 1);
    if (mode.kind === 'error' && operation === 'process') return this.#kill(site!, mode.rate);
    return nothing;
  }

  #staleStore(site: Cloud | 'witness'): () => void {
    const { journal, state } = this.#world.stores[site];
    for (const store of [journal, state]) store.answerFromCache(true);
    return () => {
      for (const store of [journal, state]) store.answerFromCache(false);
    };
  }

  #wrongClock(site: string, byMs: number): () => void {
    const time = this.#world.time[site]!;
    time.offsetMs += byMs;
    this.#world.record.reach('clock jumped');
    return () => {
      time.offsetMs -= byMs;
    };
  }

  #loseMessages(site: Cloud): () => void {
    const { intake, work } = this.#world.queues[site];
    if (intake.backlog + work.backlog > 0) this.#world.record.reach('queue lost its messages');
    intake.purge();
    work.purge();
    return nothing;
  }

  #freezeProcesses(site: string): () => void {
    const frozen = [...this.#world.running].filter(({ process }) => process.place === site);
    for (const { process } of frozen) process.freeze();
    return () => {
      for (const { process } of frozen) {
        if (!process.isDead) this.#world.record.reach('frozen process woke up');
        process.thaw();
      }
    };
  }

  #kill(site: string, rate: number): () => void {
    const draw = this.#world.streams.of(`kill ${site} ${this.#world.now}`);
    for (const { process } of [...this.#world.running]) {
      if (process.place !== site || !draw.chance(rate)) continue;
      process.kill();
      this.#world.record.reach('process crashed');
    }
    return nothing;
  }
}

const nothing = () => {};
