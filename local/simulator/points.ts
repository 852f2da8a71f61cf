import type { LogFields } from '../../shared/ports/log.ts';
import { acceptanceOf, acceptedBatches, publicationOf } from './checkers/journal.ts';
import { clouds, type World } from './world.ts';

/** Points that processes tell of. */
export function notePoint(world: World, event: string, fields: LogFields): void {
  const { record } = world;
  if (event === 'publication.decided')
    record.reach(fields.own === true ? 'own value decided' : 'value of another adopted');
  else if (event === 'control.lost') record.reach('control proposal lost');
  else if (event === 'fact.quarantined') record.reach('fact quarantined');
  else if (event === 'peer.unanswered') record.reach('peer did not answer intake');
  else if (event === 'refusals.doubted') record.reach('refusals doubted');
  else if (event === 'register.vote_missed') record.reach('vote missed');
  else if (event === 'idempotency.split') record.reach('one key, two batches');
  else if (event === 'chunk.givenBack') record.reach('chunk given back');
  else if (event === 'site.judged' && fields.health === 'down') record.reach('site judged down');
}

/** Points that queues, network and journals tell of at the end. */
export function noteQueues(world: World): void {
  const { record } = world;
  for (const site of clouds)
    for (const part of ['intake', 'work'] as const) {
      const { duplicates, lostLeases, expired, staleSettlements } = world.queues[site][part].seen;
      for (const [point, count] of Object.entries({
        'message handed out twice': duplicates,
        'lease lost early': lostLeases,
        'lease expired': expired,
        'settled too late': staleSettlements,
      }))
        if (count > 0) record.reach(point);
    }
  if ((world.board.met.drop_reply ?? 0) > 0) record.reach('reply lost');
  if (world.network.lostWrites > 0) record.reach('reply lost, write had succeeded');
  for (const placed of acceptedBatches(world)) {
    if (acceptanceOf(world, placed)?.receipt !== 'single') continue;
    const isBoth = clouds.every((site) => publicationOf(world, placed, site) !== undefined);
    if (isBoth) record.reach('single receipt mirrored later');
  }
  if (world.credits.throttled > 0) record.reach('namespace throttled');
}
