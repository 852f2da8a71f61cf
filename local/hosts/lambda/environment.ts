import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ACCOUNT, type FunctionSpec, functionArn } from './function-spec.ts';
import type { RuntimeCall, RuntimeData, RuntimeReply } from './runtime.ts';

/** How an invocation ended. `payload` is JSON text: the handler's value, or `{errorType, errorMessage, trace?}`. */
export interface Invocation {
  readonly requestId: string;
  readonly payload: string;
  /** The handler threw, ran out of time, or took its process down. */
  readonly failed: boolean;
}

/** One execution environment of a function: warm for the next invocation, or gone. */
export interface Environment {
  /** False once it may not be used again: out of time, exited, or never came up. */
  readonly usable: boolean;
  /** Resolves when the bundle is loaded, or cannot be. */
  readonly loaded: Promise<unknown>;
  /** One at a time. Never rejects. */
  invoke(event: string): Promise<Invocation>;
  close(): Promise<void>;
}

/** Starts a thread that loads the bundle while it waits for its first invocation. */
export function startEnvironment(spec: FunctionSpec, region: string): Environment {
  const worker = new Worker(new URL('./runtime.ts', import.meta.url), {
    workerData: { bundle: spec.bundle, handler: spec.handler } satisfies RuntimeData,
    env: lambdaEnvironment(spec, region),
    execArgv: [],
    name: spec.name,
    resourceLimits: { maxOldGenerationSizeMb: spec.memoryMb },
  });
  let usable = true;
  let answer: (reply: RuntimeReply) => void = () => {};
  const ready = Promise.withResolvers<RuntimeReply>();
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()));

  const gone = (errorType: string, errorMessage: string) => {
    usable = false;
    const reply: RuntimeReply = { kind: 'threw', error: JSON.stringify({ errorType, errorMessage }) };
    ready.resolve(reply);
    answer(reply);
  };
  worker.on('message', (reply: RuntimeReply) => {
    if (reply.kind === 'ready' || reply.kind === 'unusable') ready.resolve(reply);
    else answer(reply);
  });
  worker.on('error', (error: Error) => gone(error.name, error.message));
  worker.once('exit', (code) => gone('Runtime.ExitError', `Runtime exited with exit status ${code}`));

  async function run(requestId: string, event: string): Promise<Invocation> {
    const first = await ready.promise;
    if (first.kind !== 'ready') {
      usable = false;
      return { requestId, payload: 'error' in first ? first.error : '{}', failed: true };
    }
    const replied = new Promise<RuntimeReply>((resolve) => {
      answer = resolve;
    });
    worker.postMessage({
      requestId,
      event,
      timeLeftMs: spec.timeoutMs,
      functionName: spec.name,
      functionArn: functionArn(spec.name, region),
      memoryMb: spec.memoryMb,
    } satisfies RuntimeCall);
    const end = new AbortController();
    const late = sleep(spec.timeoutMs, undefined, { signal: end.signal }).catch(() => undefined);
    const reply = await Promise.race([replied, late]);
    end.abort();
    if (reply?.kind === 'returned') return { requestId, payload: reply.result, failed: false };
    if (reply?.kind === 'threw') return { requestId, payload: reply.error, failed: true };
    usable = false;
    void worker.terminate();
    const errorMessage = `${new Date().toISOString()} ${requestId} Task timed out after ${(spec.timeoutMs / 1000).toFixed(2)} seconds`;
    return { requestId, payload: JSON.stringify({ errorType: 'Sandbox.Timedout', errorMessage }), failed: true };
  }

  return {
    get usable() {
      return usable;
    },
    loaded: ready.promise,
    invoke: (event) => run(randomUUID(), event),
    async close() {
      usable = false;
      await worker.terminate();
      await ended;
    },
  };
}

/** @source https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html 2026-08 */
function lambdaEnvironment(spec: FunctionSpec, region: string): Record<string, string> {
  return {
    PATH: process.env.PATH ?? '',
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
    AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
    AWS_LAMBDA_FUNCTION_NAME: spec.name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(spec.memoryMb),
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_ACCESS_KEY_ID: ACCOUNT,
    AWS_SECRET_ACCESS_KEY: 'local',
    _HANDLER: `${spec.bundle.replace(/\.[a-z]+$/, '')}.${spec.handler}`,
    ...spec.environment,
  };
}
