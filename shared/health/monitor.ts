import { learnControl } from '../control/log.ts';
import type { Core } from '../core.ts';
import { sparing } from '../worker/spare.ts';
import { sweep } from '../worker/sweeper.ts';
import { type ObserveCore, type ObserveDeps, type ObserveMemory, observeAll, observeMemory } from './observe.ts';
import type { OpenBatch } from './progress.ts';
import type { SeenObservation } from './types.ts';

/** What is done about what is seen; `shared/control` decides. Never called by an observer that may not act. */
export type Act<C> = (core: C, observations: readonly SeenObservation[]) => Promise<unknown>;

export interface MonitorDeps extends ObserveDeps {
  act?: Act<Core>;
}

interface Memory extends ObserveMemory {
  /** The pass of the sweeper that is under way. */
  sweeping?: Promise<void>;
  /** What the last pass saw, until it was looked at. */
  open?: readonly OpenBatch[];
}

const memories = new WeakMap<object, Memory>();

/**
 * One tick of a site's monitor: learns what was decided, sweeps, observes, acts. Never rejects for the first two: a site
 * whose own store is dark can neither learn nor sweep, and must still say what it sees.
 *
 * Observing does not wait for the sweeper, which may take long when a store hangs; a pass that is still under way when
 * the next tick comes is not begun again. `monitorSettled` waits for it.
 */
export async function monitorTick(core: Core, deps: MonitorDeps): Promise<void> {
  const memory = memoryOf(core);
  memory.sweeping ??= learnAndSweep(core, memory).finally(() => {
    memory.sweeping = undefined;
  });
  const { open } = memory;
  memory.open = undefined;
  const { own, others } = await observeAll(core, deps, memory, open);
  const fresh: SeenObservation = { observation: own, stale: false, stores: [core.self] };
  await deps.act?.(core, [...others, fresh]);
}

/** Resolves when no pass of the sweeper is under way: before an invocation ends, and its process with it. */
export async function monitorSettled(core: Core): Promise<void> {
  await memories.get(core)?.sweeping;
}

async function learnAndSweep(core: Core, memory: Memory): Promise<void> {
  const failed = (what: string) => (error: unknown) =>
    core.log.warn(what, { error: String((error as Error)?.message).slice(0, 200) });
  try {
    const known = await core.control.current().catch(() => undefined);
    // A fenced site that swallows calls is not waited for: the own store and the witness know as well.
    await learnControl(known === undefined ? core : await sparing(core, known));
  } catch (error) {
    failed('control.unlearned')(error);
  }
  try {
    memory.open = (await sweep(core)).progress;
  } catch (error) {
    failed('sweep.failed')(error);
  }
}

/**
 * Observes from a third place until `signal` is aborted: no site is its home, it sweeps nothing, and its word breaks
 * ties. It waits out the rest of each tick, and begins the next one late rather than twice.
 */
export async function runObserver(
  core: ObserveCore,
  deps: Omit<ObserveDeps, 'home'>,
  options: { signal: AbortSignal; act?: (observations: readonly SeenObservation[]) => Promise<unknown> },
): Promise<void> {
  const memory = observeMemory();
  const { signal, act } = options;
  while (!signal.aborted) {
    const start = core.clock.now();
    try {
      const { own, others } = await observeAll(core, { ...deps, home: null }, memory);
      await act?.([...others, { observation: own, stale: false, stores: [] }]);
    } catch (error) {
      core.log.error('tick.failed', { error: String((error as Error)?.message).slice(0, 200) });
    }
    const spent = core.clock.now() - start;
    await core.clock.sleep(Math.max(0, core.settings.tickMs - spent), signal).catch(() => {});
  }
}

function memoryOf(core: Core): Memory {
  const memory = memories.get(core) ?? observeMemory();
  memories.set(core, memory);
  return memory;
}
