import * as z from 'zod';
import type { Core } from '../core.ts';
import { factVersion, parseFact } from '../journal/facts.ts';
import { canonicalBytes } from '../journal/json.ts';
import { heldKey } from '../journal/keys.ts';
import { after, withDeadline } from '../ports/deadline.ts';
import type { PutResult, ReplaceResult, StoredObject } from '../ports/object-store.ts';
import type { QueuePart } from '../ports/queue.ts';
import type { Site } from '../ports/site.ts';
import type { Settings } from '../settings.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { lookMs } from './probe.ts';
import { profileOf, windowMs } from './types.ts';

/**
 * Service Bus counts what is in work as waiting, so a queue of slow work looks like one that nobody polls. Whoever holds
 * messages for long says so: one small object in the `state` of the site, written by one worker of all at a time, which
 * those who watch the site take for messages in work.
 *
 * A hint. What is lost or late makes a site look unpolled for a moment longer, or less long.
 */

/** What telling and hearing of it needs of `Core`. */
export type HeldCore = Pick<Core, 'self' | 'sites' | 'clock' | 'ids' | 'log' | 'settings'>;

const parts = ['intake', 'work'] as const;

const heldSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('held'),
  /** When somebody said last that messages of the queue are in work; 0: never. By the clock of whoever said it. */
  intake: z.int().min(0),
  work: z.int().min(0),
  nonce: z.string(),
});
type Held = z.infer<typeof heldSchema>;

/** Messages in work are told of once they are held for so long, and each time so much later. */
export function heldPauseMs(settings: Pick<Settings, 'leaseMs' | 'health' | 'tickMs'>): DurationMs {
  return Math.min(settings.leaseMs, windowMs(profileOf(settings))) / 3;
}

/** Tells, until what it returns is called, that this process holds messages of a queue. Never throws. */
export function tellHeld(core: HeldCore, part: QueuePart): () => void {
  const pauseMs = heldPauseMs(core.settings);
  const again = () =>
    after(core.clock, pauseMs, () => {
      cancel = again();
      tell(core, part).catch((error) =>
        core.log.debug('held.untold', { error: String((error as Error)?.message).slice(0, 200) }),
      );
    });
  let cancel = again();
  return () => cancel();
}

async function tell(core: HeldCore, part: QueuePart): Promise<void> {
  const own = core.sites.get(core.self)!;
  const found = await read(core, own);
  const known = found === undefined ? undefined : heldIn(found);
  const now = core.clock.now();
  // Another worker may have told just now; by a clock that is ahead nobody has.
  const at = known?.[part] ?? 0;
  if (at <= now && now - at < heldPauseMs(core.settings) / 2) return;
  const told: Held = {
    v: factVersion,
    kind: 'held',
    intake: known?.intake ?? 0,
    work: known?.work ?? 0,
    [part]: now,
    nonce: core.ids.uuid(),
  };
  const bytes = canonicalBytes(told);
  await bounded(
    core,
    own,
    (signal): Promise<PutResult | ReplaceResult> =>
      found === undefined
        ? own.state.putIfAbsent(heldKey(own.id), bytes, { signal })
        : own.state.putIfMatch(heldKey(own.id), bytes, found.etag, { signal }),
  );
}

/** What one observer remembers of what one site told: when it saw each change, by its own clock. */
export type HeldMemory = Partial<Record<QueuePart, { told: EpochMs; seenAt: EpochMs }>>;

/**
 * The queues of a site whose workers said of late that they hold messages. Never rejects: nothing heard is nothing held.
 *
 * At the first look a moment is taken as it is told. After that only its change counts, and no clock has to be right.
 */
export async function lookAtHeld(
  core: Pick<HeldCore, 'clock' | 'settings'>,
  site: Site,
  memory: HeldMemory,
): Promise<ReadonlySet<QueuePart>> {
  const found = await read(core, site).catch(() => undefined);
  const heard = found === undefined ? undefined : heldIn(found);
  const now = core.clock.now();
  const lastsMs = 2 * heldPauseMs(core.settings);
  const held = parts.filter((part) => {
    const [before, told] = [memory[part], heard?.[part]];
    if (told !== undefined && told !== before?.told)
      memory[part] = { told, seenAt: before === undefined ? Math.min(told, now) : now };
    return now - (memory[part]?.seenAt ?? 0) <= lastsMs;
  });
  return new Set(held);
}

function heldIn({ bytes }: StoredObject): Held | undefined {
  const parsed = parseFact(heldSchema, bytes);
  return 'fact' in parsed ? parsed.fact : undefined;
}

function read(core: Pick<HeldCore, 'clock' | 'settings'>, site: Site): Promise<StoredObject | undefined> {
  return bounded(core, site, (signal) => site.state.get(heldKey(site.id), { signal }));
}

function bounded<T>(
  { clock, settings }: Pick<HeldCore, 'clock' | 'settings'>,
  site: Site,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withDeadline(clock, lookMs(settings), site.id, call);
}
