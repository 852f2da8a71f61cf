import { runTicks } from '../../../runtime/ticks.ts';
import { tendSite } from '../../../shared/control/tend.ts';
import { SiteUnavailableError, TransientError } from '../../../shared/errors.ts';
import { type MonitorDeps, monitorSettled, monitorTick, runObserver } from '../../../shared/health/monitor.ts';
import { withDeadline } from '../../../shared/ports/deadline.ts';
import type { Cloud, Running, World } from '../world.ts';
import { Route } from './board.ts';
import type { FunctionsApp } from './functions-app.ts';

const minuteMs = 60_000;
/** Kept back, and given to what is still under way. @source functions-aws/handlers/monitor.ts */
const reserveMs = 15_000;
const settleMs = 10_000;
/** @source serverless.yml, timeout of the monitor */
const lambdaTimeoutMs = 90_000;
const timerMs = 10_000;

/** Ways to look that no port shows, over the simulated network. */
export function looksOf(world: World, { process }: Running, observer: string, home: Cloud | null): MonitorDeps {
  const { scheduler, board, knobs } = world;
  const reach = (site: string, service: string): Promise<void> => {
    const route = new Route(board, process.place, site, service);
    const fate = route.fate(process, service, scheduler.now);
    return new Promise((resolve, reject) => {
      const failed = (code: string) => new SiteUnavailableError(code, `${site} ${service}: ${code}`, site);
      if (fate.silentMs !== undefined) {
        if (Number.isFinite(fate.silentMs))
          scheduler.after(fate.silentMs, () => process.deliver(() => reject(failed('timeout'))));
        return;
      }
      const refused = fate.error ?? (board.strikes(site, service) ? '5xx' : undefined);
      scheduler.after(50 + fate.delayMs, () =>
        process.deliver(() => (refused === undefined ? resolve() : reject(failed(refused)))),
      );
    });
  };
  return {
    observer,
    home,
    ...(knobs.canaries && { canary: { endpoint: '/v1/chat/completions' as const, model: 'm' } }),
    references: ['reference-1', 'reference-2', 'reference-3'],
    reachReference: (name) => reach(name, 'web'),
    fetchHealth: (site) => reach(site, 'api'),
    async probeModel(site, { alias }) {
      const reply = await world.models[site as Cloud].probe(process, alias);
      if (reply.kind === 'answered' && reply.status < 300) return;
      if (reply.kind === 'answered' && reply.status === 429) throw new TransientError('throttled', 'model: 429');
      throw new SiteUnavailableError(reply.kind === 'answered' ? 'server_error' : reply.kind, 'model', alias);
    },
    act: (core, seen) => tendSite(core, seen),
  };
}

/** True if the timer of a site does not come now; a slow one comes later by what is returned. */
export function timerDelayMs(world: World, site: Cloud): number | undefined {
  let delay = 0;
  for (const { effect } of world.board.on(site, 'timer')) {
    const { mode } = effect;
    if (mode.kind === 'freeze' || mode.kind === 'gone') return undefined;
    if (mode.kind === 'error' && world.streams.of(`timer ${site} ${world.now}`).chance(mode.rate)) return undefined;
    if (mode.kind === 'slow') delay += world.streams.of(`timer ${site} ${world.now}`).latency(mode.p50Ms, mode.p99Ms);
  }
  return delay;
}

function depsOf(world: World, running: Running, site: Cloud): MonitorDeps {
  const deps = looksOf(world, running, site, site);
  const own = { ...deps, act: world.variant.act ?? deps.act };
  return world.variant.looks?.(own, running.core) ?? own;
}

async function tick(world: World, { core }: Running, deps: MonitorDeps): Promise<void> {
  await monitorTick(core, deps);
  await world.variant.afterTick?.(core);
}

/** EventBridge calls a Lambda each minute; its ticks fill the minute, and its sandbox stands still until the next. */
export function startLambdaMonitor(world: World): void {
  const { scheduler, board } = world;
  let idle: { running: Running; deps: MonitorDeps } | undefined;
  const invoke = () => {
    if (board.strikes('aws', 'functions', 'invoke')) return;
    const known = idle !== undefined && !idle.running.process.isDead ? idle : undefined;
    idle = undefined;
    if (known === undefined && board.strikes('aws', 'functions', 'scaleout')) return;
    known?.running.process.thaw();
    const running = known?.running ?? world.spawn('monitor', 'aws');
    const deps = known?.deps ?? depsOf(world, running, 'aws');
    const { process, core } = running;
    const timeout = scheduler.after(lambdaTimeoutMs, () => process.kill());
    const left = Math.min(minuteMs, lambdaTimeoutMs - reserveMs);
    void runTicks(core, left, () => tick(world, running, deps))
      .catch(() => {})
      .then(() => withDeadline(process.clock, settleMs, 'sweeper', () => monitorSettled(core)).catch(() => {}))
      .then(() => {
        scheduler.cancel(timeout);
        process.freeze();
        if (idle === undefined) idle = { running, deps };
        else process.kill();
      });
  };
  const each = () => {
    scheduler.after(Math.max(minuteMs, world.settings.tickMs), each);
    const delay = timerDelayMs(world, 'aws');
    if (delay !== undefined) scheduler.after(delay, invoke);
  };
  scheduler.after(1_000, each);
}

/** A timer of the function app: one tick each period, in the first instance that runs; never two at once. */
export function startTimerMonitor(world: World, app: FunctionsApp): void {
  const { scheduler } = world;
  const known = new WeakMap<Running, MonitorDeps>();
  const busy = new WeakSet<Running>();
  const invoke = () => {
    const running = app.instance;
    if (running === undefined || busy.has(running)) return;
    const deps = known.get(running) ?? depsOf(world, running, 'azure');
    known.set(running, deps);
    busy.add(running);
    void runTicks(running.core, timerMs, () => tick(world, running, deps))
      .catch(() => {})
      .then(() => busy.delete(running));
  };
  const periodMs = Math.max(timerMs, world.settings.tickMs);
  const each = () => {
    scheduler.after(periodMs, each);
    const delay = timerDelayMs(world, 'azure');
    if (delay !== undefined) scheduler.after(delay, invoke);
  };
  scheduler.after(3_000, each);
}

/** A third place that sees both clouds; its word breaks ties. It is started again when it dies. */
export function startObserver(world: World): void {
  if (!world.knobs.observer) return;
  const running = world.spawn('observer', 'outside', 'aws');
  const deps = looksOf(world, running, 'observer', null);
  void runObserver(running.core, deps, { signal: new AbortController().signal });
  running.process.onDeath(() => void world.scheduler.after(20_000, () => startObserver(world)));
}
