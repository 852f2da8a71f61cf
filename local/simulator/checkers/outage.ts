import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { batchOfKey, parseResultKey } from '../../../shared/journal/keys.ts';
import { parsePointer } from '../../../shared/worker/pointers.ts';
import { marks } from '../services/model.ts';
import { clouds, type World } from '../world.ts';
import { inputOf, linesOf, resultOf } from './journal.ts';
import type { Judge } from './judge.ts';

/**
 * I10: no line is failed or dead-lettered because something was down. A line may be refused only if it asked for it, and
 * a message be set aside only if nobody can read it.
 */
export function outageIsNoPoison(world: World): Judge {
  const { record, queues } = world;
  return {
    watcher: {
      created({ container }, key, bytes) {
        const at = container === 'journal' && parseResultKey(key) !== undefined ? batchOfKey(key) : undefined;
        if (at === undefined || at.tenant === canaryTenant) return;
        const object = resultOf(world, key, bytes);
        if ('fault' in object) return;
        for (const row of object.rows) {
          const isBad = row.outcome === 'failed' || (row.outcome === 'answered' && row.status >= 300);
          if (!isBad) continue;
          const input = inputOf(world, at);
          const line = input === undefined ? '' : (linesOf(input)[row.line] ?? '');
          if (line.includes(marks.poison)) record.reach('poison line refused');
          else record.violated('I10', `line ${row.line} of ${at.batch} failed, and nothing was wrong with it`);
        }
      },
    },
    atEnd() {
      for (const site of clouds)
        for (const part of ['intake', 'work'] as const)
          for (const { body, reason } of queues[site][part].deadLetters)
            if (!('fault' in parsePointer(body)))
              record.violated('I10', `${site}/${part} dead-lettered a pointer (${reason}): ${body.slice(0, 200)}`);
    },
  };
}

/** I15: a pointer of a later version is put back, never dropped and never dead-lettered, as long as its queue lives. */
export function laterVersionsAreKept(world: World, planted: { site: 'aws' | 'azure'; body: string }[]): Judge {
  const { record, queues } = world;
  return {
    atEnd() {
      for (const { site, body } of planted) {
        const { intake, work } = queues[site];
        if (record.reached.has('queue lost its messages')) continue;
        if (![...intake.bodies(), ...work.bodies()].includes(body))
          record.violated('I15', `a pointer of a later version is no longer in the queues of ${site}`);
        else record.reach('later version kept');
      }
    },
  };
}
