/**
 * What stands between the functions of a cloud and everything they call: one listening port per caller and service, so
 * that a fault can hit one service of one site, or one direction of the link between the clouds, and nothing else.
 */
import type { DurationMs } from '../../shared/units.ts';
import type { Fault } from './faults.ts';
import { type Route, type RouteSpec, startRoute } from './route.ts';

export { type Fault, parseFault, type Way } from './faults.ts';
export { type Route, type RouteSpec, startRoute } from './route.ts';

/** Which routes are meant: all that agree with every member that is given. */
export type RouteMatch = Partial<Pick<RouteSpec, 'from' | 'site' | 'service'>>;

/** The routes of one process. */
export interface FaultProxy {
  readonly routes: readonly Route[];
  /** Puts a fault on all routes that match (`undefined` heals them), and says how many those are. */
  setFault(match: RouteMatch, fault: Fault | undefined, ttlMs?: DurationMs): Promise<number>;
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
  return {
    routes,
    async setFault(match, fault, ttlMs) {
      const meant = routes.filter(({ spec }) =>
        (['from', 'site', 'service'] as const).every((key) => match[key] === undefined || match[key] === spec[key]),
      );
      await Promise.all(meant.map((route) => route.setFault(fault, ttlMs)));
      return meant.length;
    },
    close,
  };
}
