import type { Core } from '../core.ts';
import { SiteUnavailableError, TransientError } from '../errors.ts';
import { type BatchView, readDispatches, viewBatch, viewBatchOrWait } from '../journal/batch.ts';
import { factBytes, type Plan } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { fileContentKey, planKey } from '../journal/keys.ts';
import { putOwnFirst, streamAnywhere } from '../journal/replicas.ts';
import { withClaim } from './claim.ts';
import { dispatch } from './dispatch.ts';
import { placeOf, servingOf } from './owner.ts';
import { PlanBuilder } from './plan.ts';

/** What became of a request to plan. */
export type PlanOutcome = 'dispatched' | 'being-sent' | 'waiting' | 'refused' | 'cancelled' | 'nothing-to-do';

/**
 * Plans a batch that was accepted and sends its pointers to the owner's queue. Idempotent: a plan that is there is taken,
 * a batch that was dispatched, cancelled or published is left alone.
 * @throws SiteUnavailableError, TransientError to be tried again; what was done by then stays and is taken up
 */
export async function planBatch(core: Core, tenant: string, batch: string): Promise<PlanOutcome> {
  const view = await viewBatchOrWait(core, tenant, batch);
  if (view === undefined || view.publication !== undefined || view.dispatchKeys.length > 0) return 'nothing-to-do';
  const plan = view.plan ?? (await makePlan(core, view));
  if (plan.errors.length > 0) return 'refused';
  if (view.cancelKeys.length > 0) return 'cancelled';
  const control = await core.control.current();
  const planned = { ...view, plan };
  const place = placeOf(planned, await readDispatches(core, view), control, servingOf(core, planned));
  const { owner, isMoved } = place;
  if (place.isWaiting && owner !== undefined) {
    core.log.warn('batch.waiting', { batch, model: plan.model ?? '', reason: 'no active site may serve its model' });
    return 'waiting';
  }
  if (owner === undefined) throw new SiteUnavailableError('no_owner', 'no active site may work this batch', 'control');
  // A job may be asked to be planned twice at the same moment, by both doors or by a message that comes twice, and neither
  // planner sees the dispatch of the other yet. So one at a time sends, by a claim at the owner, to whose queue it goes.
  const outcome = await withClaim(core, owner, batch, async (): Promise<PlanOutcome> => {
    const latest = await viewBatch(core, tenant, batch);
    if (latest !== undefined && latest.dispatchKeys.length > 0) return 'nothing-to-do';
    // The other door's acceptance came meanwhile and makes it the other site's: that is where it is claimed now.
    if (latest !== undefined && placeOf({ ...latest, plan }, [], control, servingOf(core, planned)).owner !== owner)
      return 'being-sent';
    await dispatch(core, view, plan, {
      to: owner,
      reason: isMoved ? 'spillover' : 'plan',
      ranges: plan.chunks,
      // A plan that was there may have been sent by somebody who died before recording it.
      repeat: view.plan !== undefined,
    });
    return 'dispatched';
  });
  return outcome ?? 'being-sent';
}

/** Streams the input, builds the plan, and records it. */
export async function makePlan(core: Core, view: BatchView): Promise<Plan> {
  const { endpoint, inputSha256, boundTo } = view.manifest;
  const key = fileContentKey(view.tenant, view.acceptance.fileId);
  const input = await streamAnywhere(core, key);
  if (input === undefined) throw new SiteUnavailableError('input_missing', `${key} is in no store`, key);
  const builder = new PlanBuilder({
    batch: view.batch,
    inputSha256,
    endpoint,
    limits: endpoint === '/v1/embeddings' ? core.settings.chunks.embeddings : core.settings.chunks.text,
    knowsModel: (alias) => {
      const sites = core.models.sitesFor(alias, endpoint);
      return boundTo === null ? sites.length > 0 : sites.includes(boundTo);
    },
  });
  let seen = 0;
  for await (const piece of input.body) {
    builder.push(piece);
    seen += piece.byteLength;
    if (builder.isDecided) break;
  }
  if (!builder.isDecided && seen !== view.manifest.inputBytes)
    throw new TransientError('input_cut_off', `${key}: ${seen} of ${view.manifest.inputBytes} bytes`);
  const plan = builder.finish();
  const bytes = factBytes(plan);
  await putOwnFirst(core, planKey(view.tenant, view.batch, sha256(bytes)), bytes);
  core.log.info('batch.planned', {
    batch: view.batch,
    lines: plan.lines,
    chunks: plan.chunks.length,
    errors: plan.errors.length,
  });
  return plan;
}
