import { noUsage, type Publication } from '../../shared/journal/facts.ts';
import type { EpochMs } from '../../shared/units.ts';

/** A batch of two lines, answered within three seconds from `at` on, whose files nobody names. */
export function publicationOf(batch: string, more: Partial<Publication> = {}, at: EpochMs = 0): Publication {
  return {
    v: 1,
    kind: 'publication',
    batch,
    tenant: 'acme',
    status: 'completed',
    site: 'aws',
    epoch: 1,
    counts: { total: 2, completed: 2, failed: 0 },
    usage: noUsage,
    model: 'm',
    output: null,
    errorFile: null,
    choice: null,
    errors: [],
    repeats: 0,
    inProgressAt: at + 1000,
    finalizingAt: at + 2000,
    cancellingAt: null,
    endedAt: at + 3000,
    boundTo: null,
    ...more,
  };
}
