import { type ChildProcess, fork } from 'node:child_process';
import { closeSync, mkdirSync, openSync, renameSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { ConfigError } from '../shared/errors.ts';
import type { DurationMs } from '../shared/units.ts';
import { ensureBuilt } from './bundles.ts';
import type { CloudMessage, CloudOrder } from './cloud/main.ts';
import { startConsole } from './console/index.ts';
import { identityOf } from './identity.ts';
import { defaultPortBase, type LocalPorts, portsOf } from './ports.ts';

/** How to start both clouds on this machine. */
export interface LocalOptions {
  /** Folder that keeps everything; made if it is missing. Default `.holdfast`. */
  dataDir?: string;
  /** Default 4000. */
  portBase?: number;
  /** One cloud alone, on the data and ports of both, while the other part may run under another supervisor. */
  only?: 'aws' | 'azure';
  /** Folder of functions that were built before, taken as they are. Default `dist`, built anew where a source is newer. */
  bundles?: string;
  /** True: not a word on this terminal. Logs are in `<dataDir>/logs` either way. */
  quiet?: boolean;
}

/** Both clouds and the witness, each a process of its own. What `only` left out is absent. */
export interface LocalClouds {
  readonly console: string;
  readonly key: string;
  readonly aws?: { readonly api: string; readonly pid: number };
  readonly azure?: { readonly api: string; readonly pid: number };
  readonly witness?: { readonly url: string; readonly pid: number };
  /** Ends every process that this call started, and waits until they are gone. Any number of times. */
  stop(): Promise<void>;
}

/** Until both clouds serve, on a slow machine with a cold cache. */
const READY_MS: DurationMs = 90_000;
/** What a process may take to end when asked to. */
const END_MS: DurationMs = 5_000;

/**
 * Starts the witness and both clouds, writes what they need at their first start, and resolves when a tiny batch has
 * gone through each. All of them end with this process, however it ends.
 * @throws ConfigError for a port that is taken, or a folder that another instance uses
 */
export async function startLocal(options: LocalOptions = {}): Promise<LocalClouds> {
  const { only, bundles, quiet = false } = options;
  const portBase = options.portBase ?? defaultPortBase;
  const ports = portsOf(portBase);
  const dataDir = resolve(options.dataDir ?? '.holdfast');
  mkdirSync(join(dataDir, 'logs'), { recursive: true });
  const identity = identityOf(dataDir);
  const children: Child[] = [];
  let page: { close(): Promise<void> } | undefined;
  const stop = async () => void (await Promise.all([page?.close(), ...children.map((child) => child.end())]));
  const start = (name: string, module: string, ...args: string[]) => {
    const child = new Child(name, new URL(module, import.meta.url), args, join(dataDir, 'logs', `${name}.log`), quiet);
    children.push(child);
    return child;
  };

  try {
    // Loaded while the clouds boot.
    const loading = Promise.all([import('./init.ts'), import('./canary.ts')]);
    loading.catch(() => {});
    const needsWitness = only === undefined || !(await isListening(ports.witness));
    const witnessArgs = Object.entries({
      port: ports.witness,
      data: join(dataDir, 'witness'),
      'observer-port': ports.routes.observer.witness,
      'faults-port': ports.witnessFaults,
    }).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const witness = needsWitness ? start('witness', './witness/main.ts', ...witnessArgs) : undefined;
    const names = only === undefined ? (['aws', 'azure'] as const) : ([only] as const);
    const clouds = names.map((name) => ({
      name,
      child: start(
        name,
        './cloud/main.ts',
        ...['--cloud', name, '--data', dataDir, '--port-base', String(portBase)],
        ...(bundles === undefined ? [] : ['--bundles', bundles]),
      ),
    }));
    await Promise.all([
      bundles === undefined ? ensureBuilt() : undefined,
      witness?.reached('ready'),
      ...clouds.map(({ child }) => child.reached('services')),
    ]);
    const [{ initLocal, operatorKey }, { runCanary, untilAnswers }] = await loading;
    if (only === undefined) await initLocal(dataDir, ports, identity);
    for (const { child } of clouds) child.order({ start: 'functions' });
    await Promise.all(clouds.map(({ child }) => child.reached('ready')));
    if (only === undefined) start('observer', './observer/main.ts', '--data', dataDir, '--port-base', String(portBase));
    // One cloud alone takes no batch while the other may be dark: its front door must do.
    const serves = names.length > 1 ? runCanary : untilAnswers;
    await Promise.all(names.map((name) => serves(apiOf(ports, name), READY_MS)));
    if (!(await isListening(ports.console))) {
      const sites = (['aws', 'azure'] as const).map((name) => ({ name, origin: new URL(apiOf(ports, name)).origin }));
      page = await startConsole({ port: ports.console, key: operatorKey, sites });
    }
    return { console: `http://127.0.0.1:${ports.console}`, key: operatorKey, ...handles(ports, children), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function handles(ports: LocalPorts, children: readonly Child[]): Pick<LocalClouds, 'aws' | 'azure' | 'witness'> {
  const pids = Object.fromEntries(children.map(({ name, pid }) => [name, pid]));
  return {
    ...(pids.aws !== undefined && { aws: { api: apiOf(ports, 'aws'), pid: pids.aws } }),
    ...(pids.azure !== undefined && { azure: { api: apiOf(ports, 'azure'), pid: pids.azure } }),
    ...(pids.witness !== undefined && { witness: { url: `http://127.0.0.1:${ports.witness}`, pid: pids.witness } }),
  };
}

function apiOf(ports: LocalPorts, name: 'aws' | 'azure'): string {
  return `http://127.0.0.1:${ports[name].api}/v1`;
}

/** A process that tells its stages over IPC, and ends when the channel breaks. */
class Child {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #stages = new Map<string, PromiseWithResolvers<void>>();
  readonly #ended: Promise<void>;
  #failure: Error | undefined;
  #ending = false;

  constructor(name: string, module: URL, args: string[], logFile: string, quiet: boolean) {
    this.name = name;
    const log = freshLog(logFile);
    this.#process = fork(module, args, { execArgv: [], stdio: ['ignore', log, log, 'ipc'] });
    closeSync(log);
    this.#process.on('message', (message) => this.#heard(message as CloudMessage));
    this.#ended = new Promise((resolve) => {
      this.#process.once('exit', (code, signal) => {
        const how = signal ?? `exit ${code}`;
        this.#fail(new Error(`${name} ended before it was ready (${how}); its log is ${logFile}`));
        if (!this.#ending && !quiet) console.error(`${name} ended (${how}); its log is ${logFile}`);
        resolve();
      });
    });
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** @throws ConfigError, Error when it ends before */
  reached(stage: string): Promise<void> {
    const reached = this.#stage(stage).promise;
    if (this.#failure) this.#stage(stage).reject(this.#failure);
    return reached;
  }

  order(order: CloudOrder): void {
    this.#process.send(order, () => {});
  }

  async end(): Promise<void> {
    this.#ending = true;
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGTERM');
      const late = setTimeout(() => this.#process.kill('SIGKILL'), END_MS);
      await this.#ended;
      clearTimeout(late);
    }
  }

  #heard(message: CloudMessage): void {
    if (message.stage === 'failed')
      this.#fail(message.key === undefined ? new Error(message.error) : new ConfigError(message.key, message.error));
    else this.#stage(message.stage).resolve();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const stage of this.#stages.values()) stage.reject(this.#failure);
  }

  #stage(name: string): PromiseWithResolvers<void> {
    let stage = this.#stages.get(name);
    if (!stage) {
      stage = Promise.withResolvers();
      stage.promise.catch(() => {});
      this.#stages.set(name, stage);
    }
    return stage;
  }
}

/** Opens a new log; the one of the run before is kept beside it. */
function freshLog(path: string): number {
  try {
    renameSync(path, `${path}.before`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return openSync(path, 'a');
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => socket.destroy());
    socket.on('connect', () => socket.destroy());
  });
}
