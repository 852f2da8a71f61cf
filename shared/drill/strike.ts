import type { SiteId } from '../ports/site.ts';
import { isHeldElsewhere } from './batches.ts';
import type { DrillState } from './facts.ts';
import type { Drill } from './file.ts';
import { concernsProduction, openProduction } from './production.ts';
import type { TurnCore } from './turns.ts';

/**
 * The state at the first fault or command: from here on everything is measured. What is open now, and whether the
 * survivors hold it, is what RPO and the verdict on production go by. Later ones change nothing.
 * @param site the one that is struck, where the drill names none
 */
export async function struckState(
  core: TurnCore,
  drill: Drill,
  state: DrillState,
  site: SiteId | undefined,
): Promise<DrillState> {
  if (state.faultAt !== null) return state;
  const faultAt = core.clock.now();
  const lost = drill.holdfast.site ?? site;
  const batches = await Promise.all(
    state.batches.map(async (one) => ({
      ...one,
      wasHeld: lost === undefined ? null : await isHeldElsewhere(core, one.batch, lost),
    })),
  );
  const struck = { ...state, faultAt, batches };
  if (!concernsProduction(drill)) return struck;
  const { batches: production, total } = await openProduction(core, lost);
  return { ...struck, production, productionTotal: total };
}
