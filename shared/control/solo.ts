import { InvariantError } from '../errors.ts';
import { AcceptorHandle } from '../journal/acceptor.ts';
import { controlSoloKey, registerKey } from '../journal/keys.ts';
import { quarantine } from '../journal/quarantine.ts';
import type { Acceptor, RegisterOptions } from '../journal/registers.ts';
import type { SiteId, Stores } from '../ports/site.ts';
import { acceptorsOf, registerOptions } from './acceptors.ts';
import { type LearnedEntry, parseLink } from './chain.ts';
import { type ControlCore, call } from './stores.ts';

/**
 * Solo decisions (DESIGN.md section 7.1): what a person had one store decide alone, as the third vote, while no other
 * answers (`--force no-witness`). They are facts with names of their own and touch no acceptor. Two people may do that on
 * two sides of a cut. Then a joint decision beats a solo one, and of two solo ones that of the lower site id stands; the
 * other stays readable under its name, and is reported.
 */

/** The name under which a forced entry says that it was decided without a majority. */
export const soloRule = 'no-witness';

/** A solo entry, and whose it is. */
export interface SoloEntry extends LearnedEntry {
  site: SiteId;
}

/** The solo entry that stands after `head` in one store: of several the one of the lowest site id. */
export async function soloAfter(core: ControlCore, stores: Stores, head: LearnedEntry): Promise<SoloEntry | undefined> {
  const epoch = head.entry.epoch + 1;
  const sites = [...core.sites.keys()].sort();
  const found = await Promise.all(
    sites.map((site) => call(core, stores, (journal, signal) => journal.get(controlSoloKey(epoch, site), { signal }))),
  );
  for (const [i, one] of found.entries()) {
    if (one === undefined) continue;
    const link = parseLink(epoch, one.bytes, head.bytes);
    if (!('fault' in link)) return { ...link, site: sites[i]! };
    await quarantine(core, controlSoloKey(epoch, sites[i]!), link);
  }
  return undefined;
}

/**
 * What the own acceptor accepted under `name`, if anything: a solo decision adopts it, since it may be decided already
 * by a majority that cannot be asked.
 * @throws what the own store throws
 */
export async function acceptedHere(
  core: ControlCore,
  voters: Parameters<typeof acceptorsOf>[1],
  name: string,
): Promise<Uint8Array | undefined> {
  const own: Acceptor | undefined = acceptorsOf(core, voters).find(({ id }) => id === core.self);
  if (own === undefined) throw new InvariantError('voter_unknown', `${core.self} has no vote`);
  const options: RegisterOptions = registerOptions(core);
  const handle = new AcceptorHandle(own, 0, registerKey(own.incarnation, name), options);
  return (await handle.read()).accepted?.value;
}
