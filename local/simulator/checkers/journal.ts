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
import {
  acceptancesPrefix,
  batchOfKey,
  fileContentKey,
  manifestKey,
  publicationKey,
} from '../../../shared/journal/keys.ts';
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
  return input === undefined ? undefined : linesOf(input).map((line) => JSON.parse(line).custom_id as string);
}

export function linesOf(bytes: Uint8Array): string[] {
  return Buffer.from(bytes)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '');
}
