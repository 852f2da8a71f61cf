import { expect, test } from '@jest/globals';
import { acceptancesPrefix, fileContentKey } from '../../../shared/journal/keys.ts';
import { listAll } from '../../../shared/ports/object-store.ts';
import { withOutage } from './faults.ts';
import { other, victims } from './support.ts';

test.each(victims)(
  'while %s is away the other cloud accepts new batches, says that they are single, and mirrors them afterwards',
  (victim) =>
    withOutage(async (outage) => {
      const survivor = other(victim);
      outage.world.kill(victim);
      await outage.untilState(victim, 'fenced', survivor);
      const { batch, ids } = await outage.submitGenerated(survivor, 60, 'single');
      expect(batch.holdfast).toMatchObject({ receipt: 'single', home: survivor });
      await outage.expectComplete(survivor, batch, ids);
      await outage.world.restart(victim);
      await outage.untilReturned(victim);
      await outage.untilConverged();
      const { journal } = outage.world.core.sites.get(victim)!;
      const acceptances = await Array.fromAsync(listAll(journal, acceptancesPrefix('local', batch.id)));
      expect(acceptances.length).toBeGreaterThan(0);
      expect(await journal.head(fileContentKey('local', batch.input_file_id))).toBeDefined();
      // The cloud that was away tells of it as the other one does.
      await outage.expectComplete(victim, batch, ids);
    }),
  900_000,
);
