import type { AddressInfo } from 'node:net';
import { ConfigError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/ports/log.ts';
import { loadApp } from './core-module.ts';
import { readHostJson } from './host-json.ts';
import { createHttpFront } from './http-front.ts';
import { createInvoker, triggerBinding } from './invocation.ts';
import { createRoute } from './routes.ts';
import { type ServiceBusTrigger, startServiceBusTrigger } from './service-bus-trigger.ts';
import { startTimerTrigger } from './timer-trigger.ts';

/** How to start a Functions host. */
export interface FunctionsHostOptions {
  /** The built module that `package.json` names as `main`. */
  readonly bundle: string;
  /** Path of `host.json`. */
  readonly hostJson: string;
  /** Port to listen on at 127.0.0.1; default 0: any free one. */
  readonly port?: number;
  /** App settings: connections of triggers, `%NAME%` in queue names and schedules. */
  readonly env: NodeJS.ProcessEnv;
  /** Called when an invocation runs out of time; must end the process, as the host ends a worker that hangs. */
  readonly onTimeout: (functionName: string) => void;
  readonly log: Log;
}

/** A Functions host with its functions, running. */
export interface FunctionsHost {
  readonly port: number;
  /** Names of the functions that the bundle registered. */
  readonly functions: readonly string[];
  /** Off: no queue is listened to; HTTP and timers go on. */
  setPolling(on: boolean): void;
  /** Ends triggers and front. What was being worked comes back by its lock. */
  close(): Promise<void>;
}

/**
 * Loads the bundle and starts what calls its functions. Once per process, since the bundle stays loaded.
 * @throws ConfigError for a trigger that is not emulated, or a setting that is missing
 */
export async function startFunctionsHost(options: FunctionsHostOptions): Promise<FunctionsHost> {
  const { env, log } = options;
  const settings = readHostJson(options.hostJson);
  const app = loadApp(options.bundle, log);
  const capabilities = await app.model.getCapabilities({});
  await app.runHooks('appStart', { hookData: {}, appHookData: {} });
  const invoker = createInvoker(app, settings.functionTimeoutMs, options.onTimeout);
  const triggers: { close(): unknown }[] = [];
  const listeners: ServiceBusTrigger[] = [];
  const routes = [];
  for (const registered of app.functions) {
    const { type } = triggerBinding(registered);
    if (type === 'httpTrigger') routes.push(createRoute(registered, settings.routePrefix));
    else if (type === 'serviceBusTrigger')
      listeners.push(startServiceBusTrigger(registered, invoker, settings.serviceBus, env, log));
    else if (type === 'timerTrigger') triggers.push(startTimerTrigger(registered, invoker, env, log));
    else throw new ConfigError(registered.metadata.name, `${registered.metadata.name}: ${type} is not emulated`);
  }
  const workerUri = capabilities.HttpUri;
  if (workerUri === undefined)
    throw new ConfigError('enableHttpStream', 'enableHttpStream: must be on, only streamed HTTP is emulated');
  const front = createHttpFront({ routes, invoker, workerUri, bodyBytesMax: bodyLimit(env), log });
  await new Promise<void>((resolve, reject) => {
    front.once('error', reject);
    front.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  return {
    port: (front.address() as AddressInfo).port,
    functions: app.functions.map(({ metadata }) => metadata.name),
    setPolling(on) {
      for (const listener of listeners) listener.setPolling(on);
    },
    async close() {
      await Promise.all([...triggers, ...listeners].map((trigger) => trigger.close()));
      front.closeAllConnections();
      await new Promise((resolve) => front.close(resolve));
    },
  };
}

/** @source https://learn.microsoft.com/azure/azure-functions/functions-app-settings#functions_request_body_size_limit 2026-11 */
function bodyLimit(env: NodeJS.ProcessEnv): number | undefined {
  const limit = env.FUNCTIONS_REQUEST_BODY_SIZE_LIMIT;
  if (limit === undefined) return undefined;
  if (!/^\d+$/.test(limit))
    throw new ConfigError('FUNCTIONS_REQUEST_BODY_SIZE_LIMIT', 'FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: must be bytes');
  return Number(limit);
}
