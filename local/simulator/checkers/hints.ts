import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { publicationSchema } from '../../../shared/journal/facts.ts';
import { acceptancesPrefix, batchOfKey, openPrefix, outputKey, publicationKey } from '../../../shared/journal/keys.ts';
import { clouds, type World } from '../world.ts';
import { factOf } from './journal.ts';
import type { Judge } from './judge.ts';

/**
 * F57: a hint goes only when the decided publication and all its files lie in both journals; until then listing hints
 * must find the batch. A batch that nobody accepted needs none.
 */
export function hintsOutliveTheirBatches({ record, stores }: World): Judge {
  return {
    watcher: {
      deleted({ container, site }, key) {
        const at = container === 'state' && key.startsWith(openPrefix) ? batchOfKey(key) : undefined;
        if (at === undefined || at.tenant === canaryTenant) return;
        const { tenant, batch } = at;
        const isAccepted = clouds.some(
          (one) => stores[one].journal.keysUnder(acceptancesPrefix(tenant, batch)).length > 0,
        );
        if (!isAccepted) return;
        for (const one of clouds) {
          const bytes = stores[one].journal.peek(publicationKey(tenant, batch));
          const parsed = bytes === undefined ? undefined : factOf(publicationSchema, bytes);
          if (parsed === undefined || 'fault' in parsed) {
            record.violated('I1', `${site} forgot ${batch} before ${one} had its publication`);
            continue;
          }
          const { output, errorFile, choice } = parsed.fact;
          for (const file of [output, errorFile, choice])
            if (file !== null && stores[one].journal.peek(outputKey(tenant, file.sha256)) === undefined)
              record.violated('I1', `${site} forgot ${batch} before ${one} had the files of its publication`);
        }
      },
    },
  };
}
