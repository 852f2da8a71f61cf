import { canaryTenant } from '../../../shared/health/canary-batch.ts';
import { cancelsPrefix, parseResultKey, publicationKey, resultsPrefix } from '../../../shared/journal/keys.ts';
import { parsePointer } from '../../../shared/worker/pointers.ts';
import { clouds, type World } from '../world.ts';
import type { ControlHistory } from './control.ts';
import { resultOf } from './journal.ts';
import type { Judge } from './judge.ts';

/**
 * I1, in work: a pointer leaves its queue only when what it asks for is durable somewhere. Its lines are answered, or
 * were tried and told of; its batch is over; the log has moved on, so that somebody else may have it; or its halves are
 * on their way. That the sweeper would send it again is no excuse.
 */
export function settledLast(world: World, history: ControlHistory): Judge {
  const { record, stores, queues, settings } = world;
  return {
    watcher: {
      completed(queue, body) {
        const parsed = parsePointer(body);
        if ('fault' in parsed || parsed.fact.kind !== 'chunk' || parsed.fact.tenant === canaryTenant) return;
        const { tenant, batch, firstLine, lines, epoch } = parsed.fact;
        if (history.entries.size > epoch) return;
        // Given back by way of a copy, or handed out twice.
        const isThere = clouds.some((site) => queues[site].work.bodies().includes(body));
        if (isThere) return;
        const has = (prefix: string) => clouds.some((site) => stores[site].journal.keysUnder(prefix).length > 0);
        if (has(publicationKey(tenant, batch)) || has(cancelsPrefix(tenant, batch))) return;
        const told = new Set<number>();
        for (const site of clouds)
          for (const key of stores[site].journal.keysUnder(resultsPrefix(tenant, batch))) {
            const name = parseResultKey(key)!;
            const covers = name.firstLine < firstLine + lines && firstLine < name.firstLine + name.lines;
            if (!covers) continue;
            const object = resultOf(world, key, stores[site].journal.peek(key)!);
            if ('fault' in object) continue;
            for (const { line, ...row } of object.rows)
              if (row.outcome !== 'retry' || (row.counts && settings.attemptsMax > 0)) told.add(line);
            if (object.header.start) for (let i = 0; i < name.lines; i++) told.add(name.firstLine + i);
          }
        const isTold = Array.from({ length: lines }, (_, i) => told.has(firstLine + i)).every(Boolean);
        const isSplit = clouds.some((site) =>
          queues[site].intake.bodies().some((one) => one.includes('"split"') && one.includes(batch)),
        );
        if (!isTold && !isSplit)
          record.violated(
            'I1',
            `${queue} let a pointer go to lines ${firstLine}+${lines} of ${batch}, and nobody answered them`,
          );
      },
    },
  };
}
