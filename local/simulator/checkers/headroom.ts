import { dispatchSchema } from '../../../shared/journal/facts.ts';
import { redriveLimits } from '../../../shared/redrive/plan.ts';
import type { World } from '../world.ts';
import { factOf } from './journal.ts';
import type { Judge } from './judge.ts';

/**
 * I14: redrive never sends a site more in one tick than a wave may hold, two sweepers at once allowed for. That own work
 * keeps its reserve shows in the waves alone and not in the record of small runs.
 */
export function takeoverIsBounded({ record, settings }: World): Judge {
  const { waveMax } = redriveLimits(settings.tickMs);
  const seen = new Set<string>();
  const sent = new Map<string, { at: number; pointers: number }[]>();
  return {
    watcher: {
      created({ container }, key, bytes) {
        if (container !== 'journal' || !key.includes('/dispatches/') || seen.has(key)) return;
        seen.add(key);
        const parsed = factOf(dispatchSchema, bytes);
        if ('fault' in parsed || parsed.fact.reason !== 'redrive') return;
        const { to, at, ranges } = parsed.fact;
        const recent = (sent.get(to) ?? []).filter((one) => at - one.at < settings.tickMs / 2);
        recent.push({ at, pointers: ranges.length });
        sent.set(to, recent);
        const pointers = recent.reduce((sum, one) => sum + one.pointers, 0);
        if (pointers > 2 * waveMax)
          record.violated('I14', `${pointers} pointers were sent to ${to} within half a tick`);
      },
    },
  };
}
