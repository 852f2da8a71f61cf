import * as z from 'zod';
import type { Core } from '../core.ts';
import { factVersion, parseFact } from '../journal/facts.ts';
import { canonicalBytes, equalBytes, sha256 } from '../journal/json.ts';
import { controlKey, controlPrefix, parseControlSoloKey, supersededKey, supersededPrefix } from '../journal/keys.ts';
import { bounded, type JournalCore } from '../journal/replicas.ts';
import { listAll } from '../ports/object-store.ts';
import type { Site } from '../ports/site.ts';
import type { EpochMs } from '../units.ts';

/**
 * What one store and a person decided, was in force there for a while, and was beaten by what a majority decided, or by
 * another store. It is kept under its own name, and reported for as long as it is kept: somebody may have acted on it.
 */
export interface Superseded {
  /** Key of the solo fact, readable in the journals. */
  key: string;
  /** Key of what stands instead. */
  by: string;
  /** When it was noticed, by the clock of who noticed; absent where it was noticed just now. */
  at?: EpochMs;
}

const reportSchema = z.object({
  v: z.literal(factVersion),
  kind: z.literal('superseded'),
  key: z.string().max(1024),
  by: z.string().max(1024),
  at: z.int().min(0),
});

/** Reports, once per key, in the own `state`; never throws. */
export async function reportSuperseded(
  core: Pick<Core, 'self' | 'sites' | 'clock' | 'log' | 'settings'>,
  key: string,
  by: string,
): Promise<void> {
  core.log.error('decision.superseded', { key, by });
  const report = { v: factVersion, kind: 'superseded', key, by, at: Math.floor(core.clock.now()) };
  await bounded(core, core.self, (signal) =>
    core.sites
      .get(core.self)!
      .state.putIfAbsent(supersededKey(sha256(key).slice(0, 32)), canonicalBytes(report), { signal }),
  ).catch((error) => core.log.warn('superseded.unreported', { key, error: String(error?.message).slice(0, 200) }));
}

/** Everything that was superseded, as far as the sites that answer tell: publications from reports, control entries from the log. */
export async function readSuperseded(core: JournalCore): Promise<Superseded[]> {
  const found = await Promise.all(
    [...core.sites.values()]
      .flatMap((site) => [reports(core, site), controlEntries(core, site)])
      .map((one) => one.catch((): Superseded[] => [])),
  );
  const byKey = new Map(found.flat().map((one) => [one.key, one]));
  return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function reports(core: JournalCore, { id, state }: Site): Promise<Superseded[]> {
  const page = await bounded(core, id, (signal) => state.list(supersededPrefix, { signal }));
  const read = await Promise.all(
    page.entries.map(async ({ key }) => {
      const object = await bounded(core, id, (signal) => state.get(key, { signal }));
      const parsed = object === undefined ? undefined : parseFact(reportSchema, object.bytes);
      return parsed !== undefined && 'fact' in parsed ? [parsed.fact] : [];
    }),
  );
  return read.flat().map(({ key, by, at }) => ({ key, by, at }));
}

async function controlEntries(core: JournalCore, { id, journal }: Site): Promise<Superseded[]> {
  const keys = await bounded(core, id, async (signal) =>
    (await Array.fromAsync(listAll(journal, controlPrefix, { signal }))).map(({ key }) => key),
  );
  const solos = keys.flatMap((key) => parseControlSoloKey(key) ?? []);
  const beaten = await Promise.all(
    solos.map(async ({ key, epoch }) => {
      const [solo, joint] = await Promise.all(
        [key, controlKey(epoch)].map((one) => bounded(core, id, (signal) => journal.get(one, { signal }))),
      );
      const isBeaten = solo !== undefined && joint !== undefined && !equalBytes(solo.bytes, joint.bytes);
      return isBeaten ? [{ key, by: controlKey(epoch) }] : [];
    }),
  );
  return beaten.flat();
}
