import type { Core } from '../core.ts';
import { viewBatchOrWait } from '../journal/batch.ts';
import type { Pointer } from '../journal/facts.ts';
import { dispatch, locateRange } from './dispatch.ts';

/**
 * Sends the two halves of a range that kills its workers, so that the line which does it ends up alone. The halves go to
 * this site: whoever asks is the one whose workers die.
 * @throws SiteUnavailableError, TransientError to be tried again
 */
export async function splitRange(core: Core, pointer: Extract<Pointer, { kind: 'split' }>): Promise<void> {
  const view = await viewBatchOrWait(core, pointer.tenant, pointer.batch);
  if (view?.plan === undefined || view.publication !== undefined || pointer.lines < 2) return;
  const { plan } = view;
  const half = Math.ceil(pointer.lines / 2);
  const ranges = await Promise.all([
    locateRange(core, view, plan, pointer.firstLine, half),
    locateRange(core, view, plan, pointer.firstLine + half, pointer.lines - half),
  ]);
  await dispatch(core, view, plan, { to: core.self, reason: 'split', ranges, repeat: true });
}
