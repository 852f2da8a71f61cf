import type { Core } from '../core.ts';
import { InvariantError } from '../errors.ts';
import type { ControlEntry } from '../journal/facts.ts';
import type { Acceptor } from '../journal/registers.ts';

/** The three stores that vote, as the control log names them; configuration only says how to reach them. */
export function acceptorsOf(core: Pick<Core, 'sites' | 'witness'>, control: ControlEntry): Acceptor[] {
  return control.voters.flatMap(({ store, incarnation }) => {
    const stores = store === 'witness' ? core.witness : core.sites.get(store);
    // A voter that is not configured here counts as one that does not answer, except a site: then nothing is right.
    if (stores === undefined && store !== 'witness')
      throw new InvariantError('voter_unknown', `no store named ${store}`);
    return stores === undefined ? [] : [{ id: store, incarnation, state: stores.state }];
  });
}
