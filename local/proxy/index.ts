/**
 * What stands between the functions of a cloud and everything they call: one listening port per caller and service, so
 * that a fault can hit one service of one site, or one direction of the link between the clouds, and nothing else.
 */
import { type Route, type RouteSpec, startRoute } from './route.ts';

export { type Fault, type LiveFault, liveFault, type Way } from './faults.ts';
export type { Protocol } from './gate.ts';
export { type Route, type RouteSpec, startRoute } from './route.ts';

/** The routes of one process. */
export interface FaultProxy {
  readonly routes: readonly Route[];
  close(): Promise<void>;
}

/**
 * Starts all routes, or none.
 * @throws ConfigError when a port is taken
 */
export async function startProxy(specs: readonly RouteSpec[]): Promise<FaultProxy> {
  const started = await Promise.allSettled(specs.map((spec) => startRoute(spec)));
  const routes = started.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
  const close = async () => void (await Promise.all(routes.map((route) => route.close())));
  const failed = started.find((outcome) => outcome.status === 'rejected');
  if (failed) {
    await close();
    throw failed.reason;
  }
  return { routes, close };
}
