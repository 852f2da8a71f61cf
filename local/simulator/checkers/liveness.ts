import { openKey, parseResultKey, publicationKey } from '../../../shared/journal/keys.ts';
import { clouds, type World } from '../world.ts';
import { acceptedBatches, acceptedIds, type PlacedBatch } from './journal.ts';

/**
 * Why the world is not at rest, one sentence for each thing that is open: what every accepted batch waits for. Empty
 * when all is done.
 */
export function pending(world: World): string[] {
  return acceptedBatches(world).flatMap((placed) => {
    const why = waitsFor(world, placed);
    return why === undefined ? [] : [`${placed.batch} ${why}`];
  });
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
