import { tendForAWhile } from '../../../runtime/drills.ts';
import { drillSchema } from '../../../shared/drill/file.ts';
import type { DrillDeps, FaultInjector } from '../../../shared/drill/run.ts';
import { startDrill } from '../../../shared/drill/start.ts';
import type { Disturbance } from '../schedule.ts';
import type { FunctionsApp } from '../services/functions-app.ts';
import { timerDelayMs } from '../services/monitors.ts';
import { type Cloud, drillModel, type Running, type World } from '../world.ts';
import { drillFileOf, scheduledDrill } from './drill-files.ts';

const minuteMs = 60_000;
/** @source functions-aws/handlers/drills.ts, functions-azure/handlers/drills.ts */
const lastingMs = 50_000;
/** @source serverless.yml, timeout of the drills function */
const lambdaTimeoutMs = 90_000;
/** Whoever wants a drill asks again each minute, so often. */
const triesMax = 20;

/** What a drill broke, and until when it may be broken. */
export interface DrillFault {
  target: string;
  until: number;
}

/**
 * Drills as people and schedules start them: the real runner, in a process that may die at any moment, and the functions
 * of both clouds that look after it each minute.
 */
export class Drills {
  /** Faults of drills that hold. */
  readonly faults = new Set<DrillFault>();
  readonly #world: World;
  readonly #job: DrillDeps['job'] = { endpoint: '/v1/chat/completions', model: drillModel };
  #count = 0;

  constructor(world: World) {
    this.#world = world;
  }

  /** One person, one laptop: asks until a drill may start, runs it, and may be interrupted for good. Never rejects. */
  async rehearse({ drill: kind, from, at, diesAfterMs }: Extract<Disturbance, { kind: 'drill' }>): Promise<void> {
    const { record, trace, scheduler } = this.#world;
    const file = drillFileOf(kind, from);
    const drill = drillSchema.parse(file);
    const id = `rehearsal-${++this.#count}`;
    const { process, core } = this.#world.spawn('drill', 'outside', at);
    let isOver = false;
    process.onDeath(() => {
      if (!isOver) record.reach('a drill died');
    });
    const deps = { job: this.#job, faults: this.#injector(process), runner: process.name };
    try {
      for (let tries = 1; tries <= triesMax; tries++) {
        const order = {
          id,
          drill,
          file,
          actor: `operator:${process.name}`,
          reason: 'as the simulation has it',
          slot: null,
        };
        const started = await startDrill(core, deps, order).catch(() => undefined);
        trace.write(this.#world.now, `${process.name} ${id} ${kind}: ${started?.status ?? 'failed'}`);
        if (started?.status === 'refused') record.reach('a drill was refused');
        if (started?.status === 'started') {
          if (diesAfterMs !== undefined) scheduler.after(diesAfterMs, () => process.kill());
          const end = await started.run.run();
          record.reach(end.status === 'ended' ? `a drill ${end.report.verdict.outcome}` : 'a drill lost its lease');
          break;
        }
        if (started?.status === 'done-before') break;
        await process.clock.sleep(minuteMs);
      }
    } catch (error) {
      trace.write(this.#world.now, `${process.name} ${id} failed: ${String((error as Error)?.message)}`);
    }
    isOver = true;
    process.kill();
  }

  /** The functions that look after drills, one in each cloud. */
  startTending(app: FunctionsApp): void {
    const { scheduler, board } = this.#world;
    const drills = [scheduledDrill()];
    const tend = ({ core }: Running, self: Cloud) =>
      tendForAWhile({ core, deps: { job: this.#job, runner: self }, drills }, lastingMs);
    const invokeLambda = () => {
      if (board.strikes('aws', 'functions', 'invoke') || board.strikes('aws', 'functions', 'scaleout')) return;
      const running = this.#world.spawn('drills', 'aws');
      const timeout = scheduler.after(lambdaTimeoutMs, () => running.process.kill());
      void tend(running, 'aws').then(() => {
        scheduler.cancel(timeout);
        running.process.kill();
      });
    };
    const busy = new WeakSet<Running>();
    const invokeTimer = () => {
      const running = app.instance;
      if (running === undefined || busy.has(running)) return;
      busy.add(running);
      void tend(running, 'azure').then(() => busy.delete(running));
    };
    const each = (site: Cloud, invoke: () => void) => {
      scheduler.after(minuteMs, () => each(site, invoke));
      const delay = timerDelayMs(this.#world, site);
      if (delay !== undefined) scheduler.after(delay, invoke);
    };
    scheduler.after(20_000, () => each('aws', invokeLambda));
    scheduler.after(40_000, () => each('azure', invokeTimer));
  }

  /** As the local clouds do it: the fault ends where it was injected, whatever becomes of whoever wanted it. */
  #injector(process: Running['process']): FaultInjector {
    const { scheduler, board, variant, trace, network } = this.#world;
    const ends = new Map<string, () => void>();
    const call = (op: string, key: string, run: () => void) => {
      let diesAfterEffect = false;
      network.onCall?.({ process, where: 'faults', op, key, killAfterEffect: () => (diesAfterEffect = true) });
      if (process.isDead) return new Promise<void>(() => {});
      return new Promise<void>((resolve) => {
        scheduler.after(100, () => {
          run();
          if (diesAfterEffect) process.kill();
          process.deliver(resolve);
        });
      });
    };
    return {
      refuse: () => undefined,
      inject: async ({ target, ttl }) => {
        const id = `${process.name} ${target}`;
        await call('inject', target, () => {
          const effect = { target: target.replace('/', '.'), mode: { kind: 'error', code: '5xx', rate: 1 } } as const;
          const active = board.begin({ ...effect, fromMs: 0, untilMs: undefined }, this.#world.now);
          const fault = { target, until: this.#world.now + ttl };
          this.faults.add(fault);
          trace.write(this.#world.now, `a drill strikes: ${target}`);
          const end = () => {
            this.faults.delete(fault);
            board.end(active);
          };
          ends.set(id, end);
          if (variant.drillFaultsStay !== true) scheduler.after(ttl, end);
        });
        return id;
      },
      clear: (id) => call('clear', id, () => ends.get(id)?.()),
    };
  }
}
