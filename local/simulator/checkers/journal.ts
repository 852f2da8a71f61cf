import type { z } from 'zod';
import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import {
  type Acceptance,
  acceptanceSchema,
  type FactFault,
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
import { type Cloud, clouds, type World } from '../world.ts';
import type { Judge } from './judge.ts';

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
      const at = key.includes('/acceptances/') ? batchOfKey(key) : undefined;
      if (at === undefined || at.tenant === canaryTenant || found.has(at.batch)) continue;
      if (key.startsWith(acceptancesPrefix(at.tenant, at.batch))) found.set(at.batch, at);
    }
  return [...found.values()].sort((a, b) => (a.batch < b.batch ? -1 : 1));
}

const facts = new WeakMap<Uint8Array, { schema: z.ZodType; parsed: { fact: unknown } | FactFault }>();

/** As `parseFact`, each object once: what lies in a store never changes, and most judges look at it. Not to be written to. */
export function factOf<S extends z.ZodType>(schema: S, bytes: Uint8Array): { fact: z.infer<S> } | FactFault {
  const before = facts.get(bytes);
  if (before?.schema === schema) return before.parsed as { fact: z.infer<S> } | FactFault;
  const parsed = parseFact(schema, bytes);
  facts.set(bytes, { schema, parsed });
  return parsed;
}

/** The bytes under a key in the first journal that has them. */
export function anywhere(world: World, key: string): Uint8Array | undefined {
  return world.stores.aws.journal.peek(key) ?? world.stores.azure.journal.peek(key);
}

/** The acceptance that counts, earliest by time, then uuid: of all, or of those that some sites hold. */
export function acceptanceOf(
  world: World,
  { tenant, batch }: PlacedBatch,
  sites: readonly Cloud[] = clouds,
): Acceptance | undefined {
  const keys = new Set(sites.flatMap((site) => world.stores[site].journal.keysUnder(acceptancesPrefix(tenant, batch))));
  const facts = [...keys].flatMap((key) => {
    const parsed = factOf(acceptanceSchema, anywhere(world, key)!);
    return 'fact' in parsed ? [parsed.fact] : [];
  });
  return facts.sort((a, b) => a.at - b.at || (a.uuid < b.uuid ? -1 : 1))[0];
}

export function manifestOf(world: World, { tenant, batch }: PlacedBatch): Manifest | undefined {
  const bytes = anywhere(world, manifestKey(tenant, batch));
  const parsed = bytes === undefined ? undefined : factOf(manifestSchema, bytes);
  return parsed !== undefined && 'fact' in parsed ? parsed.fact : undefined;
}

export function publicationOf(
  world: World,
  { tenant, batch }: PlacedBatch,
  site?: (typeof clouds)[number],
): Publication | undefined {
  const key = publicationKey(tenant, batch);
  const bytes = site === undefined ? anywhere(world, key) : world.stores[site].journal.peek(key);
  const parsed = bytes === undefined ? undefined : factOf(publicationSchema, bytes);
  return parsed !== undefined && 'fact' in parsed ? parsed.fact : undefined;
}

const inputs = new WeakMap<World, Map<string, Uint8Array>>();

/** Input of a batch, also when its file was deleted since `inputsAreKept`; `undefined` if no journal ever held it. */
export function inputOf(world: World, placed: PlacedBatch): Uint8Array | undefined {
  const kept = inputs.get(world)?.get(placed.batch);
  const fileId = kept === undefined ? acceptanceOf(world, placed)?.fileId : undefined;
  return fileId === undefined ? kept : anywhere(world, fileContentKey(placed.tenant, fileId));
}

/** Judges nothing: keeps the input of every batch from its acceptance on. A client may delete the file while work goes on. */
export function inputsAreKept(world: World): Judge {
  const kept = new Map<string, Uint8Array>();
  inputs.set(world, kept);
  return {
    watcher: {
      created({ container }, key) {
        const placed = container === 'journal' && key.includes('/acceptances/') ? batchOfKey(key) : undefined;
        if (placed === undefined || placed.tenant === canaryTenant) return;
        const input = inputOf(world, placed);
        if (input !== undefined) kept.set(placed.batch, input);
      },
    },
  };
}

/** `custom_id` of every line that was accepted, in order; `undefined` where no journal ever held the input. */
export function acceptedIds(world: World, placed: PlacedBatch): readonly string[] | undefined {
  const input = inputOf(world, placed);
  return input === undefined ? undefined : idsOf(input);
}

const known = { lines: new WeakMap<Uint8Array, string[]>(), ids: new WeakMap<Uint8Array, string[]>() };

/** `custom_id` of each line of an input or output file as it lies in a store. */
export function idsOf(input: Uint8Array): readonly string[] {
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
