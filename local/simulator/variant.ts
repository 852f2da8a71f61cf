import type { Core } from '../../shared/core.ts';
import type { MonitorDeps } from '../../shared/health/monitor.ts';
import type { LogFields } from '../../shared/ports/log.ts';
import type { work } from '../../shared/worker/index.ts';
import type { Process } from './engine/process.ts';

/**
 * What a run may do otherwise than the product does: deliberate mistakes, made around the core and never in it, by which
 * the judges are tested.
 */
export interface Variant {
  /** Wraps what a process is given. */
  core?: (core: Core, who: { process: Process; kind: string }) => Core;
  /** In place of the worker. */
  work?: typeof work;
  /** In place of what a monitor does about what it sees. */
  act?: MonitorDeps['act'];
  /** In place of what a monitor looks with. */
  looks?: (deps: MonitorDeps, core: Core) => MonitorDeps;
  /** Called after each tick of a monitor. */
  afterTick?: (core: Core) => Promise<unknown>;
  /** Faults of drills have no end of their own: whoever set them ends them. */
  drillFaultsStay?: boolean;
  onLog?: (event: string, fields: LogFields, process: Process) => void;
}
