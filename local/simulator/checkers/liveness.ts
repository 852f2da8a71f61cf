import { acceptancesPrefix, openKey, parseResultKey, publicationKey } from '../../../shared/journal/keys.ts';
import { type Cloud, clouds, type World } from '../world.ts';
import { acceptedBatches, acceptedIds, type PlacedBatch } from './journal.ts';

/**
 * Why the world is not at rest, one sentence for each thing that is open: what every accepted batch waits for. Empty
 * when all is done.
 * @param lost a cloud that is gone for good: what was accepted in both must be published by the other, and what lay in
 *   the lost one alone is lost with it
 */
export function pending(world: World, lost?: Cloud): string[] {
  return acceptedBatches(world).flatMap((placed) => {
    const why = lost === undefined ? waitsFor(world, placed) : waitsAt(world, placed, lost);
    return why === undefined ? [] : [`${placed.batch} ${why}`];
  });
}

function waitsAt(world: World, { tenant, batch }: PlacedBatch, lost: Cloud): string | undefined {
  const { journal } = world.stores[lost === 'aws' ? 'azure' : 'aws'];
  const isHeld = journal.keysUnder(acceptancesPrefix(tenant, batch)).length > 0;
  if (!isHeld || journal.peek(publicationKey(tenant, batch)) !== undefined) return undefined;
  return `is not published by the cloud that is left, ${lost} being lost`;
}

function waitsFor(world: World, { tenant, batch }: PlacedBatch): string | undefined {
  const at = (key: string) => clouds.filter((site) => world.stores[site].journal.peek(key) !== undefined);
  const published = at(publicationKey(tenant, batch));
  const hints = clouds.filter((site) => world.stores[site].state.peek(openKey(tenant, batch)) !== undefined);
  if (published.length === 2)
    return hints.length === 0 ? undefined : `is published and still hinted at in ${hints.join(' and ')}`;
  if (published.length === 1) return `is published in ${published[0]} alone`;
  const keys = clouds.flatMap((site) => world.stores[site].journal.keysUnder(`t/${tenant}/batches/${batch}/`));
  const has = (part: string) => keys.some((key) => key.includes(`/${part}/`));
  if (hints.length === 0) return 'is open, and no hint tells of it';
  if (!has('plans')) return 'waits to be planned';
  if (!has('dispatches')) return 'is planned and waits to be sent';
  const lines = acceptedIds(world, { tenant, batch })?.length ?? 0;
  const answered = new Set<number>();
  for (const key of keys) {
    const name = parseResultKey(key);
    if (name === undefined || name.answered < name.lines) continue;
    for (let line = name.firstLine; line < name.firstLine + name.lines; line++) answered.add(line);
  }
  return answered.size < lines
    ? `waits for ${lines - answered.size} of ${lines} lines`
    : 'is answered and waits to be published';
}
