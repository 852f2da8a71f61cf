import type { Core } from '../core.ts';
import { InvariantError } from '../errors.ts';
import type { ControlEntry } from '../journal/facts.ts';
import { quarantine } from '../journal/quarantine.ts';
import type { Acceptor, RegisterOptions } from '../journal/registers.ts';
import type { JournalCore } from '../journal/replicas.ts';

/**
 * The stores that vote, as the control log names them; configuration only says how to reach them. Three, or the two
 * others while one is joining.
 */
export function acceptorsOf(core: Pick<Core, 'sites' | 'witness'>, control: ControlEntry): Acceptor[] {
  return control.voters.flatMap(({ store, incarnation, joining }) => {
    if (joining === true) return [];
    const stores = store === 'witness' ? core.witness : core.sites.get(store);
    // A voter that is not configured here counts as one that does not answer, except a site: then nothing is right.
    if (stores === undefined && store !== 'witness')
      throw new InvariantError('voter_unknown', `no store named ${store}`);
    return stores === undefined ? [] : [{ id: store, incarnation, state: stores.state }];
  });
}

/** How this process takes part in registers: the sites are asked first, and garbage in a register is reported. */
export function registerOptions(core: JournalCore & Pick<Core, 'random'>): RegisterOptions {
  return {
    clock: core.clock,
    random: core.random,
    ids: core.ids,
    log: core.log,
    callMs: core.settings.peerTimeoutMs,
    prefer: [...core.sites.keys()],
    report: (acceptor, key, fault) => quarantine(core, `${acceptor.id}/state/${key}`, fault),
  };
}
