import { type ChildProcess, fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '../../shared/ports/log.ts';
import type { DurationMs } from '../../shared/units.ts';

/** Pause before a child that died is started again; doubles with each death up to the second number. */
const RESTART_MS = [100, 5_000] as const;
/** A child that lived this long is healthy: the next pause is the short one again. */
const HEALTHY_MS: DurationMs = 10_000;
/** What a child may take to end when asked to. */
const END_MS: DurationMs = 3_000;

/**
 * A host that streams large bodies makes garbage faster than it keeps anything: a small young generation and an
 * allocator that gives back keep its memory near what it holds. Taking and planning a file of 200 MB grew a fresh
 * Functions host by 89 MB with these, by 172 MB without.
 */
const leanHeap = ['--max-semi-space-size=2'];
const leanMalloc = { MALLOC_ARENA_MAX: '2', MALLOC_TRIM_THRESHOLD_: '131072', MALLOC_MMAP_THRESHOLD_: '131072' };

/** A child process that is started again whenever it dies. */
export interface Respawned<Ready> {
  /** What the child that runs now said when it was ready; `undefined` while none is. */
  readonly current: Ready | undefined;
  /** Resolves when a child is ready for the first time; rejects with the reason when the first one dies before. */
  readonly first: Promise<Ready>;
  /** Sent to the child that runs, and to every later one as soon as it is ready; replaces what was told before. */
  tell(message: object): void;
  /** True: `kill -9`, and no child until this is false again. */
  hold(on: boolean): void;
  /** `kill -9` of the child that runs; another is started. */
  kill(): void;
  close(): Promise<void>;
}

/** How to run a child. */
export interface ChildOptions {
  readonly name: string;
  /** Path of its module. */
  readonly module: URL;
  /** Sent to it over IPC. */
  readonly order: object;
  readonly env: NodeJS.ProcessEnv;
  /** Where its process id is written, for whoever wants to kill it. */
  readonly pidFile: string;
  readonly log: Log;
}

/** Starts a child, and again with backoff each time it dies. */
export function keepRunning<Ready>(options: ChildOptions): Respawned<Ready> {
  const { name, log } = options;
  const first = Promise.withResolvers<Ready>();
  const stop = new AbortController();
  let child: ChildProcess | undefined;
  let current: Ready | undefined;
  let told: object | undefined;
  let released = Promise.withResolvers<void>();
  let held = false;

  async function run(): Promise<void> {
    let pauseMs: number = RESTART_MS[0];
    while (!stop.signal.aborted) {
      if (held) await released.promise;
      if (stop.signal.aborted) return;
      const startedAt = performance.now();
      const started = fork(options.module, {
        execArgv: leanHeap,
        env: { ...leanMalloc, ...options.env },
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      });
      child = started;
      writeFileSync(options.pidFile, String(started.pid));
      started.on('message', (message) => {
        current = message as Ready;
        if (told) started.send(told, () => {});
        log.info('child.ready', { name, pid: started.pid, afterMs: Math.round(performance.now() - startedAt) });
        first.resolve(current);
      });
      const ended = new Promise<string>((resolve) => {
        started.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
        started.once('error', (error) => resolve(error.message));
      });
      started.send(options.order, () => {});
      const how = await ended;
      current = undefined;
      if (stop.signal.aborted) return;
      log.warn('child.ended', { name, how });
      first.reject(new Error(`${name} ended before it was ready (${how})`));
      if (performance.now() - startedAt > HEALTHY_MS) pauseMs = RESTART_MS[0];
      await sleep(pauseMs, undefined, { signal: stop.signal }).catch(() => {});
      pauseMs = Math.min(pauseMs * 2, RESTART_MS[1]);
    }
  }

  const running = run();
  first.promise.catch(() => {});
  return {
    get current() {
      return current;
    },
    first: first.promise,
    tell(message) {
      told = message;
      if (current !== undefined) child?.send(message, () => {});
    },
    hold(on) {
      if (on === held) return;
      held = on;
      if (on) {
        released = Promise.withResolvers();
        child?.kill('SIGKILL');
      } else released.resolve();
    },
    kill: () => void child?.kill('SIGKILL'),
    async close() {
      stop.abort();
      released.resolve();
      child?.kill('SIGTERM');
      const killing = setTimeout(() => child?.kill('SIGKILL'), END_MS);
      await running;
      clearTimeout(killing);
    },
  };
}
