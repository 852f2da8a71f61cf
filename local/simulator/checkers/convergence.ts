import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { equalBytes } from '../../../shared/journal/json.ts';
import { fileDeletedKey, fileMetaKey, outputKey } from '../../../shared/journal/keys.ts';
import { clouds, type World } from '../world.ts';
import { acceptedBatches, publicationOf } from './journal.ts';
import type { Judge } from './judge.ts';

/** Keys that one journal lacks or holds otherwise, and that belong to both. */
export function differences(world: World): string[] {
  const [aws, azure] = [world.stores.aws.journal, world.stores.azure.journal];
  let named: Set<string> | undefined;
  const mayDiffer = (key: string): boolean => {
    const [top, tenant, part, id] = key.split('/');
    if (top !== 't') return false;
    if (tenant === canaryTenant) return true;
    if (part === 'outputs') {
      named ??= namedOutputs(world);
      return !named.has(key);
    }
    if (part !== 'files' || !key.endsWith('/content')) return false;
    // An upload that never became a file, or one that was deleted.
    const has = (name: string) => clouds.some((site) => world.stores[site].journal.peek(name) !== undefined);
    return !has(fileMetaKey(tenant!, id!)) || has(fileDeletedKey(tenant!, id!));
  };
  const keys = new Set(
    ['t/', 'control/', 'keys/'].flatMap((prefix) => [...aws.keysUnder(prefix), ...azure.keysUnder(prefix)]),
  );
  return [...keys].filter((key) => {
    const [a, b] = [aws.peek(key), azure.peek(key)];
    return (a === undefined || b === undefined || !equalBytes(a, b)) && !mayDiffer(key);
  });
}

/** Keys of the files that publications name. */
function namedOutputs(world: World): Set<string> {
  const named = new Set<string>();
  for (const placed of acceptedBatches(world)) {
    const publication = publicationOf(world, placed);
    for (const file of [publication?.output, publication?.errorFile, publication?.choice])
      if (file != null) named.add(outputKey(placed.tenant, file.sha256));
  }
  return named;
}

/** I8: once the links are well, both journals reach equal key sets and bytes without anyone's help. */
export function journalsConverge(world: World): Judge {
  return {
    atEnd() {
      const differing = differences(world);
      if (differing.length > 0)
        world.record.violated('I8', `${differing.length} facts lie in one journal alone, first ${differing[0]}`);
    },
  };
}
