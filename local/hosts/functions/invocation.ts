import { randomBytes, randomUUID } from 'node:crypto';
import type { DurationMs } from '../../../shared/units.ts';
import type { CoreInvocationContext, LoadedApp, RegisteredFunction, TypedData } from './core-module.ts';

/** What a trigger gives an invocation. */
export interface Trigger {
  /** Default: a fresh one. */
  invocationId?: string;
  data: TypedData;
  metadata: Record<string, TypedData>;
}

/** Calls registered functions as the worker does: hooks, arguments, the function, its response. */
export interface Invoker {
  /** Rejects with what the function threw. */
  invoke(registered: RegisteredFunction, trigger: Trigger): Promise<void>;
  /** Invocations that have not ended. */
  readonly running: number;
}

/**
 * @param timeoutMs of an invocation; `onTimeout` must then end the process, as the host ends a worker that hangs
 * @source https://github.com/Azure/azure-functions-nodejs-worker/blob/v4.x/src/eventHandlers/InvocationHandler.ts 2026-11
 */
export function createInvoker(app: LoadedApp, timeoutMs: DurationMs, onTimeout: (name: string) => void): Invoker {
  let running = 0;

  async function run(registered: RegisteredFunction, trigger: Trigger): Promise<void> {
    const { metadata, callback } = registered;
    const invocationId = trigger.invocationId ?? randomUUID();
    const core: CoreInvocationContext = {
      invocationId,
      metadata,
      request: {
        invocationId,
        functionId: metadata.name,
        inputData: [{ name: triggerBinding(registered).name, data: trigger.data }],
        triggerMetadata: trigger.metadata,
        traceContext: { traceParent: `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-00` },
      },
      log: app.log,
    };
    const model = app.model.getInvocationModel(core);
    const { context: invocationContext, inputs } = await model.getArguments();
    const hookData = {};
    const before = { hookData, appHookData: {}, invocationContext, functionCallback: callback, inputs };
    core.state = 'preInvocationHooks';
    await app.runHooks('preInvocation', before);
    const after = {
      hookData,
      appHookData: {},
      invocationContext,
      inputs: before.inputs,
      result: null as unknown,
      error: null as unknown,
    };
    core.state = 'invocation';
    try {
      after.result = await model.invokeFunction(invocationContext, before.inputs, before.functionCallback);
    } catch (error) {
      after.error = error ?? new Error('the function failed without an error');
    }
    core.state = 'postInvocationHooks';
    await app.runHooks('postInvocation', after);
    if (after.error !== null) throw after.error;
    await model.getResponse(invocationContext, after.result);
  }

  return {
    get running() {
      return running;
    },
    async invoke(registered, trigger) {
      running++;
      const late = setTimeout(() => onTimeout(registered.metadata.name), timeoutMs);
      try {
        await run(registered, trigger);
      } finally {
        clearTimeout(late);
        running--;
      }
    },
  };
}

/** The binding that calls a function, with its name. */
export function triggerBinding({ metadata }: RegisteredFunction): {
  name: string;
  type: string;
  options: Record<string, unknown>;
} {
  const [name, binding] = Object.entries(metadata.bindings).find(([, { type }]) => /trigger$/i.test(type))!;
  return { name, type: binding.type, options: binding };
}
