import { type FaultOrder, faultControl, parseFaultOrder } from '../../local/faults/index.ts';
import type { LocalPorts } from '../../local/ports.ts';
import type { FaultArguments } from '../../shared/drill/file.ts';
import type { FaultInjector } from '../../shared/drill/run.ts';

/** Faults of the local clouds: each ends by itself in the process that it strikes, whatever becomes of this one. */
export function localFaults(ports: LocalPorts): FaultInjector {
  const control = faultControl(ports);
  return {
    refuse(fault) {
      const order = orderOf(fault);
      return typeof order === 'string' ? order : undefined;
    },
    async inject(fault) {
      const order = orderOf(fault);
      if (typeof order === 'string') throw new Error(order);
      return (await control.inject(order)).id;
    },
    clear: async (id) => void (await control.clear(id)),
  };
}

/** A fault as the local clouds take it, or what is wrong with it. */
export function orderOf({ target, kind, ttl, direction, share, delay, model }: FaultArguments): FaultOrder | string {
  if (kind === 'kill') return 'kind: kill has no end of its own, so a drill may not do it; refuse is as dark';
  const [site, service] = target.split('/');
  return parseFaultOrder({ site, service, kind, ttlMs: ttl, direction, share, delayMs: delay, model });
}
