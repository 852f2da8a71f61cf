import { type FaultControl, type FaultOrder, faultControl } from '../../../local/faults/index.ts';
import { Outage } from './support.ts';

/** Runs a case on clouds of its own, and stops them however it ends. */
export async function withOutage<T>(run: (outage: Outage, faults: FaultControl) => Promise<T>): Promise<T> {
  const outage = await Outage.begin();
  const faults = faultControl(outage.world.ports);
  try {
    return await run(outage, faults);
  } finally {
    await faults.clear().catch(() => {});
    await outage.stop();
  }
}

/** Longer than any case: a fault that a case ends itself. */
export const lastingMs = 1_800_000;

export type Fault = Omit<FaultOrder, 'ttlMs' | 'site'>;
