import type { BatchView, PlacedResult } from '../journal/batch.ts';
import { deadlineOf, readDispatches, supersededBy, viewBatch } from '../journal/batch.ts';
import {
  type ControlEntry,
  cancelSchema,
  type Publication,
  type Receipt,
  type TerminalStatus,
  type ValidationError,
} from '../journal/facts.ts';
import { outputFileId } from '../journal/outputs.ts';
import { readFact } from '../journal/replicas.ts';
import type { SiteId } from '../ports/site.ts';
import { type EpochMs, unixSeconds } from '../units.ts';
import { activeSites } from '../worker/owner.ts';
import type { ApiCore } from './placement.ts';

/** Statuses of the OpenAI batch object. */
export type BatchStatus = TerminalStatus | 'validating' | 'in_progress' | 'finalizing' | 'cancelling';

/** Everything that the batch object is derived from. */
export interface BatchSnapshot
  extends Pick<BatchView, 'batch' | 'manifest' | 'acceptance' | 'plan' | 'results' | 'publication'> {
  /** First dispatch; `null` before. */
  inProgressAt: EpochMs | null;
  /** First cancellation; `null` where nobody asked for one. */
  cancellingAt: EpochMs | null;
  /** Sites that serve the batch's model; `undefined` while the model is not known. */
  servedBy: readonly SiteId[] | undefined;
  /** Publications that one site made alone, by hand, and that do not stand. Default none. */
  superseded?: readonly Publication[];
  /** Sites that may work it now; `undefined` where that is not known, or does not matter any more. */
  workingSites: readonly SiteId[] | undefined;
}

/** Reads what `batchObject` needs; `undefined` for a batch that was never accepted. */
export async function snapshotBatch(core: ApiCore, tenant: string, batch: string): Promise<BatchSnapshot | undefined> {
  const view = await viewBatch(core, tenant, batch);
  if (view === undefined) return undefined;
  const isOpen = view.publication === undefined;
  const isJoint = view.publication !== undefined && !view.isSolo;
  const [superseded, dispatches, cancels, control] = await Promise.all([
    isJoint ? supersededBy(core, view, view.publication!) : [],
    isOpen ? readDispatches(core, view) : [],
    isOpen ? Promise.all(view.cancelKeys.map((key) => readFact(core, cancelSchema, key))) : [],
    isOpen ? core.control.current().catch(() => undefined) : undefined,
  ]);
  const cancelledAt = cancels.flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact.at] : []));
  const model = view.publication?.model ?? view.plan?.model ?? null;
  return {
    ...view,
    inProgressAt: dispatches[0]?.at ?? null,
    cancellingAt: cancelledAt.length === 0 ? null : Math.min(...cancelledAt),
    servedBy: model === null ? undefined : core.models.sitesFor(model, view.manifest.endpoint),
    superseded: superseded.map(({ publication }) => publication),
    workingSites: control === undefined ? undefined : workingSites(control, view.dispatchKeys.length > 0),
  };
}

/** The Batch object of the OpenAI API, unset members `null`, with what only we can tell under `holdfast`. */
export interface BatchObject {
  id: string;
  object: 'batch';
  endpoint: string;
  model: string | null;
  errors: { object: 'list'; data: ValidationError[] } | null;
  input_file_id: string;
  completion_window: '24h';
  status: BatchStatus;
  output_file_id: string | null;
  error_file_id: string | null;
  created_at: number;
  in_progress_at: number | null;
  expires_at: number;
  finalizing_at: number | null;
  completed_at: number | null;
  failed_at: number | null;
  expired_at: number | null;
  cancelling_at: number | null;
  cancelled_at: number | null;
  request_counts: { total: number; completed: number; failed: number };
  usage: BatchUsage | null;
  metadata: Record<string, string> | null;
  holdfast: {
    receipt: Receipt;
    /** Site that plans and works it first. */
    home: SiteId;
    /** Site that accepted it. */
    accepted_by: SiteId;
    /** True if only one cloud serves its model, so that the other cannot take it over; `null` until the model is known. */
    unprotected: boolean | null;
    /** Why nobody works it now; `null` where somebody does, or it has ended. */
    waiting: string | null;
    /** Lines with a terminal result of each site; a line that two of them computed counts for both. */
    answered_by: Record<SiteId, number>;
    /** Lines that were computed more than once; `null` until the batch has ended. */
    repeats: number | null;
    /** How it ended at one site alone, for a while, by a person's force; the files are still there. */
    superseded: {
      decided_by: SiteId;
      status: TerminalStatus;
      output_file_id: string | null;
      error_file_id: string | null;
    }[];
  };
}

interface BatchUsage {
  input_tokens: number;
  input_tokens_details: { cached_tokens: number };
  output_tokens: number;
  output_tokens_details: { reasoning_tokens: number };
  total_tokens: number;
}

/**
 * Derives the Batch object. Pure. The publication alone says how a batch ended; before it, `completed` counts lines that
 * have a terminal result of either kind, since result names do not tell answers from failures.
 */
export function batchObject(batch: BatchSnapshot, now: EpochMs): BatchObject {
  const { manifest, acceptance, plan, publication } = batch;
  const answered = publication === undefined && isRunnable(plan) ? countAnswered(batch.results, plan.lines) : 0;
  const status = statusOf(batch, answered, now);
  const endedAt = (ending: TerminalStatus) =>
    publication?.status === ending ? unixSeconds(publication.endedAt) : null;
  return {
    id: batch.batch,
    object: 'batch',
    endpoint: manifest.endpoint,
    model: publication?.model ?? plan?.model ?? null,
    errors:
      publication !== undefined && publication.errors.length > 0 ? { object: 'list', data: publication.errors } : null,
    input_file_id: acceptance.fileId,
    completion_window: '24h',
    status,
    ...fileIdsOf(publication),
    created_at: unixSeconds(acceptance.at),
    in_progress_at: seconds(publication === undefined ? batch.inProgressAt : publication.inProgressAt),
    expires_at: unixSeconds(deadlineOf(batch)),
    finalizing_at: seconds(publication?.status === 'failed' ? null : publication?.finalizingAt),
    completed_at: endedAt('completed'),
    failed_at: endedAt('failed'),
    expired_at: endedAt('expired'),
    cancelling_at: seconds(publication === undefined ? batch.cancellingAt : publication.cancellingAt),
    cancelled_at: endedAt('cancelled'),
    request_counts: publication?.counts ?? { total: isRunnable(plan) ? plan.lines : 0, completed: answered, failed: 0 },
    usage: publication === undefined ? null : usageOf(publication),
    metadata: manifest.metadata,
    holdfast: {
      receipt: acceptance.receipt,
      home: acceptance.home,
      accepted_by: acceptance.site,
      unprotected: batch.servedBy === undefined ? null : batch.servedBy.length < 2,
      waiting: waitingFor(batch),
      answered_by: isRunnable(plan) ? answeredBy(batch.results, plan.lines) : {},
      repeats: publication?.repeats ?? null,
      superseded: (batch.superseded ?? []).map((one) => ({
        decided_by: one.site,
        status: one.status,
        ...fileIdsOf(one),
      })),
    },
  };
}

function fileIdsOf(publication: Publication | undefined) {
  return {
    output_file_id: publication?.output == null ? null : outputFileId(publication, 'output'),
    error_file_id: publication?.errorFile == null ? null : outputFileId(publication, 'error'),
  };
}

/** Active sites; a cordoned one finishes what it was given. */
function workingSites(control: ControlEntry, isDispatched: boolean): SiteId[] {
  const finishing = Object.keys(control.sites).filter((id) => control.sites[id]!.state === 'cordoned');
  return [...activeSites(control), ...(isDispatched ? finishing : [])];
}

/** A batch is worked where its model may be served and its payload may be; while no such site is active, it waits. */
function waitingFor({ publication, servedBy, workingSites, manifest: { boundTo } }: BatchSnapshot): string | null {
  if (publication !== undefined || servedBy === undefined || servedBy.length === 0 || workingSites === undefined)
    return null;
  const permitted = servedBy.filter((id) => boundTo === null || id === boundTo);
  if (permitted.some((id) => workingSites.includes(id))) return null;
  return `no site that may serve its model is active: ${permitted.join(', ') || 'none may hold its payload'}`;
}

function statusOf(batch: BatchSnapshot, answered: number, now: EpochMs): BatchStatus {
  const { plan, publication } = batch;
  if (publication !== undefined) return publication.status;
  if (batch.cancellingAt !== null) return 'cancelling';
  // A plan of errors is about to become a `failed` publication.
  if (!isRunnable(plan)) return 'validating';
  return answered === plan.lines || now >= deadlineOf(batch) ? 'finalizing' : 'in_progress';
}

function isRunnable(plan: BatchView['plan']): plan is NonNullable<BatchView['plan']> {
  return plan !== undefined && plan.errors.length === 0;
}

/**
 * How many of `lines` lines have a terminal result, from the names of the result objects alone. Exact where objects
 * answer all they name; where several answer parts of overlapping ranges, the parts are taken to be different lines,
 * as repeats leave out what is answered.
 */
export function countAnswered(results: readonly PlacedResult[], lines: number): number {
  const claimed = new Uint8Array(lines);
  const partial: PlacedResult[] = [];
  for (const result of results) {
    if (result.answered === 0 || result.firstLine + result.lines > lines) continue;
    if (result.answered === result.lines) claimed.fill(1, result.firstLine, result.firstLine + result.lines);
    else partial.push(result);
  }
  // Small ranges first: they say more precisely where their answers lie.
  for (const { firstLine, lines: length, answered } of partial.sort((a, b) => a.lines - b.lines)) {
    let left = answered;
    for (let line = firstLine; left > 0 && line < firstLine + length; line++) {
      if (claimed[line] === 1) continue;
      claimed[line] = 1;
      left--;
    }
  }
  let count = 0;
  for (const one of claimed) count += one;
  return count;
}

function answeredBy(results: readonly PlacedResult[], lines: number): Record<SiteId, number> {
  const sites = [...new Set(results.map(({ site }) => site))].sort();
  const count = (site: SiteId) =>
    countAnswered(
      results.filter((result) => result.site === site),
      lines,
    );
  return Object.fromEntries(sites.map((site) => [site, count(site)]));
}

function usageOf({ usage }: Publication): BatchUsage {
  return {
    input_tokens: usage.inputTokens,
    input_tokens_details: { cached_tokens: usage.cachedTokens },
    output_tokens: usage.outputTokens,
    output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
    total_tokens: usage.inputTokens + usage.outputTokens,
  };
}

function seconds(at: EpochMs | null | undefined): number | null {
  return at == null ? null : unixSeconds(at);
}
