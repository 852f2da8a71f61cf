import type { DurationMs } from '../../shared/units.ts';
import { liveFault } from '../proxy/faults.ts';
import type { FaultProxy } from '../proxy/index.ts';
import { type FaultOrder, type FaultSite, isStruck, routeFault } from './order.ts';

/** A fault that holds. */
export interface ActiveFault extends FaultOrder {
  readonly id: string;
  /** Until it ends by itself. */
  readonly remainingMs: DurationMs;
}

/** What can be done to the functions of a cloud. */
export interface FunctionsSwitch {
  /** True: nothing is polled; what is being worked ends as usual, and every API answers. */
  freeze(on: boolean): void;
  /** True: the host is killed, and none started until this is false again. */
  stop(on: boolean): void;
  /** `kill -9` of the host, which is started again. */
  kill(): void;
}

/** What a process can be told to suffer. */
export interface BoardOptions {
  readonly site: FaultSite;
  readonly proxy: FaultProxy;
  /** Absent where none run. */
  readonly functions?: FunctionsSwitch;
  /** `kill -9` of the whole process tree, this process last. */
  readonly kill: () => void;
}

/** The faults that hold in one process; they end with it. */
export interface FaultBoard {
  /** How many routes or processes of this one are struck; resolves when they are. 0: it is for another process. */
  inject(id: string, order: FaultOrder): Promise<number>;
  list(): ActiveFault[];
  /** Ends one, or all; says how many that were. */
  clear(id?: string): Promise<number>;
  close(): void;
}

/** Nothing holds at first. Whoever injected a fault may die: its end is kept here. */
export function createFaultBoard({ site, proxy, functions, kill }: BoardOptions): FaultBoard {
  const active = new Map<string, { order: FaultOrder; endsAt: number; end: () => Promise<void> }>();

  /** Applies what holds for the functions, however many faults say so. */
  function applyToFunctions(): void {
    const holds = (kind: 'freeze' | 'refuse') =>
      [...active.values()].some(({ order }) => order.service === 'functions' && order.kind === kind);
    functions?.freeze(holds('freeze'));
    functions?.stop(holds('refuse'));
  }

  function act(order: FaultOrder): number {
    if (order.site !== site) return 0;
    if (order.service !== 'functions') kill();
    else if (!functions) return 0;
    else functions.kill();
    return 1;
  }

  return {
    async inject(id, order) {
      if (order.kind === 'kill') return act(order);
      const isOfFunctions = order.service === 'functions';
      const routes = isOfFunctions ? [] : proxy.routes.filter(({ spec }) => isStruck(order, spec));
      const count = isOfFunctions ? Number(order.site === site && functions !== undefined) : routes.length;
      if (count === 0 || active.has(id)) return count;
      const live = liveFault(routeFault(order));
      const timer = setTimeout(() => void end(), order.ttlMs);
      timer.unref();
      const end = async () => {
        clearTimeout(timer);
        if (!active.delete(id)) return;
        live.end();
        applyToFunctions();
        await Promise.all(routes.map((route) => route.heal(live)));
      };
      active.set(id, { order, endsAt: performance.now() + order.ttlMs, end });
      applyToFunctions();
      await Promise.all(routes.map((route) => route.strike(live)));
      return count;
    },
    list: () =>
      [...active].map(([id, { order, endsAt }]) => ({
        id,
        ...order,
        remainingMs: Math.max(0, Math.round(endsAt - performance.now())),
      })),
    async clear(id) {
      const ended = [...active].filter(([key]) => id === undefined || key === id).map(([, fault]) => fault);
      await Promise.all(ended.map(({ end }) => end()));
      return ended.length;
    },
    close() {
      for (const { end } of active.values()) void end();
    },
  };
}
