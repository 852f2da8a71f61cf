import { type HealthProfile, profileOf } from '../../../shared/health/types.ts';
import { controlSchema } from '../../../shared/journal/facts.ts';
import type { World } from '../world.ts';
import type { ControlHistory } from './control.ts';
import { factOf } from './journal.ts';
import type { Judge } from './judge.ts';

const hourMs = 3_600_000;
/**
 * What was wrong so long ago is no reason any more. A verdict holds back for an hour at most, and what is looked at now and
 * then only (models, canaries, sends) counts for 360 ticks (`rareWindows` in shared/health/windows.ts).
 */
const rememberedMs = ({ window, tickMs }: HealthProfile): number => Math.min(4 * hourMs, hourMs + 60 * window * tickMs);

/**
 * No site is failed over by a machine that nothing was wrong with: neither it, nor a way to it, nor what its models come
 * from. Whoever accuses a site that is well is sick himself, and has to notice (F43).
 */
export function onlyTheSickAreFailedOver(world: World, history: ControlHistory): Judge {
  const { record, scheduler, board, settings } = world;
  const forgivenMs = rememberedMs(profileOf(settings));
  const lastWrong = new Map<string, number>();
  board.onChange = () => {
    for (const { effect } of board.active)
      for (const site of ['aws', 'azure'])
        if (isAbout(effect.target, site)) lastWrong.set(site, Number.POSITIVE_INFINITY);
    for (const [site, until] of lastWrong)
      if (until === Number.POSITIVE_INFINITY && !board.active.some(({ effect }) => isAbout(effect.target, site)))
        lastWrong.set(site, scheduler.now);
  };
  return {
    watcher: {
      created({ container }, key, bytes) {
        if (container !== 'journal' || !/^control\/\d{8}\.json$/.test(key)) return;
        const parsed = factOf(controlSchema, bytes);
        if ('fault' in parsed || !parsed.fact.actor.startsWith('monitor/')) return;
        const { epoch, sites, reason } = parsed.fact;
        const before = history.entries.get(epoch - 1)?.entry;
        for (const [id, { state }] of Object.entries(sites)) {
          if (state !== 'fenced' || before?.sites[id]?.state === 'fenced') continue;
          const wrongUntil = lastWrong.get(id) ?? Number.NEGATIVE_INFINITY;
          if (scheduler.now - wrongUntil > forgivenMs)
            record.violated('false-alarm', `${id} was failed over although nothing was wrong with it: ${reason}`);
        }
      },
    },
  };
}

function isAbout(target: string, site: string): boolean {
  return (
    target === site || target.startsWith(`${site}.`) || target.endsWith(`-to-${site}`) || target.startsWith('provider')
  );
}
