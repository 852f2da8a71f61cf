/**
 * Inside an environment: a worker thread that loads one bundle and calls its handler, one invocation at a time.
 * The thread's `process.env` is the function's alone.
 */
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';

/** What the environment is told at its start. */
export interface RuntimeData {
  bundle: string;
  handler: string;
}

/** One invocation. */
export interface RuntimeCall {
  requestId: string;
  /** JSON text, as Lambda hands it to its runtime. */
  event: string;
  /** Milliseconds until the time-out, from now. */
  timeLeftMs: number;
  functionName: string;
  functionArn: string;
  memoryMb: number;
}

/** What came of it: the handler's value as JSON text (`null` for none), or its error as Lambda words errors. */
export type RuntimeReply =
  | { kind: 'ready' }
  | { kind: 'unusable'; error: string }
  | { kind: 'returned'; result: string }
  | { kind: 'threw'; error: string };

type Handler = (event: unknown, context: unknown) => unknown;

const port = parentPort!;
const { bundle, handler: name } = workerData as RuntimeData;

try {
  const loaded = (await import(pathToFileURL(bundle).href)) as Record<string, unknown>;
  const handler = loaded[name] ?? (loaded.default as Record<string, unknown> | undefined)?.[name];
  if (typeof handler !== 'function') throw new Error(`${name} is undefined or not exported`);
  port.on('message', (call: RuntimeCall) => void serve(handler as Handler, call));
  reply({ kind: 'ready' });
} catch (error) {
  reply({ kind: 'unusable', error: describe(error) });
}

async function serve(handler: Handler, call: RuntimeCall): Promise<void> {
  try {
    const result = await handler(JSON.parse(call.event), contextOf(call));
    reply({ kind: 'returned', result: JSON.stringify(result) ?? 'null' });
  } catch (error) {
    reply({ kind: 'threw', error: describe(error) });
  }
}

function contextOf(call: RuntimeCall) {
  const ends = performance.now() + call.timeLeftMs;
  return {
    awsRequestId: call.requestId,
    callbackWaitsForEmptyEventLoop: true,
    functionName: call.functionName,
    functionVersion: '$LATEST',
    invokedFunctionArn: call.functionArn,
    memoryLimitInMB: String(call.memoryMb),
    logGroupName: `/aws/lambda/${call.functionName}`,
    logStreamName: 'local',
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(ends - performance.now())),
  };
}

/** @source https://docs.aws.amazon.com/lambda/latest/dg/nodejs-exceptions.html 2026-08 */
function describe(error: unknown): string {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  return JSON.stringify({ errorType: name, errorMessage: message, trace: (stack ?? '').split('\n') });
}

function reply(message: RuntimeReply): void {
  port.postMessage(message);
}
