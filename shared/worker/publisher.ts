import { acceptorsOf, registerOptions } from '../control/acceptors.ts';
import { acceptedHere, soloRule } from '../control/solo.ts';
import { reportSuperseded } from '../control/superseded.ts';
import { type Core, ownSite } from '../core.ts';
import { codeOf, SiteUnavailableError } from '../errors.ts';
import { type BatchView, readDispatches, supersededBy, viewBatchOrWait } from '../journal/batch.ts';
import { assertComplete, chooseResults, rangesWithout, resultReader } from '../journal/choose.ts';
import {
  type ControlEntry,
  cancelSchema,
  factBytes,
  factVersion,
  noUsage,
  type Plan,
  type Publication,
  parseFact,
  publicationSchema,
  type TerminalStatus,
} from '../journal/facts.ts';
import {
  fileContentKey,
  fileMetaKey,
  notifiedKey,
  openKey,
  publicationKey,
  publicationRegister,
  publicationSoloKey,
} from '../journal/keys.ts';
import { outputFileMeta } from '../journal/outputs.ts';
import { decide } from '../journal/registers.ts';
import { bounded, putEverywhere, readFact, streamAnywhere } from '../journal/replicas.ts';
import type { SiteId } from '../ports/site.ts';
import { dispatch, locateRange } from './dispatch.ts';
import { holdFiles, releaseWitness } from './hold-files.ts';
import { LineSplitter } from './input.ts';
import { buildOutputs, type OutputFiles, unfinishedErrors } from './output-files.ts';
import { placeOf, servingOf, writableSites } from './owner.ts';
import { makePlan } from './planner.ts';
import { endReason } from './progress.ts';

/** What became of a request to publish. `open`: decided and readable, but not everywhere or not called back yet. */
export type PublishOutcome = 'published' | 'open' | 'unfinished' | 'unknown';

/**
 * Ends a batch if it may end: builds its files, has its register decide, and makes what was decided readable. Any number
 * of publishers may run at once, anywhere; all end with the one decided publication.
 * @throws SiteUnavailableError, TransientError to be tried again
 */
export function publishBatch(core: Core, tenant: string, batch: string): Promise<PublishOutcome> {
  const ours = underWay.get(core) ?? new Map<string, Promise<PublishOutcome>>();
  underWay.set(core, ours);
  const known = ours.get(batch);
  if (known !== undefined) return known;
  const run = publishNow(core, tenant, batch).finally(() => ours.delete(batch));
  ours.set(batch, run);
  return run;
}

/** The last chunks of a batch end together and each tells intake: within one process they share one run. */
const underWay = new WeakMap<Core, Map<string, Promise<PublishOutcome>>>();

async function publishNow(core: Core, tenant: string, batch: string): Promise<PublishOutcome> {
  const view = await viewBatchOrWait(core, tenant, batch);
  if (view === undefined) return 'unknown';
  if (view.publication !== undefined) return closeBatch(core, view, view.publication);
  const decided = await decidePublication(core, view);
  if (decided === undefined) return 'unfinished';
  return 'solo' in decided ? makeSoloReadable(core, view, decided.solo) : makeReadable(core, view, decided.joint);
}

/**
 * Goes on with a batch that is published: a solo publication is proposed to its register, and whatever that decides is
 * made readable everywhere.
 */
export async function closeBatch(core: Core, view: BatchView, publication: Publication): Promise<'published' | 'open'> {
  if (!view.isSolo) {
    if (await isClosed(core, view)) return 'published';
    await tellSuperseded(core, view, publication);
    return makeReadable(core, view, publication);
  }
  const decided = await decideOn(core, publication, await core.control.current(), undefined);
  if ('solo' in decided) return makeSoloReadable(core, view, decided.solo);
  await tellSuperseded(core, view, decided.joint);
  return makeReadable(core, view, decided.joint);
}

async function tellSuperseded(core: Core, view: BatchView, publication: Publication): Promise<void> {
  const { tenant, batch } = view;
  for (const { key } of await supersededBy(core, view, publication))
    await reportSuperseded(core, key, publicationKey(tenant, batch));
}

/** As a register decided it, or one store alone. */
type Decided = { joint: Publication } | { solo: Publication };

/** The hint goes last: where it is gone, nothing is left to do. */
async function isClosed(core: Core, { tenant, batch }: BatchView): Promise<boolean> {
  return (await ownSite(core).state.head(openKey(tenant, batch))) === undefined;
}

/** Proposes how the batch ended and gives what was decided; `undefined` if it may not end yet. */
async function decidePublication(core: Core, view: BatchView): Promise<Decided | undefined> {
  const now = core.clock.now();
  const mustEnd = view.plan === undefined && endReason(view, false, now) !== undefined;
  const plan = mustEnd ? await makePlan(core, view) : view.plan;
  if (plan === undefined) return undefined;
  const control = await core.control.current();
  const draft = await draftPublication(core, { ...view, plan }, control);
  if (draft === undefined) return undefined;
  return decideOn(core, draft.publication, control, draft.files);
}

async function decideOn(
  core: Core,
  publication: Publication,
  control: ControlEntry,
  files: OutputFiles | undefined,
): Promise<Decided> {
  const { batch } = publication;
  const register = publicationRegister(batch);
  try {
    const { value, own } = await decide(acceptorsOf(core, control), register, factBytes(publication), {
      ...registerOptions(core),
      beforeAccept: async (acceptor, proposed) => {
        await holdFiles(core, acceptor.id, readPublication(proposed), files);
      },
    });
    const joint = readPublication(value);
    core.log.info('publication.decided', { batch, status: joint.status, own, repeats: joint.repeats });
    return { joint };
  } catch (error) {
    if (codeOf(error) !== 'no_majority' || !mayDecideAlone(core, control)) throw error;
    const accepted = await acceptedHere(core, control, register);
    const solo = accepted === undefined ? publication : readPublication(accepted);
    await holdFiles(core, core.self, solo, files);
    return { solo };
  }
}

/** A person has made this site the only one, without a majority. */
function mayDecideAlone(core: Core, control: ControlEntry): boolean {
  const others = Object.entries(control.sites).filter(([id]) => id !== core.self);
  const isAlone = control.sites[core.self]?.state === 'active' && others.every(([, { state }]) => state === 'fenced');
  return isAlone && control.forced.includes(soloRule);
}

/** Readable here, under a name that says who decided; the batch stays open until a register has decided. */
async function makeSoloReadable(core: Core, view: BatchView, publication: Publication): Promise<'open'> {
  for (const kind of ['output', 'error'] as const) {
    const meta = outputFileMeta(publication, view.manifest, kind);
    if (meta !== undefined) await putEverywhere(core, fileMetaKey(meta.tenant, meta.id), factBytes(meta), [core.self]);
  }
  const key = publicationSoloKey(view.tenant, view.batch, publication);
  const standing = view.soloKeys[0];
  if (standing === undefined) await ownSite(core).journal.putIfAbsent(key, factBytes(publication));
  core.log.warn('publication.solo', { batch: view.batch, status: publication.status, key: standing ?? key });
  await callBackOnce(core, publication);
  return 'open';
}

interface Draft {
  publication: Publication;
  files: OutputFiles | undefined;
}

async function draftPublication(
  core: Core,
  view: BatchView & { plan: Plan },
  control: ControlEntry,
): Promise<Draft | undefined> {
  const now = core.clock.now();
  const { plan } = view;
  const common = {
    v: factVersion,
    kind: 'publication',
    batch: view.batch,
    tenant: view.tenant,
    site: core.self,
    epoch: control.epoch,
    model: plan.model,
    finalizingAt: now,
    inProgressAt: (await readDispatches(core, view))[0]?.at ?? null,
    cancellingAt: await cancelledAt(core, view),
    boundTo: view.manifest.boundTo,
  } as const;
  const nothing = { output: null, errorFile: null, choice: null, usage: noUsage, repeats: 0 };
  if (plan.errors.length > 0) {
    const counts = { total: 0, completed: 0, failed: 0 };
    const publication = { ...common, ...nothing, status: 'failed' as const, counts, errors: plan.errors, endedAt: now };
    return { publication, files: undefined };
  }
  const customIds = await readCustomIds(core, view);
  const read = resultReader(core);
  const { chosen, repeats, refused } = await chooseResults(view, read, { accepted: customIds });
  const isAnswered = chosen.length === customIds.length;
  const reason = endReason(view, isAnswered, now);
  if (reason === undefined) {
    if (refused.length > 0) await workAgain(core, view, control, chosen);
    return undefined;
  }
  const status: TerminalStatus = reason === 'answered' || reason === 'refused' ? 'completed' : reason;
  const unfinished = status === 'completed' ? undefined : unfinishedErrors[status as 'expired' | 'cancelled'];
  const left = isAnswered ? [] : rangesWithout(customIds.length, lineSet(chosen));
  const leftIds = left.flatMap(([first, lines]) => customIds.slice(first, first + lines));
  assertComplete(customIds, [...chosen, ...leftIds.map((customId) => ({ customId }))]);
  const files = await buildOutputs({ batch: view.batch, customIds, chosen, unfinished, read });
  const { output, errorFile, choice } = files.files;
  return {
    files,
    publication: {
      ...common,
      status,
      counts: files.counts,
      usage: files.usage,
      output: files.counts.completed > 0 ? output : null,
      errorFile: files.counts.failed > 0 ? errorFile : null,
      choice,
      errors: [],
      repeats,
      endedAt: core.clock.now(),
    },
  };
}

function lineSet(chosen: readonly { line: number }[]): (line: number) => boolean {
  const lines = new Set(chosen.map(({ line }) => line));
  return (line) => lines.has(line);
}

/**
 * Lines whose only results are no facts we can take: nobody else will notice, since the names of those objects claim
 * answers. Sent again once a dispatch lease, so that repeated looks do not pile pointers up.
 */
async function workAgain(
  core: Core,
  view: BatchView & { plan: Plan },
  control: ControlEntry,
  chosen: readonly { line: number }[],
): Promise<void> {
  const dispatches = await readDispatches(core, view);
  const { owner: to, isMoved, isWaiting } = placeOf(view, dispatches, control, servingOf(core, view));
  const latest = dispatches.at(-1)?.at ?? 0;
  if (to === undefined || isWaiting || core.clock.now() - latest < core.settings.dispatchLeaseMs) return;
  const isAnswered = lineSet(chosen);
  const chunks = view.plan.chunks.filter(({ firstLine, lines }) =>
    Array.from({ length: lines }, (_, i) => firstLine + i).some((line) => !isAnswered(line)),
  );
  const ranges = await Promise.all(
    chunks.map(({ firstLine, lines }) => locateRange(core, view, view.plan, firstLine, lines)),
  );
  await dispatch(core, view, view.plan, { to, reason: isMoved ? 'spillover' : 'lost', ranges, repeat: true });
}

/**
 * Makes a decided publication readable, and the batch closed: its files in both journals, then the metadata by which
 * clients find them, then the fact, then the callback; the hint goes last, when nothing is left to do (F57).
 * A fenced site is not waited for: the hint stays until it has everything.
 */
export async function makeReadable(
  core: Core,
  view: Pick<BatchView, 'tenant' | 'batch' | 'manifest'>,
  publication: Publication,
): Promise<'published' | 'open'> {
  const control = await core.control.current();
  const reachable = writableSites(control, core.sites.keys());
  const holding = await Promise.all(
    reachable.map((site) => attempt(core, site, () => holdFiles(core, site, publication))),
  );
  const holders = reachable.filter((_, i) => holding[i]);
  // The metadata first: whoever reads the publication finds the files that it names.
  for (const kind of ['output', 'error'] as const) {
    const meta = outputFileMeta(publication, view.manifest, kind);
    if (meta !== undefined) await putEverywhere(core, fileMetaKey(meta.tenant, meta.id), factBytes(meta), holders);
  }
  const key = publicationKey(view.tenant, view.batch);
  const { written } = await putEverywhere(core, key, factBytes(publication), holders);
  if (written.length === 0) throw new SiteUnavailableError('publication_unwritten', `no store took ${key}`, key);
  const isToldOff = await callBackOnce(core, publication);
  if (written.length < core.sites.size || !isToldOff) return 'open';
  await releaseWitness(core, publication).catch(() => {});
  return (await closeHints(core, view)) ? 'published' : 'open';
}

async function attempt(core: Core, site: SiteId, task: () => Promise<void>): Promise<boolean> {
  try {
    await task();
    return true;
  } catch (error) {
    core.log.warn('site.notReached', { site, error: String((error as Error)?.message).slice(0, 200) });
    return false;
  }
}

/** True when the callback was answered. Noted in the own `state`, so that an open hint does not repeat it each tick. */
async function callBackOnce(core: Core, publication: Publication): Promise<boolean> {
  const { state } = ownSite(core);
  if ((await state.head(notifiedKey(publication.batch))) !== undefined) return true;
  if (!(await core.callbacks.batchEnded(publication))) return false;
  await state.putIfAbsent(notifiedKey(publication.batch), new Uint8Array([1]));
  return true;
}

/** The own hint last: while it stands, this site comes back for those of the others. */
async function closeHints(core: Core, { tenant, batch }: Pick<BatchView, 'tenant' | 'batch'>): Promise<boolean> {
  const peers = [...core.sites.keys()].filter((site) => site !== core.self);
  const close = async (site: SiteId) => {
    const { state } = core.sites.get(site)!;
    await bounded(core, site, (signal) => state.delete(openKey(tenant, batch), { signal }));
  };
  const closed = await Promise.all(peers.map((site) => attempt(core, site, () => close(site))));
  if (closed.includes(false)) return false;
  await close(core.self);
  await ownSite(core).state.delete(notifiedKey(batch));
  return true;
}

/**
 * Deletes the own hint of a batch that `site`, which decided it, has closed: its hint goes last, and one that was copied
 * here meanwhile would stand for ever. Nothing is done while that site does not answer or some journal lacks the end.
 * @returns whether the hint is gone
 */
export async function forgetClosed(core: Core, view: BatchView, site: SiteId): Promise<boolean> {
  const end = view.keys.find(({ key }) => key === publicationKey(view.tenant, view.batch));
  if (end === undefined || end.sites.length < core.sites.size) return false;
  const key = openKey(view.tenant, view.batch);
  const { state } = core.sites.get(site)!;
  if ((await bounded(core, site, (signal) => state.head(key, { signal }))) !== undefined) return false;
  await ownSite(core).state.delete(key);
  return true;
}

/** `custom_id` of every line, in order: what was accepted, read from the input itself. */
async function readCustomIds(core: Core, view: BatchView & { plan: Plan }): Promise<string[]> {
  const key = fileContentKey(view.tenant, view.acceptance.fileId);
  const input = await streamAnywhere(core, key);
  if (input === undefined) throw new SiteUnavailableError('input_missing', `${key} is in no store`, key);
  const ids: string[] = [];
  const splitter = new LineSplitter(({ bytes }) => {
    if (ids.length < view.plan.lines) ids.push(JSON.parse(bytes!.toString('utf8')).custom_id as string);
  });
  for await (const piece of input.body) splitter.push(piece);
  splitter.finish();
  if (ids.length !== view.plan.lines)
    throw new SiteUnavailableError('input_cut_off', `${key}: ${ids.length} of ${view.plan.lines} lines`, key);
  return ids;
}

async function cancelledAt(core: Core, view: BatchView): Promise<number | null> {
  const cancels = await Promise.all(view.cancelKeys.map((key) => readFact(core, cancelSchema, key)));
  const times = cancels.flatMap((one) => (one !== undefined && 'fact' in one ? [one.fact.at] : []));
  return times.length === 0 ? null : Math.min(...times);
}

function readPublication(bytes: Uint8Array): Publication {
  const parsed = parseFact(publicationSchema, bytes);
  if ('fact' in parsed) return parsed.fact;
  throw new SiteUnavailableError('publication_unreadable', `decided value: ${parsed.detail}`, 'register');
}
