import Module from 'node:module';
import type { Log } from '../../../shared/ports/log.ts';
import { errorText } from '../log.ts';

/**
 * What `@azure/functions` talks to in its process: the module `@azure/functions-core`, which the host supplies. Typed as
 * far as the host uses it; the package is published nowhere.
 * @source https://github.com/Azure/azure-functions-nodejs-worker/blob/v4.x/types-core/index.d.ts 2026-11
 */

/** A value as it crosses between host and worker. */
export type TypedData = { string: string } | { json: string } | { int: number } | { http: object };

export interface Binding {
  type: string;
  direction: 'in' | 'out';
  [option: string]: unknown;
}

export interface FunctionMetadata {
  name: string;
  bindings: Record<string, Binding>;
}

export type FunctionCallback = (...args: unknown[]) => unknown;

export interface InvocationRequest {
  invocationId: string;
  functionId: string;
  inputData: { name: string; data: TypedData }[];
  triggerMetadata: Record<string, TypedData>;
  traceContext: object;
}

export interface CoreInvocationContext {
  invocationId: string;
  request: InvocationRequest;
  metadata: FunctionMetadata;
  state?: 'preInvocationHooks' | 'invocation' | 'postInvocationHooks';
  log(level: string, category: string, message: string): void;
}

export interface InvocationModel {
  getArguments(): Promise<{ context: object; inputs: unknown[] }>;
  invokeFunction(context: object, inputs: unknown[], callback: FunctionCallback): Promise<unknown>;
  getResponse(context: object, result: unknown): Promise<unknown>;
}

export interface ProgrammingModel {
  name: string;
  version: string;
  getInvocationModel(context: CoreInvocationContext): InvocationModel;
  getCapabilities(capabilities: Record<string, string>): Promise<Record<string, string>>;
}

type Hook = (context: object) => unknown;
export type HookName = 'appStart' | 'appTerminate' | 'preInvocation' | 'postInvocation' | 'log';

export interface RegisteredFunction {
  metadata: FunctionMetadata;
  callback: FunctionCallback;
}

/** What a bundle has registered. */
export interface LoadedApp {
  readonly model: ProgrammingModel;
  readonly functions: readonly RegisteredFunction[];
  /** Runs the hooks registered under a name, one after another. */
  runHooks(name: HookName, context: object): Promise<void>;
  /** A log line of the programming model or of the function itself. */
  log(level: string, category: string, message: string): void;
}

/**
 * Requires the bundle with `@azure/functions-core` in place, as the worker does: by standing before `require`. For the
 * life of the process, so one bundle a process.
 * @throws Error when the bundle sets no programming model
 */
export function loadApp(bundle: string, log: Log): LoadedApp {
  const functions: RegisteredFunction[] = [];
  const hooks = new Map<string, Hook[]>();
  let model: ProgrammingModel | undefined;
  let registering = true;

  const core = {
    version: '4.0.0-holdfast',
    hostVersion: '4.1000.0',
    setProgrammingModel(set: ProgrammingModel) {
      model = set;
    },
    getProgrammingModel: () => model,
    registerFunction(metadata: FunctionMetadata, callback: FunctionCallback) {
      if (!registering) throw new Error('A function can only be registered during app startup.');
      functions.push({ metadata, callback });
      return { dispose() {} };
    },
    registerHook(name: string, hook: Hook) {
      const registered = hooks.get(name) ?? [];
      hooks.set(name, registered);
      registered.push(hook);
      return { dispose: () => void registered.splice(registered.indexOf(hook), 1) };
    },
    log: write,
  };

  function write(level: string, category: string, message: string): void {
    if (level === 'error' || level === 'critical') log.error('function.logged', { category, message });
    else if (level === 'warning') log.warn('function.logged', { category, message });
    else if (category === 'user') log.info('function.logged', { category, message });
  }

  const prototype = Module.prototype as unknown as { require(this: unknown, id: string): unknown };
  const inherited = prototype.require;
  prototype.require = function (id) {
    return id === '@azure/functions-core' ? core : inherited.call(this, id);
  };
  Module.createRequire(bundle)(bundle);
  registering = false;
  if (!model) throw new Error(`${bundle} registers no functions`);

  return {
    model,
    functions,
    async runHooks(name, context) {
      for (const hook of [...(hooks.get(name) ?? [])]) {
        try {
          await hook(context);
        } catch (error) {
          log.warn('hook.failed', { hook: name, error: errorText(error) });
          throw error;
        }
      }
    },
    log: write,
  };
}
