import type { Core } from '../core.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { CallOptions } from '../ports/object-store.ts';

/**
 * The cloud's own switch for whoever takes messages off a site's queues. Switched off while the site is fenced, it saves
 * the calls that forget stale pointers, and nothing else: fencing by epoch does the work. So nothing waits for it, and
 * no failover needs it (I13): it belongs to the control plane of the very cloud that may be failing.
 */
export interface Consumers {
  /** For logs: `aws/consumers`. */
  readonly name: string;
  /** True if none of them takes anything. @throws SiteUnavailableError, TransientError */
  isPaused(options?: CallOptions): Promise<boolean>;
  /** Lets what is in work end. @throws SiteUnavailableError, TransientError */
  pause(options?: CallOptions): Promise<void>;
  /** @throws SiteUnavailableError, TransientError */
  resume(options?: CallOptions): Promise<void>;
}

/** What was last found or done, and by which entry. */
const settled = new WeakMap<Consumers, { fencedEpoch: number; isFenced: boolean }>();

/**
 * Brings the consumers of this process's site in line with the control entry, in a monitor tick; calls nothing as long as
 * the site stays fenced, or stays in. Best effort: what fails is tried again at the next tick. What a person paused at a
 * site that was never fenced stays paused.
 * @returns what was done
 */
export async function tendConsumers(
  core: Pick<Core, 'self' | 'clock' | 'settings' | 'log'>,
  control: ControlEntry,
  consumers: Consumers,
): Promise<'paused' | 'resumed' | 'nothing' | 'failed'> {
  const site = control.sites[core.self];
  if (site === undefined || site.fencedEpoch === 0) return 'nothing';
  const wanted = { fencedEpoch: site.fencedEpoch, isFenced: site.state === 'fenced' };
  const last = settled.get(consumers);
  if (last?.fencedEpoch === wanted.fencedEpoch && last.isFenced === wanted.isFenced) return 'nothing';
  const change = async (signal: AbortSignal) => {
    if ((await consumers.isPaused({ signal })) === wanted.isFenced) return 'nothing';
    await (wanted.isFenced ? consumers.pause({ signal }) : consumers.resume({ signal }));
    return wanted.isFenced ? 'paused' : 'resumed';
  };
  try {
    const done = await withDeadline(core.clock, core.settings.peerTimeoutMs, consumers.name, change);
    settled.set(consumers, wanted);
    if (done !== 'nothing') core.log.info(`consumers.${done}`, { name: consumers.name, epoch: control.epoch });
    return done;
  } catch (error) {
    core.log.warn('consumers.unchanged', {
      name: consumers.name,
      error: String((error as Error)?.message).slice(0, 200),
    });
    return 'failed';
  }
}
