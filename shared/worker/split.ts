import type { Core } from '../core.ts';
import { type BatchView, readDispatches, viewBatchOrWait } from '../journal/batch.ts';
import type { Plan, Pointer } from '../journal/facts.ts';
import { dispatch, locateRange } from './dispatch.ts';
import { outstandingRanges } from './outstanding.ts';
import { isDead } from './owner.ts';

/**
 * Sends the two halves of a range that kills its workers, so that the line which does it ends up alone. The halves go to
 * this site: whoever asks is the one whose workers die. Of a range that was halved already nothing is sent: each copy of
 * its pointer asks for it, and the copies of its halves would be as many again. Halves that get lost the sweeper sends.
 * @throws SiteUnavailableError, TransientError to be tried again
 */
export async function splitRange(core: Core, pointer: Extract<Pointer, { kind: 'split' }>): Promise<void> {
  const view = await viewBatchOrWait(core, pointer.tenant, pointer.batch);
  if (view?.plan === undefined || view.publication !== undefined || pointer.lines < 2) return;
  const { plan } = view;
  if (await isHalved(core, view, plan, pointer)) return;
  const half = Math.ceil(pointer.lines / 2);
  const ranges = await Promise.all([
    locateRange(core, view, plan, pointer.firstLine, half),
    locateRange(core, view, plan, pointer.firstLine + half, pointer.lines - half),
  ]);
  await dispatch(core, view, plan, { to: core.self, reason: 'split', ranges, repeat: true });
}

/** Whether these lines were sent to this site in smaller ranges, which nothing has replaced. */
async function isHalved(
  core: Core,
  view: BatchView,
  plan: Plan,
  { firstLine, lines }: Extract<Pointer, { kind: 'split' }>,
): Promise<boolean> {
  const control = await core.control.current();
  const dispatches = await readDispatches(core, view);
  const inForce = outstandingRanges(dispatches, new Uint8Array(plan.lines), undefined, (one) => isDead(one, control));
  const over = inForce.filter((one) => one.firstLine < firstLine + lines && firstLine < one.firstLine + one.lines);
  return over.length > 0 && over.every((one) => one.to === core.self && one.lines < lines);
}
