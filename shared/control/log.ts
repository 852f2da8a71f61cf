import type { ControlView } from '../core.ts';
import { codeOf, InvariantError, isRetryable, SiteUnavailableError, TransientError } from '../errors.ts';
import { type ControlEntry, factBytes, factVersion } from '../journal/facts.ts';
import { equalBytes, sha256 } from '../journal/json.ts';
import { compareText, controlKey, controlRegister, controlSoloKey } from '../journal/keys.ts';
import { quarantine } from '../journal/quarantine.ts';
import { decide, learn } from '../journal/registers.ts';
import type { Stores } from '../ports/site.ts';
import type { DurationMs } from '../units.ts';
import { acceptorsOf, registerOptions } from './acceptors.ts';
import { assertControl, controlEntries, type LearnedEntry, parseLink } from './chain.ts';
import { acceptedHere, soloAfter, soloRule } from './solo.ts';
import { type ControlCore, call, epochsIn, storesInOrder } from './stores.ts';

export { initControl } from './init.ts';
export type { ControlCore } from './stores.ts';

/**
 * The control log: who may act, decided entry by entry. Entry n is the value of the register `control/<n>` among the
 * voters that entry n - 1 names, and carries the hash of entry n - 1; the journals hold copies of what was decided.
 */

/** What a proposer fills in; number and hash follow from the entry before. */
export type ControlDraft = Omit<ControlEntry, 'v' | 'kind' | 'epoch' | 'previous'>;

/**
 * The last decided entry that can be learned: the highest in the own journal (any journal where the own one does not
 * answer), then along the registers. What no journal holds yet is written to all of them. A proposer dead after its
 * decision, or between two votes, is finished here, by whoever comes, fenced or not (F51).
 *
 * Registers that cannot be read end the walk: what was learned until there is decided, there may only be more.
 * @throws SiteUnavailableError `control_unknown` where no journal that answers holds an entry
 */
export async function learnControl(core: ControlCore): Promise<ControlEntry> {
  return (await learnHead(core)).entry;
}

/** As `learnControl`, with the bytes. */
export async function learnHead(core: ControlCore): Promise<LearnedEntry> {
  const { joint, solo } = await learnBoth(core);
  return solo ?? joint;
}

/**
 * The last joint entry, and the last solo one that stands after it. As soon as a majority answers again, a solo entry is
 * proposed to its register, so that it becomes a joint one, or is beaten by what was decided there.
 */
async function learnBoth(core: ControlCore): Promise<{ joint: LearnedEntry; solo?: LearnedEntry }> {
  let joint = await highestInJournals(core);
  for (;;) {
    let next = await learnNext(core, joint);
    const solo = next === undefined ? await soloAnywhere(core, joint) : undefined;
    if (solo !== undefined) next = await adoptSolo(core, joint, solo);
    if (next === undefined) return { joint, ...(solo !== undefined && { solo: await lastSolo(core, solo) }) };
    await spread(core, next);
    joint = next;
  }
}

async function adoptSolo(
  core: ControlCore,
  joint: LearnedEntry,
  solo: LearnedEntry,
): Promise<LearnedEntry | undefined> {
  const { epoch } = solo.entry;
  try {
    const acceptors = acceptorsOf(core, joint.entry);
    const { value, own } = await decide(acceptors, controlRegister(epoch), solo.bytes, registerOptions(core));
    core.log.warn(own ? 'solo.adopted' : 'solo.superseded', { epoch, actor: solo.entry.actor });
    return readDecided(epoch, value, joint);
  } catch (error) {
    if (!isRetryable(error) || codeOf(error) === 'fact_unknown') throw error;
    return undefined;
  }
}

async function lastSolo(core: ControlCore, solo: LearnedEntry): Promise<LearnedEntry> {
  for (let last = solo; ; ) {
    const next = await soloAnywhere(core, last);
    if (next === undefined) return last;
    last = next;
  }
}

/**
 * The solo entry after `head`: of several the one of the lowest site id. Others are asked only if the own store shows
 * one: theirs is for their own monitors to put forward.
 */
async function soloAnywhere(core: ControlCore, head: LearnedEntry): Promise<LearnedEntry | undefined> {
  const [own, ...others] = storesInOrder(core).filter(({ id }) => id !== 'witness');
  const ask = (stores: Stores) => soloAfter(core, stores, head).catch(() => undefined);
  const first = await ask(own!);
  if (first === undefined) return undefined;
  const found = [first, ...(await Promise.all(others.map(ask)))].filter((one) => one !== undefined);
  return found.sort((a, b) => compareText(a.site, b.site))[0];
}

/**
 * Has the own store alone decide the entry after `previous`, for a person who forced `no-witness`. Adopts what the own
 * acceptor has accepted. Whatever fewer than two voters could have decided is thereby in force here, and only here until
 * the link heals.
 * @throws InvariantError for an entry that must never stand, or that was not forced; what the own store throws
 */
export async function proposeSolo(
  core: ControlCore,
  previous: ControlEntry,
  draft: ControlDraft,
): Promise<{ entry: ControlEntry; own: boolean }> {
  if (!draft.forced.includes(soloRule))
    throw new InvariantError('solo_unforced', `a solo decision needs --force ${soloRule}`);
  const head = await learnHead(core);
  if (head.entry.epoch !== previous.epoch) return { entry: head.entry, own: head.entry.operation === draft.operation };
  const epoch = previous.epoch + 1;
  const entry: ControlEntry = { v: factVersion, kind: 'control', epoch, previous: sha256(head.bytes), ...draft };
  const adopted = await acceptedHere(core, head.entry, controlRegister(epoch));
  const ours = parseLink(epoch, adopted ?? factBytes(entry), head.bytes);
  if ('fault' in ours) throw new InvariantError('control_invalid', ours.detail);
  assertControl(ours.entry, head.entry);
  const own = storesInOrder(core)[0]!;
  await call(core, own, (journal, signal) =>
    journal.putIfAbsent(controlSoloKey(epoch, core.self), ours.bytes, { signal }),
  );
  const standing = (await soloAfter(core, own, head)) ?? ours;
  core.log.warn('control.solo', { epoch, actor: standing.entry.actor, reason: standing.entry.reason });
  return { entry: standing.entry, own: standing.entry.operation === draft.operation };
}

/**
 * Proposes the entry after `previous`. Gives the entry that was decided after it: ours, or that of whoever was faster.
 * A replay (same `operation`) finds its own entry and does nothing; one that comes too late for its epoch finds what
 * stands there instead (F24).
 * @param options.without a voter that is not asked: it was restored or replaced, and has forgotten what it promised
 * @returns `own`: what was decided is what this operation wanted
 * @throws SiteUnavailableError, TransientError if nothing could be decided; it may yet be, so learn before retrying
 * @throws InvariantError for an entry that must never stand (`assertControl`)
 */
export async function proposeControl(
  core: ControlCore,
  previous: ControlEntry,
  draft: ControlDraft,
  options: { without?: string } = {},
): Promise<{ entry: ControlEntry; own: boolean }> {
  const epoch = previous.epoch + 1;
  const shown = shownAnywhere(core, epoch);
  const { joint: head, solo } = await learnBoth(core);
  if (solo !== undefined)
    throw new SiteUnavailableError(
      'no_majority',
      `entry ${solo.entry.epoch} is a solo one: no two voters answer`,
      'control',
    );
  if (head.entry.epoch < previous.epoch)
    throw new SiteUnavailableError('control_unlearned', `entry ${previous.epoch} cannot be learned`, 'control');
  if (head.entry.epoch > previous.epoch) {
    const standing = head.entry.epoch === epoch ? head : await readEntry(core, epoch);
    if (standing === undefined)
      throw new SiteUnavailableError('control_unlearned', `entry ${epoch} cannot be read`, 'control');
    return { entry: standing.entry, own: standing.entry.operation === draft.operation };
  }
  const entry: ControlEntry = { v: factVersion, kind: 'control', epoch, previous: sha256(head.bytes), ...draft };
  // What we would refuse to read we must not get decided: nobody could ever go past it.
  const ours = parseLink(epoch, factBytes(entry), head.bytes);
  if ('fault' in ours) throw new InvariantError('control_invalid', ours.detail);
  assertControl(entry, head.entry);
  const bytes = await shown;
  const standing = bytes && parseLink(epoch, bytes, head.bytes);
  if (standing !== undefined && !('fault' in standing)) {
    await spread(core, standing);
    return { entry: standing.entry, own: standing.entry.operation === draft.operation };
  }
  const { value } = await decide(
    acceptorsOf(core, head.entry).filter(({ id }) => id !== options.without),
    controlRegister(epoch),
    ours.bytes,
    registerOptions(core),
  );
  const decided = readDecided(epoch, value, head);
  await spread(core, decided);
  return { entry: decided.entry, own: decided.entry.operation === draft.operation };
}

/**
 * The last entry that the own journal shows, looked up again after `cacheMs` (default `settings.controlCacheMs`), one
 * look at a time; the first look asks another journal, too: a site that was away holds an old one, and would work what
 * was given to somebody else until its monitor has learned. Once something was learned it never rejects: in a dark store nothing newer can be seen, and an old
 * entry costs repeats, never correctness. It reads one store and follows no register: that is `learnControl`, which
 * each monitor runs, and which writes what it learns where this finds it.
 */
export function controlView(core: ControlCore, options: { cacheMs?: DurationMs } = {}): ControlView {
  const cacheMs = options.cacheMs ?? core.settings.controlCacheMs;
  let joint: LearnedEntry | undefined;
  let known: LearnedEntry | undefined;
  let solosUntil = Number.NEGATIVE_INFINITY;
  let freshUntil = Number.NEGATIVE_INFINITY;
  let looking: Promise<ControlEntry> | undefined;
  const look = async (): Promise<ControlEntry> => {
    try {
      joint = joint === undefined ? await highestAtStart(core) : await forward(core, joint);
      if (known === undefined || joint.entry.epoch >= known.entry.epoch) known = joint;
      if (core.clock.now() >= solosUntil) {
        solosUntil = core.clock.now() + solosSeldom * cacheMs;
        known = await withSolo(core, joint);
      }
    } catch (error) {
      if (known === undefined) throw error;
      core.log.warn('control.stale', { epoch: known.entry.epoch, error: told(error) });
    }
    freshUntil = core.clock.now() + cacheMs;
    return known.entry;
  };
  return {
    async current() {
      if (known !== undefined && core.clock.now() < freshUntil) return known.entry;
      looking ??= look().finally(() => {
        looking = undefined;
      });
      return looking;
    },
  };
}

/** Solo entries are made by hand and seldom: a view looks for them at every so many of its looks. */
const solosSeldom = 6;

/** What stands in the own journal after the last joint entry: a joint one that comes later beats it. */
async function withSolo(core: ControlCore, joint: LearnedEntry): Promise<LearnedEntry> {
  const own = storesInOrder(core)[0]!;
  for (let head = joint; ; ) {
    const next = await soloAfter(core, own, head).catch(() => undefined);
    if (next === undefined) return head;
    head = next;
  }
}

/** Follows the own journal alone. */
async function forward(core: ControlCore, from: LearnedEntry): Promise<LearnedEntry> {
  const own = storesInOrder(core)[0]!;
  for (let head = from; ; ) {
    const next = await entryIn(core, own, head.entry.epoch + 1, head.bytes);
    if (next === undefined) return head;
    core.log.info('epoch.advanced', { epoch: next.entry.epoch, actor: next.entry.actor, reason: next.entry.reason });
    head = next;
  }
}

/** The highest entry of the first journal that answers and holds one whose link to the entry before it verifies. */
async function highestInJournals(core: ControlCore): Promise<LearnedEntry> {
  let failure: unknown;
  for (const stores of storesInOrder(core)) {
    try {
      const entry = await highestIn(core, stores);
      if (entry !== undefined) return entry;
    } catch (error) {
      failure = error;
    }
  }
  throw unknownControl(failure);
}

/** The higher one of what the own journal shows and what the first other one shows that answers. */
async function highestAtStart(core: ControlCore): Promise<LearnedEntry> {
  const looks = storesInOrder(core).map(async (stores) => {
    const entry = await highestIn(core, stores);
    if (entry === undefined) throw unknownControl(undefined);
    return entry;
  });
  const [own, ...others] = looks;
  const [ownEntry, otherEntry] = await Promise.allSettled([own!, Promise.any(others)]);
  const found = [ownEntry, otherEntry].flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []));
  if (found.length === 0) throw unknownControl(ownEntry.status === 'rejected' ? ownEntry.reason : undefined);
  return found.reduce((a, b) => (b.entry.epoch > a.entry.epoch ? b : a));
}

async function highestIn(core: ControlCore, stores: Stores): Promise<LearnedEntry | undefined> {
  const epochs = await epochsIn(core, stores);
  for (const epoch of epochs.reverse()) {
    const previous =
      epoch === 1 ? undefined : (await call(core, stores, (journal) => journal.get(controlKey(epoch - 1))))?.bytes;
    if (epoch > 1 && previous === undefined) continue;
    const entry = await entryIn(core, stores, epoch, previous);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

const unknownControl = (cause: unknown) =>
  new SiteUnavailableError('control_unknown', 'no store that answers holds a control entry', 'control', { cause });

/** One entry of one journal, if it is there and follows `previous`; what does not is reported and not built on. */
async function entryIn(
  core: ControlCore,
  stores: Stores,
  epoch: number,
  previous: Uint8Array | undefined,
): Promise<LearnedEntry | undefined> {
  const key = controlKey(epoch);
  const found = await call(core, stores, (journal, signal) => journal.get(key, { signal }));
  if (found === undefined) return undefined;
  const link = parseLink(epoch, found.bytes, previous);
  if (!('fault' in link)) return link;
  await quarantine(core, key, link);
  return undefined;
}

/**
 * The entry of `epoch` as some journal shows it, unverified; `undefined` once two show none, or all have been asked. Looked
 * for before anything is decided there: a voter whose state came back from a backup, and that nobody has named as replaced
 * yet, has forgotten what it accepted, and with one that was away they would be two. Whoever has an entry decided spreads
 * it, so one of any two journals shows it.
 */
function shownAnywhere(core: ControlCore, epoch: number): Promise<Uint8Array | undefined> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  let silent = 0;
  const looks = storesInOrder(core).map(async (stores) => {
    const found = await call(core, stores, (journal, signal) => journal.get(controlKey(epoch), { signal }));
    if (found === undefined) silent += 1;
    if (found !== undefined || silent === 2) resolve(found?.bytes);
  });
  void Promise.allSettled(looks).then(() => resolve(undefined));
  return promise;
}

/** The entry of `epoch` from any journal that answers and holds it; its link is not verified again. */
export async function readEntry(core: ControlCore, epoch: number): Promise<LearnedEntry | undefined> {
  for (const stores of storesInOrder(core)) {
    try {
      const found = await call(core, stores, (journal, signal) => journal.get(controlKey(epoch), { signal }));
      const parsed = found === undefined ? undefined : controlEntries.parse(found.bytes);
      if (parsed !== undefined && 'fact' in parsed) return { entry: parsed.fact, bytes: found!.bytes };
    } catch (error) {
      core.log.warn('control.unread', { epoch, store: stores.id, error: told(error) });
    }
  }
  return undefined;
}

async function learnNext(core: ControlCore, head: LearnedEntry): Promise<LearnedEntry | undefined> {
  const epoch = head.entry.epoch + 1;
  const acceptors = acceptorsOf(core, head.entry);
  try {
    const value = await learn(acceptors, controlRegister(epoch), registerOptions(core));
    return value === undefined ? undefined : readDecided(epoch, value, head);
  } catch (error) {
    if (!isRetryable(error) || codeOf(error) === 'fact_unknown') throw error;
    core.log.warn('control.register_unread', { epoch, error: told(error) });
    return undefined;
  }
}

/**
 * A decided value that we cannot take: of a later version, which another process will understand, or a bug of ours.
 * Either way this process must not go on as if it were not there.
 */
function readDecided(epoch: number, value: Uint8Array, head: LearnedEntry): LearnedEntry {
  const link = parseLink(epoch, value, head.bytes);
  if (!('fault' in link)) return link;
  if (link.fault === 'unknown') throw new TransientError('fact_unknown', `control ${epoch}: ${link.detail}`);
  throw new InvariantError('control_invalid', `control ${epoch} was decided, but ${link.detail}`);
}

/** Writes a decided entry to every journal, the witness too; a store that does not take it gets it some other time. */
async function spread(core: ControlCore, { entry, bytes }: LearnedEntry): Promise<void> {
  const key = controlKey(entry.epoch);
  await Promise.all(
    storesInOrder(core).map(async (stores) => {
      try {
        const put = await call(core, stores, (journal, signal) => journal.putIfAbsent(key, bytes, { signal }));
        if (put.status === 'created') return;
        const there = await call(core, stores, (journal, signal) => journal.get(key, { signal }));
        if (there !== undefined && !equalBytes(there.bytes, bytes))
          core.log.error('fact.diverged', {
            key,
            store: stores.id,
            decided: sha256(bytes),
            found: sha256(there.bytes),
          });
      } catch (error) {
        core.log.warn('mirror.failed', { key, site: stores.id, error: told(error) });
      }
    }),
  );
}

const told = (error: unknown) => String((error as Error)?.message).slice(0, 200);
