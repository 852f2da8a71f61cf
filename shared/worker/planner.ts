import { type Core, ownSite } from '../core.ts';
import { SiteUnavailableError, TransientError } from '../errors.ts';
import { type BatchView, readDispatches, viewBatch, viewBatchOrWait } from '../journal/batch.ts';
import { factBytes, type Plan } from '../journal/facts.ts';
import { sha256 } from '../journal/json.ts';
import { fileContentKey, planKey } from '../journal/keys.ts';
import { putOwnFirst, streamAnywhere } from '../journal/replicas.ts';
import { dispatch } from './dispatch.ts';
import { placeOf, servingOf } from './owner.ts';
import { PlanBuilder } from './plan.ts';

/** What became of a request to plan. */
export type PlanOutcome = 'dispatched' | 'left-to-owner' | 'waiting' | 'refused' | 'cancelled' | 'nothing-to-do';

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
  const send = async (): Promise<PlanOutcome> => {
    await dispatch(core, view, plan, {
      to: owner,
      reason: isMoved ? 'spillover' : 'plan',
      ranges: plan.chunks,
      // A plan that was there may have been sent by somebody who died before recording it.
      repeat: view.plan !== undefined,
    });
    return 'dispatched';
  };
  const isSentTwice =
    view.acceptedAt.length > 1 && core.clock.now() - view.acceptance.at < core.settings.dispatchLeaseMs;
  if (!isSentTwice) return send();
  return owner === core.self || !view.acceptedAt.includes(owner) ? sendOnce(core, view, send) : 'left-to-owner';
}

/**
 * One job sent to both doors at the same moment is asked to be planned twice, and neither planner sees the other's dispatch
 * yet: every line would be worked twice. So for one lease of time the owner is left to send it, if it has accepted it
 * itself, and of several planners the one whose claim stands; whoever dies with it is forgotten after that.
 */
async function sendOnce(core: Core, view: BatchView, send: () => Promise<PlanOutcome>): Promise<PlanOutcome> {
  const { state } = ownSite(core);
  const claim = `planning/${view.batch}`;
  if ((await state.putIfAbsent(claim, new Uint8Array([1]))).status === 'exists') return 'left-to-owner';
  try {
    const { dispatchKeys = [] } = (await viewBatch(core, view.tenant, view.batch)) ?? {};
    return dispatchKeys.length > 0 ? 'nothing-to-do' : await send();
  } finally {
    await state.delete(claim);
  }
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
