import { type Core, ownSite } from '../core.ts';
import { InvariantError, SiteUnavailableError } from '../errors.ts';
import type { BatchView } from '../journal/batch.ts';
import { type Chunk, type Dispatch, factVersion, type Plan } from '../journal/facts.ts';
import { dispatchKey, fileContentKey } from '../journal/keys.ts';
import { getAnywhere, recordFact } from '../journal/replicas.ts';
import type { SiteId } from '../ports/site.ts';
import { LineSplitter } from './input.ts';
import { writableSites } from './owner.ts';
import { chunkPointer, pointerMessage } from './pointers.ts';

/** One wave of pointers. */
export interface Wave {
  to: SiteId;
  reason: Dispatch['reason'];
  ranges: readonly Omit<Chunk, 'tokens'>[];
  /** False only for the first wave of a batch: nothing can have been worked before it. */
  repeat: boolean;
}

/**
 * Sends one pointer for each range to the work queue of `wave.to`, then records the dispatch. A crash between the two
 * leaves pointers without a record: the sweeper sends again, marked as repeats, and the workers look first.
 * @throws SiteUnavailableError `fenced`: the site was fenced since the wave was planned; nothing was sent
 * @throws what the queue or the own journal throws; pointers may have been sent by then, which is harmless
 */
export async function dispatch(core: Core, view: BatchView, plan: Plan, wave: Wave): Promise<void> {
  if (wave.ranges.length === 0 || plan.model === null) return;
  const control = await core.control.current();
  const { epoch } = control;
  const target = core.sites.get(wave.to);
  if (target === undefined) throw new InvariantError('site_unknown', `no site ${wave.to} is configured`);
  if (control.sites[wave.to]?.state === 'fenced')
    throw new SiteUnavailableError('fenced', `${wave.to} was fenced since this wave was planned`, wave.to);
  const pointers = wave.ranges.map((range) => chunkPointer(view, range, plan.model!, epoch, wave.repeat));
  await target.work.send(pointers.map((pointer) => pointerMessage(pointer, core.ids.uuid())));
  const id = { epoch, site: core.self, uuid: core.ids.uuid() };
  const fact: Dispatch = {
    v: factVersion,
    kind: 'dispatch',
    batch: view.batch,
    at: core.clock.now(),
    ...id,
    to: wave.to,
    leaseMs: core.settings.dispatchLeaseMs,
    reason: wave.reason,
    ranges: wave.ranges.map(({ firstLine, lines }) => [firstLine, lines]),
  };
  // Not to a fenced site: while it is dark, each record would wait for it. It gets them when it comes back.
  await recordFact(core, dispatchKey(view.tenant, view.batch, id), fact, writableSites(control, core.sites.keys()));
  core.log.info('chunks.dispatched', { batch: view.batch, to: wave.to, reason: wave.reason, chunks: pointers.length });
}

/** The byte range of some lines: a chunk of the plan as it stands, or a part of one, found by reading that chunk. */
export async function locateRange(
  core: Core,
  view: BatchView,
  plan: Plan,
  firstLine: number,
  lines: number,
): Promise<Omit<Chunk, 'tokens'>> {
  const chunk = plan.chunks.findLast((one) => one.firstLine <= firstLine);
  if (chunk === undefined || firstLine + lines > chunk.firstLine + chunk.lines)
    throw new InvariantError('range_unknown', `lines ${firstLine}+${lines} are in no chunk of the plan`);
  if (chunk.firstLine === firstLine && chunk.lines === lines) return chunk;
  const key = fileContentKey(view.tenant, view.acceptance.fileId);
  const found = await getAnywhere(core, key, { range: { offset: chunk.offset, length: chunk.length } });
  if (found === undefined) throw new SiteUnavailableError('input_missing', `${key} is in no store`, key);
  let offset = chunk.offset;
  let end = chunk.offset;
  const splitter = new LineSplitter(
    (line) => {
      if (line.index === firstLine) offset = line.offset;
      if (line.index === firstLine + lines - 1) end = line.end;
    },
    chunk.offset,
    chunk.firstLine,
  );
  splitter.push(found.bytes);
  splitter.finish();
  return { offset, length: end - offset, firstLine, lines };
}

/** Tells the own intake queue to plan, publish or split. */
export async function tellIntake(core: Core, pointers: Parameters<typeof pointerMessage>[0][]): Promise<void> {
  await ownSite(core).intake.send(pointers.map((pointer) => pointerMessage(pointer, core.ids.uuid())));
}
