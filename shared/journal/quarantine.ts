import { type Core, ownSite } from '../core.ts';
import type { FactFault } from './facts.ts';
import { canonicalBytes, sha256 } from './json.ts';
import { quarantineKey } from './keys.ts';

/** A report on an object that is no fact we can take; it stays where it is, nothing is built on it. */
export interface QuarantineReport extends FactFault {
  key: string;
  /** EpochMs of the first sighting in this site. */
  at: number;
}

/**
 * Reports a fact that was not taken, once per key, in the own `state`; never throws and never touches the object.
 * A version we do not know is no fault: it is only logged, another process will know it (I15).
 */
export async function quarantine(
  core: Pick<Core, 'self' | 'sites' | 'clock' | 'log'>,
  key: string,
  fault: FactFault,
): Promise<void> {
  core.log.warn(fault.fault === 'unknown' ? 'fact.unknown' : 'fact.quarantined', {
    key,
    fault: fault.fault,
    detail: fault.detail,
  });
  if (fault.fault === 'unknown') return;
  const report: QuarantineReport = { key, fault: fault.fault, detail: fault.detail, at: core.clock.now() };
  await ownSite(core)
    .state.putIfAbsent(quarantineKey(sha256(key).slice(0, 32)), canonicalBytes(report))
    .catch((error) => core.log.warn('quarantine.unreported', { key, error: String(error?.message).slice(0, 200) }));
}
