import * as z from 'zod';
import type { BreakerBoard, BreakerNote } from '../batching/breaker.ts';
import type { Core } from '../core.ts';
import { factVersion, parseFact } from '../journal/facts.ts';
import { canonicalBytes } from '../journal/json.ts';
import { breakersKey } from '../journal/keys.ts';
import { withDeadline } from '../ports/deadline.ts';
import type { PutResult, ReplaceResult } from '../ports/object-store.ts';
import type { Site } from '../ports/site.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { breakerNoteSchema } from './breaker-note.ts';
import { readObservations } from './observation.ts';

/** What breakers need of `Core`. */
export type BreakerCore = Pick<Core, 'self' | 'sites' | 'clock' | 'log' | 'settings'>;

const breakersSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('breakers'),
  notes: z.array(breakerNoteSchema).max(1000),
});

/** A site has few backends; what is more than so many is not told. */
const notesMax = 50;
/** A breaker that closed is told of for so long, then it is nothing special any more. */
const closedKeptMs: DurationMs = 10 * 60_000;
/** One that opened so long ago and was never heard of again belongs to nobody any more. */
const openKeptMs: DurationMs = 60 * 60_000;

/**
 * Where the workers of a site tell each other which backends answer, and hear it of the other sites: one small object in
 * the site's own `state`, written when a breaker opens or closes, when a refusal turns out not to be believed, and while a
 * backend serves some calls and has no place for others; its monitor carries it over in its observation.
 *
 * Both are hints. What is lost or late costs some calls that fail; nothing waits for it, and neither method rejects.
 */
export function breakerBoard(core: BreakerCore): BreakerBoard {
  const own = core.sites.get(core.self)!;
  let read: { at: EpochMs; notes: Promise<readonly BreakerNote[]> } | undefined;
  return {
    read() {
      const now = core.clock.now();
      if (read === undefined || now - read.at >= core.settings.tickMs / 2)
        read = { at: now, notes: readAll(core, own) };
      return read.notes;
    },
    write: (note) => write(core, own, note),
  };
}

async function readAll(core: BreakerCore, own: Site): Promise<readonly BreakerNote[]> {
  const peers = [...core.sites.keys()].filter((site) => site !== core.self);
  // The own store has what every monitor wrote, and is asked anyway.
  const near = { ...core, sites: new Map([[core.self, own]]) };
  const [ours, theirs] = await Promise.all([
    readBreakers(core, own),
    readObservations(near, new Map(), peers).catch(() => []),
  ]);
  const told = theirs.flatMap(({ observation: { home, breakers } }) =>
    (breakers ?? []).filter(({ site }) => site === home),
  );
  return [...ours, ...told];
}

/** What the workers of one site told last, without what is long over; nothing where it cannot be read. */
export async function readBreakers(core: Omit<BreakerCore, 'self'>, site: Site): Promise<BreakerNote[]> {
  try {
    const found = await bounded(core, site, (signal) => site.state.get(breakersKey(site.id), { signal }));
    return found === undefined ? [] : notesIn(found.bytes, core.clock.now());
  } catch {
    return [];
  }
}

function notesIn(bytes: Uint8Array, now: EpochMs): BreakerNote[] {
  const parsed = parseFact(breakersSchema, bytes);
  return 'fact' in parsed ? parsed.fact.notes.filter((note) => isNews(note, now)) : [];
}

function isNews({ state, at: said }: BreakerNote, now: EpochMs): boolean {
  return now - said <= (state === 'open' ? openKeptMs : closedKeptMs);
}

/** A few times: other processes of the site see the same outage in the same second. */
async function write(core: BreakerCore, own: Site, note: BreakerNote): Promise<void> {
  const key = breakersKey(own.id);
  try {
    for (let round = 0; round < 3; round++) {
      const found = await bounded(core, own, (signal) => own.state.get(key, { signal }));
      const known = found === undefined ? [] : notesIn(found.bytes, core.clock.now());
      const notes = withNote(known, note);
      if (notes === undefined) return;
      const bytes = canonicalBytes({ v: factVersion, kind: 'breakers', notes });
      const put = await bounded(
        core,
        own,
        async (signal): Promise<PutResult | ReplaceResult> =>
          found === undefined
            ? own.state.putIfAbsent(key, bytes, { signal })
            : own.state.putIfMatch(key, bytes, found.etag, { signal }),
      );
      if ('etag' in put) return;
    }
  } catch (error) {
    core.log.debug('breaker.untold', { error: String((error as Error)?.message).slice(0, 200) });
  }
}

/** `undefined` where others said it already. */
export function withNote(known: readonly BreakerNote[], note: BreakerNote): BreakerNote[] | undefined {
  const isSame = (one: BreakerNote) => one.backend === note.backend && one.model === note.model;
  const before = known.find(isSame);
  if (before !== undefined) {
    if (before.at > note.at) return undefined;
    const saysNothingNew =
      before.state === note.state && before.until >= note.until && doubtOf(before) >= doubtOf(note);
    if (saysNothingNew && before.state === 'open') return undefined;
  }
  // It has been open since the first of them saw it so.
  const since = before?.state === 'open' && note.state === 'open' ? Math.min(before.since, note.since) : note.since;
  // Refused and then served in one process is known to all that come after it.
  const doubtedUntil = Math.max(doubtOf(note), before === undefined ? 0 : doubtOf(before));
  const serves = note.serves ?? before?.serves;
  const whole = { ...note, since, ...(doubtedUntil > note.at && { doubtedUntil }), ...(serves && { serves }) };
  return [whole, ...known.filter((one) => !isSame(one))].slice(0, notesMax);
}

const doubtOf = ({ doubtedUntil = 0 }: BreakerNote): EpochMs => doubtedUntil;

function bounded<T>(
  core: Omit<BreakerCore, 'self'>,
  site: Site,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withDeadline(core.clock, core.settings.peerTimeoutMs, site.id, call);
}
