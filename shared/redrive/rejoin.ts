import { acceptorsOf, registerOptions } from '../control/acceptors.ts';
import { type ControlDraft, proposeControl } from '../control/log.ts';
import type { Core } from '../core.ts';
import { codeOf, SiteUnavailableError } from '../errors.ts';
import { type ControlEntry, type Publication, parseFact, publicationSchema } from '../journal/facts.ts';
import { registerKey } from '../journal/keys.ts';
import { type Acceptor, learn } from '../journal/registers.ts';
import { withDeadline } from '../ports/deadline.ts';
import { listAll, type StateStore } from '../ports/object-store.ts';
import { holdFiles } from '../worker/hold-files.ts';

/**
 * A store that was restored from a backup, or replaced, has forgotten what it promised (F38). The command
 * `replace-store` names its new incarnation in the control log, which does not vote (`joining`) until it holds every
 * register that the two others hold (F58): then whatever was decided with the help of what it forgot is known to it again.
 */

/** Registers completed in one call. */
const registersAtOnce = 500;

/**
 * Completes the registers of a joining voter, and lets it vote when it has them all: for each register that the two
 * others list, a round over exactly those two is finished, and what it shows is copied. Idempotent, some of the way with
 * each call.
 * @returns registers that it still lacked at the beginning of this call; `undefined` where no voter is joining
 * @throws SiteUnavailableError, TransientError where one of the three does not answer
 */
export async function completeVoter(core: Core): Promise<number | undefined> {
  const control = await core.control.current();
  const joining = control.voters.find((voter) => voter.joining === true);
  if (joining === undefined) return undefined;
  const others = acceptorsOf(core, control);
  const state = joining.store === 'witness' ? core.witness?.state : core.sites.get(joining.store)?.state;
  if (state === undefined)
    throw new SiteUnavailableError('voter_unknown', `${joining.store} is not configured`, joining.store);
  const own = await namesIn(state, joining.incarnation);
  const known = await Promise.all(others.map((other) => namesIn(other.state, other.incarnation)));
  const missing = [...known[0]!.union(known[1]!)].filter((name) => !own.has(name)).sort();
  for (const name of missing.slice(0, registersAtOnce)) await complete(core, others, { ...joining, state }, name);
  if (missing.length > registersAtOnce) return missing.length;
  const voters = control.voters.map(({ store, incarnation }) => ({ store, incarnation }));
  await proposeControl(core, control, {
    ...draftFrom(core, control),
    actor: `monitor/${core.self}`,
    reason: `${joining.store} holds every register: it votes`,
    operation: `vote-${joining.store}-${control.epoch + 1}`,
    voters,
  });
  return missing.length;
}

async function complete(
  core: Core,
  others: readonly Acceptor[],
  joining: { incarnation: string; state: StateStore },
  name: string,
): Promise<void> {
  await learn(others, name, {
    ...registerOptions(core),
    beforeAccept: async ({ id }, value) => {
      if (!name.startsWith('publication/')) return;
      const parsed = parseFact(publicationSchema, value);
      if ('fault' in parsed)
        throw new SiteUnavailableError('publication_unreadable', `${name}: ${parsed.detail}`, name);
      await holdWhatIsThere(core, id, parsed.fact);
    },
  });
  const call = <T>(where: string, run: (signal: AbortSignal) => Promise<T>) =>
    withDeadline(core.clock, core.settings.peerTimeoutMs, where, run);
  const shown = await Promise.all(
    others.map(({ id, incarnation, state }) =>
      call(id, (signal) => state.get(registerKey(incarnation, name), { signal })),
    ),
  );
  // Decided: both show it. Promised alone: nothing can have been decided, and a promise is worth keeping.
  const bytes = shown.find((one) => one !== undefined)?.bytes;
  if (bytes !== undefined)
    await call('joining', (signal) =>
      joining.state.putIfAbsent(registerKey(joining.incarnation, name), bytes, { signal }),
    );
}

/**
 * Files that no store has any more keep nobody from voting: most of them were deleted, a long time after their
 * publication was decided, and no other value may be decided in its place anyway.
 */
async function holdWhatIsThere(core: Core, store: string, publication: Publication): Promise<void> {
  try {
    await holdFiles(core, store, publication);
  } catch (error) {
    const isNowhere = codeOf(error) === 'lost_output' && (error as Error).cause === undefined;
    if (!isNowhere) throw error;
    core.log.warn('publication.files_gone', { batch: publication.batch, tenant: publication.tenant, store });
  }
}

async function namesIn(state: StateStore, incarnation: string): Promise<Set<string>> {
  const prefix = registerKey(incarnation, '');
  const entries = await Array.fromAsync(listAll(state, prefix));
  return new Set(entries.map(({ key }) => key.slice(prefix.length)));
}

function draftFrom(core: Core, control: ControlEntry): ControlDraft {
  const { v: _v, kind: _kind, epoch: _epoch, previous: _previous, ...rest } = structuredClone(control);
  return { ...rest, at: Math.floor(core.clock.now()), evidence: [], forced: [] };
}
