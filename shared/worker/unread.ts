import { type Core, ownSite } from '../core.ts';
import { sha256 } from '../journal/json.ts';
import { parseUnreadKey, unreadKey, unreadPrefix } from '../journal/keys.ts';
import { bounded } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { QueuePart } from '../ports/queue.ts';
import type { DurationMs } from '../units.ts';

/**
 * A pointer of a later version stays in its queue until somebody knows it, and the depth of that queue counts it. Whoever
 * judges by the depth whether a queue has lost a pointer must know of such messages, or each of them hides one that is
 * lost. So workers that cannot read one write a small object in the `state` of their site, anew each hour.
 */
const hourMs: DurationMs = 3_600_000;

/** Tells the own site's sweeper of a message that nobody here can read. A hint: never rejects. */
export async function tellUnread(core: Core, part: QueuePart, text: string): Promise<void> {
  const hour = Math.floor(core.clock.now() / hourMs);
  const key = unreadKey(part, hour, sha256(Buffer.from(text, 'utf8')));
  try {
    await bounded(core, core.self, (signal) => ownSite(core).state.putIfAbsent(key, new Uint8Array([1]), { signal }));
  } catch (error) {
    core.log.debug('unread.untold', { error: String((error as Error)?.message).slice(0, 200) });
  }
}

/** Messages of one own queue that nobody here could read within the last hour; forgets those before. Never rejects. */
export async function countUnread(core: Core, part: QueuePart): Promise<number> {
  const { state } = ownSite(core);
  const hour = Math.floor(core.clock.now() / hourMs);
  const known = new Set<string>();
  try {
    for await (const { key } of listAll(state, unreadPrefix(part))) {
      const one = parseUnreadKey(key);
      // The longest pause between two deliveries is half an hour.
      if (one !== undefined && one.hour >= hour - 1) known.add(one.hash);
      else await state.delete(key);
    }
  } catch (error) {
    core.log.debug('unread.uncounted', { error: String((error as Error)?.message).slice(0, 200) });
  }
  return known.size;
}
