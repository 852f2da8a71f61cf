import { type Core, ownSite } from '../core.ts';
import { type OpenBatch, openBatch } from '../health/progress.ts';
import { mirrorBatch, syncJournals } from '../journal/anti-entropy.ts';
import { type BatchView, viewBatch } from '../journal/batch.ts';
import { type ControlEntry, factVersion, type Pointer } from '../journal/facts.ts';
import { batchOfKey, manifestKey, openKey, openPrefix, publicationKey } from '../journal/keys.ts';
import { listAll } from '../ports/object-store.ts';
import type { Queue, QueuePart } from '../ports/queue.ts';
import { drainStale } from '../redrive/drain.ts';
import { type RedriveProgress, redrive } from '../redrive/redrive.ts';
import { completeVoter } from '../redrive/rejoin.ts';
import type { DurationMs, EpochMs } from '../units.ts';
import { assessBatch, type BatchNeed, type FactMemory } from './assess.ts';
import { dispatch, locateRange, tellIntake } from './dispatch.ts';
import { lostCount, type OutstandingRange } from './outstanding.ts';
import { isDead } from './owner.ts';
import { closeBatch, forgetClosed } from './publisher.ts';
import { sparing } from './spare.ts';
import { countUnread } from './unread.ts';

/** What one pass saw and did. */
export interface SweepReport {
  /** Batches that are not closed. */
  open: number;
  /** Facts copied to a site that lacked them. */
  copied: number;
  /** Plan and publish pointers sent. */
  told: number;
  /** Chunk pointers sent again because their queue lost them. */
  redispatched: number;
  /** Redrive to this site: pointers sent so far, and pointers still to be sent. */
  redrive: RedriveProgress;
  /** Stale pointers taken off the queues of fenced sites. */
  drained: number;
  /** Batches closed. */
  closed: number;
  /** Batches that could not be looked at or served; each is tried again at the next tick. */
  failed: number;
  /** Every batch that was looked at and is open, whoever works it: what progress is judged by. */
  progress: OpenBatch[];
}

interface Memory extends FactMemory {
  /** Since when a queue holds fewer messages than are needed of it. */
  shortSince: Partial<Record<QueuePart, EpochMs | undefined>>;
  /** When this process last told intake to publish a batch. */
  told: Map<string, EpochMs>;
  /** Closing is tried again after a pause that doubles. */
  closing: Map<string, { tries: number; nextAt: EpochMs }>;
  nextSyncAt: EpochMs;
  lastSyncAt?: EpochMs;
  syncCursor?: string;
  /** A site did not answer since the last full pass: whatever was written meanwhile it may lack. */
  hasMissed?: boolean;
  nextHintsAt: EpochMs;
}

/** Batches looked at side by side. */
const parallel = 8;
const syncEveryMs: DurationMs = 10 * 60_000;
/** A full pass that met a dark site is tried again after this, and one after a site was dark does not come sooner. */
const syncAgainMs: DurationMs = 60_000;
/** Calls of stores that one tick may spend on the full pass. */
const syncBudget = 1_000;
const restoreHintsEveryMs: DurationMs = 24 * 3_600_000;
const closePauseMaxMs: DurationMs = 5 * 60_000;
const cachedFactsMax = 20_000;

const memories = new WeakMap<Core, Memory>();

/** A batch that needs something from this site now. */
interface Assessed {
  view: BatchView;
  need: BatchNeed;
}

/**
 * One pass of the sweeper over every open batch (DESIGN.md section 5.5): everything that a crash can leave behind is
 * repaired here, from the journal alone. Called at each monitor tick, in every state, for ever; two passes at once, on
 * one site or two, cost repeats at most. What it remembers between passes only saves work or lets counts settle.
 */
export async function sweep(core: Core): Promise<SweepReport> {
  const memory = memoryOf(core);
  const control = await core.control.current();
  const report: SweepReport = {
    open: 0,
    copied: 0,
    told: 0,
    redispatched: 0,
    redrive: { redriven: 0, left: 0 },
    drained: 0,
    closed: 0,
    failed: 0,
    progress: [],
  };
  if (control.sites[core.self]?.state === 'fenced') return report;
  await sweepOnce(await sparing(core, control), memory, control, report);
  return report;
}

async function sweepOnce(core: Core, memory: Memory, control: ControlEntry, report: SweepReport): Promise<void> {
  // Depth before facts: what is answered between the two looks lowers what is expected, never the depth that was seen.
  const [workDepth, intakeDepth] = await Promise.all([
    depthOf(core, ownSite(core).work),
    depthOf(core, ownSite(core).intake),
  ]);
  const assessed = await assessAll(core, control, memory, report);
  await settleIntake(core, memory, control, assessed, intakeDepth, report);
  await settleWork(core, memory, control, assessed, workDepth, report);
  await closeDecided(core, memory, assessed, report);
  report.drained = await drainStale(core, control);
  if (control.voters.some(({ joining }) => joining === true)) {
    await guarded(core, report, 'voters', async () => void (await completeVoter(core)));
    // A store that is new, or came back from a backup, lacks facts that nothing points to.
    memory.hasMissed = true;
  }
  noteAnswers(memory, assessed);
  await syncNowAndThen(core, memory, report);
}

/** The first tick at which every site answers again asks for a full pass: nobody else looks for facts without a hint. */
function noteAnswers(memory: Memory, assessed: readonly Assessed[]): void {
  if (assessed.some(({ view }) => view.unseen.length > 0)) memory.hasMissed = true;
  else if (memory.hasMissed === true)
    memory.nextSyncAt = Math.min(memory.nextSyncAt, (memory.lastSyncAt ?? 0) + syncAgainMs);
}

function memoryOf(core: Core): Memory {
  const memory = memories.get(core) ?? {
    partial: new Map(),
    tried: new Map(),
    told: new Map(),
    closing: new Map(),
    shortSince: {},
    nextSyncAt: core.clock.now() + syncEveryMs * core.random(),
    nextHintsAt: core.clock.now() + restoreHintsEveryMs * core.random(),
  };
  if (memory.partial.size > cachedFactsMax) memory.partial.clear();
  if (memory.tried.size > cachedFactsMax) memory.tried.clear();
  memories.set(core, memory);
  return memory;
}

async function depthOf(core: Core, queue: Queue): Promise<number | undefined> {
  try {
    const { visible, inFlight, delayed } = await queue.depth();
    return visible + inFlight + delayed;
  } catch (error) {
    core.log.warn('depth.unknown', { queue: queue.name, error: String((error as Error)?.message).slice(0, 200) });
    return undefined;
  }
}

async function assessAll(core: Core, control: ControlEntry, memory: Memory, report: SweepReport): Promise<Assessed[]> {
  const hints: { tenant: string; batch: string }[] = [];
  for await (const { key } of listAll(ownSite(core).state, openPrefix)) {
    const hint = batchOfKey(key);
    if (hint !== undefined) hints.push(hint);
  }
  report.open = hints.length;
  const assessed: Assessed[] = [];
  const next = hints.values();
  const walk = async () => {
    for (const { tenant, batch } of next) {
      await guarded(core, report, batch, async () => {
        const view = await viewBatch(core, tenant, batch);
        if (view === undefined) return;
        if (isLacking(view, control)) report.copied += (await mirrorBatch(core, view)).copied;
        const need = await assessBatch(core, view, control, memory);
        assessed.push({ view, need });
        const open = openBatch(view, need.need === 'nothing' ? need.owner : core.self);
        if (open !== undefined) report.progress.push(open);
      });
    }
  };
  await Promise.all(Array.from({ length: parallel }, walk));
  return assessed.sort((a, b) => a.view.acceptance.at - b.view.acceptance.at);
}

/** True if some fact of the batch is not yet at every site that may be written to and did answer. */
function isLacking(view: BatchView, control: ControlEntry): boolean {
  const expected = Object.entries(control.sites).filter(
    ([id, { state }]) => state !== 'fenced' && !view.unseen.includes(id),
  );
  return view.keys.some(({ sites }) => expected.some(([id]) => !sites.includes(id)));
}

/**
 * How many pointers an own queue has lost. Its depth counts messages that nobody here can read, too.
 * @param isLate some pointer is missed for so long that it is worth finding out
 */
async function lostOf(
  core: Core,
  memory: Memory,
  part: QueuePart,
  expected: number,
  depth: number | undefined,
  isLate: boolean,
): Promise<number> {
  if (depth === undefined) return 0;
  const unread = isLate && depth >= expected ? await countUnread(core, part) : 0;
  const { shortDepthMs } = core.settings;
  const { lost, shortSince } = lostCount(
    expected,
    depth - unread,
    memory.shortSince[part],
    core.clock.now(),
    shortDepthMs,
  );
  memory.shortSince[part] = lost > 0 ? undefined : shortSince;
  return lost;
}

/** Plan and publish pointers: publish is told at first sight, the rest when the intake queue holds too few. */
async function settleIntake(
  core: Core,
  memory: Memory,
  control: ControlEntry,
  assessed: readonly Assessed[],
  depth: number | undefined,
  report: SweepReport,
): Promise<void> {
  const now = core.clock.now();
  const waiting = assessed.filter(({ need }) => need.need === 'plan' || need.need === 'publish');
  const isNew = ({ view, need }: Assessed) => need.need === 'publish' && !memory.told.has(view.batch);
  const isLate = waiting.some(({ view }) => now - view.acceptance.at > core.settings.leaseMs);
  const lost = await lostOf(core, memory, 'intake', waiting.length, depth, isLate);
  const again = waiting.filter((one) => !isNew(one)).slice(0, lost);
  const pointers = [...waiting.filter(isNew), ...again].map(({ view, need }): Pointer => {
    memory.told.set(view.batch, now);
    const kind = need.need === 'plan' ? 'plan' : 'publish';
    return { v: factVersion, kind, tenant: view.tenant, batch: view.batch, epoch: control.epoch };
  });
  for (const batch of memory.told.keys())
    if (!waiting.some(({ view }) => view.batch === batch)) memory.told.delete(batch);
  if (pointers.length === 0) return;
  await guarded(core, report, 'intake', async () => {
    await tellIntake(core, pointers);
    report.told += pointers.length;
  });
}

/** Chunk pointers: what is stranded at another site comes here wave by wave, what the own queue lost after its lease. */
async function settleWork(
  core: Core,
  memory: Memory,
  control: ControlEntry,
  assessed: readonly Assessed[],
  depth: number | undefined,
  report: SweepReport,
): Promise<void> {
  const now = core.clock.now();
  const open = assessed.flatMap(({ view, need }) => (need.need === 'work' ? [{ view, need }] : []));
  const own = open.flatMap(({ view, need }) =>
    need.ranges
      .filter((range) => range.to === core.self && !isDead(range, control))
      .map((range) => ({ view, plan: need.plan, isMoved: need.isMoved, range })),
  );
  const overdue = own.filter(({ range }) => range.leaseEnds <= now);
  const lost = await lostOf(core, memory, 'work', own.length, depth, overdue.length > 0);
  overdue.sort((a, b) => a.range.sentAt - b.range.sentAt);
  report.redrive = await redrive(core, control, open, {
    failed: (batch, error) => noteFailed(core, report, batch, error),
  });
  await sendAgain(core, overdue.slice(0, lost), report);
  await sendUncovered(core, assessed, now, report);
}

type OpenRange = {
  view: BatchView;
  plan: NonNullable<BatchView['plan']>;
  isMoved: boolean;
  range: Pick<OutstandingRange, 'firstLine' | 'lines'>;
};

async function sendAgain(core: Core, open: readonly OpenRange[], report: SweepReport): Promise<void> {
  for (const [view, ranges] of Map.groupBy(open, ({ view }) => view)) {
    await guarded(core, report, view.batch, async () => {
      const { plan, isMoved } = ranges[0]!;
      const reason = isMoved ? 'spillover' : 'lost';
      const located = [];
      for (const { range } of ranges) located.push(await locateRange(core, view, plan, range.firstLine, range.lines));
      await dispatch(core, view, plan, { to: core.self, reason, ranges: located, repeat: true });
      report.redispatched += located.length;
    });
  }
}

/** Chunks that no dispatch record covers, once the latest record is old enough not to be a wave under way. */
async function sendUncovered(core: Core, assessed: readonly Assessed[], now: EpochMs, report: SweepReport) {
  for (const { view, need } of assessed) {
    if (need.need !== 'work' || !need.isUncovered) continue;
    const { plan, isMoved, dispatches } = need;
    if (now - dispatches.at(-1)!.at < core.settings.dispatchLeaseMs) continue;
    const covered = new Set(
      dispatches.flatMap(({ ranges }) =>
        ranges.flatMap(([first, lines]) => Array.from({ length: lines }, (_, i) => first + i)),
      ),
    );
    const chunks = plan.chunks.filter(({ firstLine, lines }) =>
      Array.from({ length: lines }, (_, i) => firstLine + i).some((line) => !covered.has(line)),
    );
    const uncovered = chunks.map((range) => ({ view, plan, isMoved, range }));
    await sendAgain(core, uncovered, report);
  }
}

async function closeDecided(core: Core, memory: Memory, assessed: readonly Assessed[], report: SweepReport) {
  const now = core.clock.now();
  for (const { view, need } of assessed) {
    if (need.need !== 'close' && need.need !== 'forget') continue;
    const pauseAfter = (tries: number) => Math.min(core.settings.tickMs * 2 ** Math.min(tries, 20), closePauseMaxMs);
    // Whoever decided it closes it at once, as a rule: there is nothing to look for until the next tick.
    const first = need.need === 'close' ? { tries: 0, nextAt: now } : { tries: 1, nextAt: now + pauseAfter(0) };
    const past = memory.closing.get(view.batch) ?? first;
    memory.closing.set(view.batch, past);
    if (past.nextAt > now) continue;
    await guarded(core, report, view.batch, async () => {
      memory.closing.set(view.batch, { tries: past.tries + 1, nextAt: now + pauseAfter(past.tries) });
      const isClosed =
        need.need === 'close'
          ? (await closeBatch(core, view, need.publication)) === 'published'
          : await forgetClosed(core, view, need.site);
      if (!isClosed) return;
      memory.closing.delete(view.batch);
      report.closed += 1;
    });
  }
  for (const batch of memory.closing.keys())
    if (!assessed.some(({ view }) => view.batch === batch)) memory.closing.delete(batch);
}

async function syncNowAndThen(core: Core, memory: Memory, report: SweepReport): Promise<void> {
  const now = core.clock.now();
  if (now >= memory.nextSyncAt) {
    memory.nextSyncAt = now + syncEveryMs;
    memory.lastSyncAt = now;
    memory.hasMissed = false;
    await guarded(core, report, 'journal', async () => {
      const { copied, cursor, isStopped } = await syncJournals(core, { budget: syncBudget, cursor: memory.syncCursor });
      report.copied += copied;
      memory.syncCursor = cursor;
      // A pass that has more to do goes on at the next tick; one that met a dark site waits.
      if (cursor !== undefined) memory.nextSyncAt = now + (isStopped === true ? syncAgainMs : 0);
    });
  }
  if (now < memory.nextHintsAt) return;
  memory.nextHintsAt = now + restoreHintsEveryMs;
  await guarded(core, report, 'hints', () => restoreHints(core));
}

/** Writes the hint of every batch that has a manifest and no publication: what lost its hint is found again. */
export async function restoreHints(core: Core): Promise<void> {
  const { journal, state } = ownSite(core);
  const unpublished = new Map<string, { tenant: string; batch: string }>();
  for await (const { key } of listAll(journal, 't/')) {
    const at = batchOfKey(key);
    if (at === undefined) continue;
    if (key === manifestKey(at.tenant, at.batch)) unpublished.set(at.batch, at);
    if (key === publicationKey(at.tenant, at.batch)) unpublished.delete(at.batch);
  }
  for (const { tenant, batch } of unpublished.values())
    await state.putIfAbsent(openKey(tenant, batch), new Uint8Array([1]));
}

async function guarded(core: Core, report: SweepReport, what: string, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    noteFailed(core, report, what, error);
  }
}

function noteFailed(core: Core, report: SweepReport, what: string, error: unknown): void {
  report.failed += 1;
  core.log.warn('sweep.failed', { what, error: String((error as Error)?.message).slice(0, 200) });
}
