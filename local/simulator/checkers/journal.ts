import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import {
  type Acceptance,
  acceptanceSchema,
  type Manifest,
  manifestSchema,
  type Publication,
  parseFact,
  publicationSchema,
} from '../../../shared/journal/facts.ts';
import { equalBytes } from '../../../shared/journal/json.ts';
import {
  acceptancesPrefix,
  batchOfKey,
  fileContentKey,
  manifestKey,
  publicationKey,
} from '../../../shared/journal/keys.ts';
import { parseResult } from '../../../shared/journal/results.ts';
import { clouds, type World } from '../world.ts';

/** The journals as they lie in the stores, read past every port. */

export interface PlacedBatch {
  tenant: string;
  batch: string;
}

/** Every batch that some journal holds an acceptance of, canaries apart. */
export function acceptedBatches(world: World): PlacedBatch[] {
  const found = new Map<string, PlacedBatch>();
  for (const site of clouds)
    for (const key of world.stores[site].journal.keysUnder('t/')) {
      const at = batchOfKey(key);
      if (at === undefined || at.tenant === canaryTenant || found.has(at.batch)) continue;
      if (key.startsWith(acceptancesPrefix(at.tenant, at.batch))) found.set(at.batch, at);
    }
  return [...found.values()].sort((a, b) => (a.batch < b.batch ? -1 : 1));
}

/** The bytes under a key in the first journal that has them. */
export function anywhere(world: World, key: string): Uint8Array | undefined {
  return world.stores.aws.journal.peek(key) ?? world.stores.azure.journal.peek(key);
}

/** The acceptance that counts: earliest by time, then uuid. */
export function acceptanceOf(world: World, { tenant, batch }: PlacedBatch): Acceptance | undefined {
  const keys = new Set(
    clouds.flatMap((site) => world.stores[site].journal.keysUnder(acceptancesPrefix(tenant, batch))),
  );
  const facts = [...keys].flatMap((key) => {
    const parsed = parseFact(acceptanceSchema, anywhere(world, key)!);
    return 'fact' in parsed ? [parsed.fact] : [];
  });
  return facts.sort((a, b) => a.at - b.at || (a.uuid < b.uuid ? -1 : 1))[0];
}

export function manifestOf(world: World, { tenant, batch }: PlacedBatch): Manifest | undefined {
  const bytes = anywhere(world, manifestKey(tenant, batch));
  const parsed = bytes === undefined ? undefined : parseFact(manifestSchema, bytes);
  return parsed !== undefined && 'fact' in parsed ? parsed.fact : undefined;
}

export function publicationOf(
  world: World,
  { tenant, batch }: PlacedBatch,
  site?: (typeof clouds)[number],
): Publication | undefined {
  const key = publicationKey(tenant, batch);
  const bytes = site === undefined ? anywhere(world, key) : world.stores[site].journal.peek(key);
  const parsed = bytes === undefined ? undefined : parseFact(publicationSchema, bytes);
  return parsed !== undefined && 'fact' in parsed ? parsed.fact : undefined;
}

/** `custom_id` of every line that was accepted, in order; `undefined` where no journal holds the input. */
export function acceptedIds(world: World, placed: PlacedBatch): string[] | undefined {
  const acceptance = acceptanceOf(world, placed);
  if (acceptance === undefined) return undefined;
  const input = anywhere(world, fileContentKey(placed.tenant, acceptance.fileId));
  return input === undefined ? undefined : idsOf(input);
}

const known = { lines: new WeakMap<Uint8Array, string[]>(), ids: new WeakMap<Uint8Array, string[]>() };

function idsOf(input: Uint8Array): string[] {
  const ids = known.ids.get(input) ?? linesOf(input).map((line) => JSON.parse(line).custom_id as string);
  known.ids.set(input, ids);
  return ids;
}

/** Lines of an object as it lies in a store: those bytes never change. */
export function linesOf(bytes: Uint8Array): readonly string[] {
  const lines =
    known.lines.get(bytes) ??
    Buffer.from(bytes)
      .toString('utf8')
      .split('\n')
      .filter((line) => line !== '');
  known.lines.set(bytes, lines);
  return lines;
}

/** Result objects by key, as they were parsed first: what lies in the other cloud under a key is mostly the same. */
const results = new WeakMap<World, Map<string, { bytes: Uint8Array; parsed: ReturnType<typeof parseResult> }>>();

/** As `parseResult`, each object once. */
export function resultOf(world: World, key: string, bytes: Uint8Array): ReturnType<typeof parseResult> {
  const all = results.get(world) ?? new Map();
  results.set(world, all);
  const before = all.get(key);
  if (before !== undefined && equalBytes(before.bytes, bytes)) return before.parsed;
  const parsed = parseResult(key, bytes);
  all.set(key, { bytes, parsed });
  return parsed;
}
